"""Evidence against its definition, rates of error by simulation."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from scipy import integrate, stats

from danlu.lab.statistics import PRIOR, Interval, anytime, decide, evidence, paired

DIFFERENCES = st.lists(st.integers(-(10**6), 10**6).map(lambda whole: whole / 1000), min_size=3, max_size=30)


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


@pytest.mark.slow
def test_looking_after_every_seed_is_safe_with_anytime_and_not_with_t() -> None:
    sequences = 1000
    found = never_covers(anytime, sequences, 30)
    assert (
        found <= 0.05 * sequences
    )  # Ville's inequality: the true rate is below α, and far below by 30 looks
    peeking = never_covers(paired, sequences, 30)
    assert peeking >= 0.15 * sequences  # why it is there


def test_an_effect_is_found_early_and_on_its_side() -> None:
    draw = np.random.default_rng(7).normal(-4.0, 1.0, size=(200, 6))
    early = sum(decide(anytime(list(row[:4]))) == "better" for row in draw)
    late = sum(decide(anytime(list(row))) == "better" for row in draw)
    assert late == 200 and early >= 100
