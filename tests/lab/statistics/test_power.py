"""Numbers of pairs against exact power, equivalence and severity against SciPy's tests."""

from __future__ import annotations

import math
from collections.abc import Iterable

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from scipy import stats

from danlu.lab.errors import LabError
from danlu.lab.statistics import (
    NARROW,
    Interval,
    anytime,
    decide,
    mean_interval,
    p_value,
    paired,
    seeds_to_decide,
)
from danlu.lab.statistics.power import (
    equivalent,
    pairs_for_difference,
    pairs_for_equivalence,
    severity,
    weak,
)

DIFFERENCES = st.lists(st.integers(-1000, 1000).map(lambda x: x / 500), min_size=3, max_size=20)


def narrow(differences: Iterable[float]) -> Interval:
    return mean_interval(list(differences), NARROW)


@given(st.floats(0.05, 5.0), st.integers(2, 10), st.booleans())
@settings(max_examples=60)
def test_so_many_more_seeds_decide_and_one_less_would_not(effect: float, n: int, looking: bool) -> None:
    half = np.resize([1.0, -1.0], n - n % 2)
    differences = [*(effect + half), *[effect] * (n % 2)]
    more = seeds_to_decide(differences, looking=looking)
    interval = anytime if looking else paired
    spread = float(np.std(differences, ddof=1))

    def alike(count: int) -> list[float]:  # of the same mean and spread
        z = np.random.default_rng(1).normal(size=count)
        return list(effect + spread * (z - z.mean()) / z.std(ddof=1))

    if more is None:
        assert decide(interval(alike(n + 1000))) == "not shown"
        return
    assert decide(interval(alike(n + more))) == "worse"
    if more:
        assert decide(interval(alike(n + more - 1))) == "not shown"


def test_what_no_number_of_seeds_decides() -> None:
    assert seeds_to_decide([1.0]) is None and seeds_to_decide([1.0, -1.0]) is None
    assert seeds_to_decide([1.0, math.nan]) is None
    assert seeds_to_decide([1.0, 1.0]) == 0 and seeds_to_decide([0.0, 0.0]) is None


@given(st.floats(0.3, 3), st.sampled_from([0.7, 0.8, 0.9]))
@settings(max_examples=40)
def test_so_many_pairs_have_the_power_for_a_difference(effect: float, power: float) -> None:
    """By the noncentral t, which the formula is close to."""
    n = pairs_for_difference(-effect, 1.0, power)

    def exact(n: int) -> float:
        t = stats.t.ppf(0.975, n - 1)
        return float(stats.nct.sf(t, n - 1, effect * math.sqrt(n)))

    assert exact(n) >= power - 0.03
    if n > 3:
        assert exact(n - 2) < power + 0.02


@given(st.floats(0.4, 3), st.floats(0.1, 10))
@settings(max_examples=30)
def test_it_knows_no_unit(effect: float, unit: float) -> None:
    assert pairs_for_difference(effect * unit, unit) == pairs_for_difference(effect, 1.0)
    assert pairs_for_equivalence(effect * unit, unit) == pairs_for_equivalence(effect, 1.0)


@pytest.mark.parametrize("margin", [0.6, 1.0, 2.0])
def test_so_many_pairs_have_the_power_for_an_equivalence(margin: float) -> None:
    random = np.random.default_rng(1)
    n = pairs_for_equivalence(margin, 1.0)
    found = np.mean([equivalent(narrow(random.normal(0, 1, n)), margin) for _ in range(2000)])
    assert 0.75 <= found <= 0.93  # planned for .8; whole pairs are few
    at_the_margin = np.mean([equivalent(narrow(random.normal(margin, 1, n)), margin) for _ in range(2000)])
    assert at_the_margin <= 0.05 + 3.5 * math.sqrt(0.05 * 0.95 / 2000)


@given(DIFFERENCES, st.floats(0.1, 1))
def test_equivalence_is_two_one_sided_tests_at_5_percent(differences: list[float], margin: float) -> None:
    assume(np.std(differences) > 1e-3)
    over = stats.ttest_1samp(differences, -margin, alternative="greater").pvalue
    under = stats.ttest_1samp(differences, margin, alternative="less").pvalue
    assume(abs(max(over, under) - 0.05) > 1e-9)
    assert equivalent(narrow(differences), margin) == (max(over, under) < 0.05)


@given(DIFFERENCES, st.floats(-1, 1))
def test_severity_is_one_less_the_p_value_of_the_other_side(differences: list[float], bound: float) -> None:
    assume(np.std(differences) > 1e-3)
    below = stats.ttest_1samp(differences, bound, alternative="less").pvalue
    assert severity(differences, bound) == pytest.approx(1 - below, abs=1e-9)
    assert severity(differences, bound, above=True) == pytest.approx(below, abs=1e-9)
    assert severity(differences, 0) + severity(differences, 0, above=True) == pytest.approx(1)
    nearer = max(severity(differences, 0), severity(differences, 0, above=True))
    assert nearer == pytest.approx(1 - p_value(differences) / 2, abs=1e-9)


def test_what_is_weak_and_what_cannot_be_planned() -> None:
    assert weak(0.79) and not weak(0.8) and weak(math.nan)
    assert (
        math.isnan(severity([0.1], 0)) and severity([0.1, 0.1], 0.2) == 1 and severity([0.1, 0.1], 0.1) == 0.5
    )
    assert pairs_for_difference(1.0, 0.0) == 2
    with pytest.raises(LabError, match=r"effect = 0 with sd = 1.0 plans no pairs"):
        pairs_for_difference(0, 1.0)
    with pytest.raises(LabError, match=r"margin = 0.001 is so small beside sd = 1"):
        pairs_for_equivalence(0.001, 1.0)
