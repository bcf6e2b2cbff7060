"""Shares against SciPy's interval, orders against Kendall's."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from danlu.lab.errors import LabError
from danlu.lab.statistics.agreement import confirmed, decision_accuracy, wilson


@given(st.integers(1, 60), st.integers(0, 60), st.sampled_from([0.8, 0.95]))
def test_wilsons_interval_is_scipys(of: int, hits: int, level: float) -> None:
    hits = min(hits, of)
    wanted = stats.binomtest(hits, of).proportion_ci(level, method="wilson")
    np.testing.assert_allclose(wilson(hits, of, level), (hits / of, *wanted), atol=1e-9)


@given(st.permutations(range(7)), st.permutations(range(7)))
def test_decision_accuracy_is_kendalls_tau_on_another_scale(small: list[int], large: list[int]) -> None:
    tau = stats.kendalltau(small, large).statistic
    assert decision_accuracy(small, large) == pytest.approx((1 + tau) / 2)


def test_ties_and_nothing() -> None:
    assert decision_accuracy([1.0, 1.0, 2.0], [1.0, 2.0, 3.0]) == pytest.approx(2.5 / 3)
    assert math.isnan(decision_accuracy([1.0, 2.0], [3.0, 3.0])) and math.isnan(decision_accuracy([], []))
    assert confirmed([0.1, -0.2, 0.3, 0.0, math.nan], [0.2, -0.1, -0.3, 1.0, 1.0]) == wilson(2, 3)
    assert math.isnan(wilson(0, 0).value) and wilson(0, 0)[1:] == (0.0, 1.0)
    with pytest.raises(LabError, match="5 of 3 is no share"):
        wilson(5, 3)
