"""Holm's method against his steps."""

from __future__ import annotations

import numpy as np
from hypothesis import assume, given
from hypothesis import strategies as st

from danlu.lab.statistics import holm, holm_factors


@given(st.lists(st.floats(0, 1), min_size=1, max_size=8), st.sampled_from([0.01, 0.05, 0.2]))
def test_holms_factors_decide_as_his_steps_do(p: list[float], alpha: float) -> None:
    rejected = set()
    for step, i in enumerate(sorted(range(len(p)), key=p.__getitem__)):
        if p[i] > alpha / (len(p) - step):
            break
        rejected.add(i)
    factors = holm_factors(p)
    assert all(1 <= factor <= len(p) * (1 + 1e-9) for factor in factors)
    close = [i for i, factor in enumerate(factors) if abs(factor * p[i] - alpha) < 1e-12]
    assert {i for i, factor in enumerate(factors) if p[i] <= alpha / factor} - {*close} == rejected - {*close}


def test_holm_by_hand() -> None:
    # Sorted 0.01, 0.02, 0.03, 0.04 times 4, 3, 2, 1: 0.04, 0.06, 0.06, 0.04; never less than the one before.
    np.testing.assert_allclose(holm([0.04, 0.01, 0.03, 0.02]), [0.06, 0.04, 0.06, 0.06])
    assert holm([0.5, 0.9]) == [1.0, 1.0] and holm([0.2]) == [0.2] and holm([]) == []


@given(st.lists(st.floats(0, 1), min_size=1, max_size=8), st.floats(0.001, 0.2))
def test_holm_rejects_what_the_step_down_procedure_rejects(values: list[float], alpha: float) -> None:
    adjusted, m = holm(values), len(values)
    assume(all(abs(a - alpha) > 1e-9 for a in adjusted))
    rejected: set[int] = set()
    for rank, i in enumerate(sorted(range(m), key=lambda i: values[i])):
        if (m - rank) * values[i] > alpha:
            break
        rejected.add(i)
    assert {i for i in range(m) if adjusted[i] <= alpha} == rejected
