"""Intervals against SciPy's, rates of error by simulation, rules against sums by hand."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from scipy import integrate, stats

from danlu.lab.errors import LabError
from danlu.lab.statistics import (
    BOOTSTRAP_FROM,
    PRIOR,
    Interval,
    anytime,
    bootstrap,
    decide,
    evidence,
    holm,
    holm_factors,
    mean_interval,
    median_interval,
    p_value,
    paired,
    seeds_to_decide,
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


@given(DIFFERENCES.filter(lambda values: len(values) < 12))
@settings(max_examples=20, deadline=None)
def test_evidence_is_the_bayes_factor_of_its_definition(differences: list[float]) -> None:
    """∫∫ N(x | δσ, σ²) N(δ | 0, c²) dσ/σ dδ over ∫ N(x | 0, σ²) dσ/σ: the integrals over σ are those of the
    noncentral and of Student's t, so SciPy's densities are integrated over δ."""
    assume(np.std(differences) > 0)
    n = len(differences)
    t = float(stats.ttest_1samp(differences, 0).statistic)
    assume(abs(t) < 30)
    top, _ = integrate.quad(
        lambda d: stats.nct.pdf(t, n - 1, d * math.sqrt(n)) * stats.norm.pdf(d, scale=PRIOR),
        -8 * PRIOR,
        8 * PRIOR,
        points=[0, t / math.sqrt(n)],
        limit=400,
    )
    assert evidence(differences) == pytest.approx(top / stats.t.pdf(t, n - 1), rel=1e-4)


@given(DIFFERENCES, st.floats(-5, 5))
@settings(max_examples=200)
def test_the_anytime_interval_holds_the_means_that_the_evidence_does_not_reject(
    differences: list[float], place: float
) -> None:
    assume(np.std(differences) > 1e-6)
    interval = anytime(differences)
    assume(math.isfinite(interval.low))
    half = interval.high - interval.value
    assume(min(abs(abs(place) - 1), abs(place)) > 1e-3)
    mean = interval.value + place * half
    rejected = evidence([x - mean for x in differences]) >= 1 / 0.05
    assert rejected == (abs(place) > 1)
    assert half > paired(differences).high - interval.value  # the price of looking


def never_covers(interval: Callable[[list[float]], Interval], sequences: int, longest: int) -> int:
    """Sequences of normal differences without an effect whose interval excludes zero at some look."""
    draw = np.random.default_rng(5).normal(size=(sequences, longest))
    return sum(
        any(decide(interval(list(row[:n]))) != "not shown" for n in range(2, longest + 1)) for row in draw
    )


def test_looking_after_every_seed_is_safe_with_anytime_and_not_with_t() -> None:
    sequences = 1000
    found = never_covers(anytime, sequences, 30)
    assert (
        found <= 0.05 * sequences
    )  # Ville's inequality: the true rate is below α, and far below by 30 looks
    peeking = never_covers(paired, sequences, 30)
    assert peeking >= 0.15 * sequences  # why it is there


def test_t_interval_covers_at_a_fixed_number_of_pairs() -> None:
    draw = np.random.default_rng(6).normal(0.3, 2.0, size=(4000, 5))
    covered = sum(low <= 0.3 <= high for _, low, high in (paired(list(row)) for row in draw))
    assert abs(covered - 0.95 * 4000) <= 3.5 * math.sqrt(4000 * 0.95 * 0.05)


def test_an_effect_is_found_early_and_on_its_side() -> None:
    draw = np.random.default_rng(7).normal(-4.0, 1.0, size=(200, 6))
    early = sum(decide(anytime(list(row[:4]))) == "better" for row in draw)
    late = sum(decide(anytime(list(row))) == "better" for row in draw)
    assert late == 200 and early >= 100


def test_bootstrap_is_scipys_and_refused_below_ten() -> None:
    values = list(np.random.default_rng(8).exponential(size=40))
    found = bootstrap(values, seed=1)
    wanted = stats.bootstrap((values,), np.mean, rng=np.random.default_rng(2), n_resamples=20_000)
    np.testing.assert_allclose(found[1:], wanted.confidence_interval, atol=0.03)
    assert bootstrap(values, seed=1) == found
    assert bootstrap([2.0] * 10) == Interval(2.0, 2.0, 2.0)
    with pytest.raises(LabError, match=r"9 differences are too few for a bootstrap: .* t interval"):
        bootstrap(values[: BOOTSTRAP_FROM - 1])


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


def test_verdicts() -> None:
    assert decide(Interval(-1, -2, -0.1)) == "better" and decide(Interval(1, 0.1, 2)) == "worse"
    assert decide(Interval(1, -0.1, 2)) == "not shown" == decide(Interval(math.nan, -math.inf, math.inf))
