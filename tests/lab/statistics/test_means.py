"""Intervals against SciPy's, rates of error by simulation."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from scipy import stats

from danlu.lab.errors import LabError
from danlu.lab.statistics import (
    BOOTSTRAP_FROM,
    Interval,
    anytime,
    bootstrap,
    decide,
    mean_interval,
    median_interval,
    p_value,
    paired,
)

DIFFERENCES = st.lists(st.integers(-(10**6), 10**6).map(lambda whole: whole / 1000), min_size=3, max_size=30)


@given(DIFFERENCES, st.sampled_from([0.5, 0.9, 0.95, 0.99]))
@settings(max_examples=100)
def test_t_interval_is_scipys(differences: list[float], level: float) -> None:
    assume(np.std(differences) > 0)
    found = paired(differences, level)
    wanted = stats.ttest_1samp(differences, 0).confidence_interval(level)
    np.testing.assert_allclose(found, [np.mean(differences), *wanted], rtol=1e-7, atol=1e-9)
    assert found == mean_interval(differences, level)
    assert p_value(differences) == pytest.approx(
        stats.ttest_1samp(differences, 0).pvalue, rel=1e-6, abs=1e-12
    )


@given(DIFFERENCES, st.sampled_from([0.5, 0.9, 0.95, 0.99]))
def test_the_interval_of_the_median_is_scipys(values: list[float], level: float) -> None:
    found = median_interval(values, level)
    wanted = stats.quantile_test(values, q=0, p=0.5).confidence_interval(level)
    ends = [
        math.copysign(math.inf, k) if math.isnan(x) else x for k, x in ((-1, wanted.low), (1, wanted.high))
    ]
    assert found == (np.median(values), *ends)


def test_a_decision_by_either_direction() -> None:
    below, above, around = Interval(-2, -3, -1), Interval(2, 1, 3), Interval(0, -1, 1)
    assert [decide(x) for x in (below, above, around)] == ["better", "worse", "not shown"]
    assert [decide(x, -1) for x in (below, above, around)] == ["worse", "better", "not shown"]


def test_what_few_values_say() -> None:
    assert paired([0.3]) == Interval(0.3, -math.inf, math.inf) == anytime([0.3])
    assert anytime([0.3, 0.31])[1:] == (-math.inf, math.inf)
    assert all(map(math.isfinite, anytime([0.3, 0.31, 0.29])))
    assert paired([0.5, 0.5]) == Interval(0.5, 0.5, 0.5)
    assert paired([0.5, math.nan])[1:] == (-math.inf, math.inf)
    assert (p_value([1.0]), p_value([0.0, 0.0]), p_value([1.0, 1.0])) == (1.0, 1.0, 0.0)
    with pytest.raises(LabError, match="at least one value"):
        paired([])
    with pytest.raises(LabError, match="level = 95 is not a share"):
        paired([1.0, 2.0], 95)


def test_t_interval_covers_at_a_fixed_number_of_pairs() -> None:
    draw = np.random.default_rng(6).normal(0.3, 2.0, size=(4000, 5))
    covered = sum(low <= 0.3 <= high for _, low, high in (paired(list(row)) for row in draw))
    assert abs(covered - 0.95 * 4000) <= 3.5 * math.sqrt(4000 * 0.95 * 0.05)


def test_bootstrap_is_scipys_and_refused_below_ten() -> None:
    values = list(np.random.default_rng(8).exponential(size=40))
    found = bootstrap(values, seed=1)
    wanted = stats.bootstrap((values,), np.mean, rng=np.random.default_rng(2), n_resamples=20_000)
    np.testing.assert_allclose(found[1:], wanted.confidence_interval, atol=0.03)
    assert bootstrap(values, seed=1) == found
    assert bootstrap([2.0] * 10) == Interval(2.0, 2.0, 2.0)
    with pytest.raises(LabError, match=r"9 differences are too few for a bootstrap: .* t interval"):
        bootstrap(values[: BOOTSTRAP_FROM - 1])


def test_verdicts() -> None:
    assert decide(Interval(-1, -2, -0.1)) == "better" and decide(Interval(1, 0.1, 2)) == "worse"
    assert decide(Interval(1, -0.1, 2)) == "not shown" == decide(Interval(math.nan, -math.inf, math.inf))
