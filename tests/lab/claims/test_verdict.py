"""Verdicts, premises and plans from effects: plain numbers."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from danlu.lab.claims import verdict
from danlu.lab.claims.rules import Rule
from danlu.lab.statistics import Interval, anytime, evidence, mean_interval


@pytest.mark.parametrize(
    ("rule", "interval", "said"),
    [
        (Rule(above=0), (0.1, 0.3), "holds"),
        (Rule(above=0), (-0.1, 0.3), "not shown"),
        (Rule(above=0), (-0.3, -0.1), "does not hold"),
        (Rule(above=0.2), (0.1, 0.3), "not shown"),
        (Rule(below=0), (-0.3, -0.1), "holds"),
        (Rule(below=0), (-0.3, 0.1), "not shown"),
        (Rule(below=0), (0.1, 0.3), "does not hold"),
        (Rule(within=(-1, 1)), (-0.9, 0.9), "holds"),
        (Rule(within=(-1, 1)), (-1.1, 0.9), "not shown"),
        (Rule(within=(-1, 1)), (-2, 2), "not shown"),
        (Rule(within=(-1, 1)), (1.1, 2), "does not hold"),
        (Rule(within=(-1, 1)), (-3, -2), "does not hold"),
    ],
)
def test_judge(rule: Rule, interval: tuple[float, float], said: str) -> None:
    found = Interval(sum(interval) / 2, *interval)
    assert verdict.judge(rule, found, narrow=found) == said


@given(st.sampled_from([Rule(above=0), Rule(below=0), Rule(within=(-1, 1))]))
def test_without_a_finite_interval_nothing_is_shown(rule: Rule) -> None:
    whole = Interval(math.nan, -math.inf, math.inf)
    assert verdict.judge(rule, whole, narrow=whole) == "not shown"


def noisy(mean: float, spread: float = 0.1, n: int = 5) -> list[float]:
    """Values of this mean and standard deviation, exactly."""
    x = np.arange(n) - (n - 1) / 2
    return list(mean + spread * x / x.std(ddof=1))


def test_equality_is_two_one_sided_tests() -> None:
    """Of five values with a spread of .1 the 90 % interval reaches .095, the 95 % interval .124."""
    rule = Rule(within="margin")
    assert verdict.decide(rule, noisy(0.0), 0.1)[0] == "holds"
    narrow, wide = Interval(0.0, -0.095, 0.095), Interval(0.0, -0.124, 0.124)
    assert verdict.judge(rule, wide, narrow, 0.1) == "holds"
    assert verdict.judge(rule, wide, wide, 0.1) == "not shown"
    assert verdict.decide(rule, noisy(0.0), 0.09)[0] == "not shown"
    assert verdict.decide(rule, noisy(0.23), 0.1)[0] == "does not hold"
    assert verdict.decide(rule, noisy(0.21), 0.1)[0] == "not shown"  # by the 95 % interval


def test_equality_is_wrong_once_in_twenty_at_the_margin() -> None:
    """With a true effect exactly at the margin *holds* comes with probability 5 %: of 4,000 draws ± 1 %."""
    draw = np.random.default_rng(0)
    held = sum(
        verdict.decide(Rule(within=(-1, 1)), list(1 + 0.2 * draw.normal(size=5)))[0] == "holds"
        for _ in range(4000)
    )
    assert held / 4000 == pytest.approx(0.05, abs=0.01)


def test_after_a_look_the_interval_is_the_one_for_those_who_looked() -> None:
    values = noisy(0.3)
    assert verdict.decide(Rule(above=0), values)[1] == mean_interval(values)
    assert verdict.decide(Rule(above=0), values, looked=True)[1] == anytime(values)


@pytest.mark.parametrize(
    ("rule", "mean", "held"),
    [
        (Rule(above=0), 0.1, True),  # the one-sided bound of five with a spread of .1 reaches .095
        (Rule(above=0), 0.09, False),
        (Rule(below=0), -0.1, True),
        (Rule(below=0), -0.09, False),
        (Rule(within=(0, 0.2)), 0.1, True),
        (Rule(within=(0, 0.18)), 0.1, False),
        (Rule(within="margin"), 0.0, True),
    ],
)
def test_a_premise_is_judged_by_its_one_sided_bound(rule: Rule, mean: float, held: bool) -> None:
    found, bound = verdict.passes(rule, noisy(mean), margin=0.1)
    assert found == held and abs(bound - mean) == pytest.approx(0.0953, abs=1e-4)


def test_of_several_arms_one_of_which_suffices_each_gets_a_part() -> None:
    """At 2.5 % the one-sided bound of five is the end of the 95 % interval."""
    _, bound = verdict.passes(Rule(above=0), noisy(1.0), share=2)
    assert bound == pytest.approx(mean_interval(noisy(1.0)).low)


def test_what_is_not_known_of_every_seed_fails() -> None:
    held, bound = verdict.passes(Rule(above=0), [1.0, math.nan, 1.0])
    assert not held and math.isnan(bound)


def test_severity_is_that_of_going_beyond_by_the_margin() -> None:
    """An effect exactly a margin beyond the bound is tested with a severity of one half."""
    (at, half), (twice, less) = verdict.severities(Rule(above=0), noisy(0.2), 0.2)
    assert (at, twice) == (0.2, 0.4) and half == pytest.approx(0.5) and less < 0.01
    assert verdict.severities(Rule(below=0), noisy(-0.2), 0.2) == [(-0.2, half), (-0.4, pytest.approx(less))]
    assert verdict.severities(Rule(above=0), noisy(0.2), math.nan) == []


def test_severity_where_the_margin_is_the_bound() -> None:
    (bound, severe), (half, less) = verdict.severities(Rule(within="margin"), noisy(0.0), 0.1)
    assert (bound, half) == (0.1, 0.05) and severe > 0.95 > less
    (bound, _), _ = verdict.severities(Rule(below="margin"), noisy(0.0), 0.1)
    assert bound == 0.1


def test_the_evidence_is_against_the_bound() -> None:
    assert verdict.against_the_bound(Rule(above=0.2), noisy(0.5), 0.0) == pytest.approx(evidence(noisy(0.3)))
    assert verdict.against_the_bound(Rule(below="margin"), noisy(0.5), 0.2) == pytest.approx(
        evidence(noisy(0.3))
    )
    assert verdict.against_the_bound(Rule(within="margin"), noisy(0.5), 0.2) is None
    assert verdict.against_the_bound(Rule(above=0), [1.0, math.nan], 0.2) is None


def test_seeds_needed() -> None:
    """√n·δ = 2.8·σ for a difference and 2.93·σ for equality in large samples; two without noise."""
    assert verdict.pairs_needed(Rule(above=0), 1.0, 0.1) == pytest.approx((2.8 / 0.1) ** 2, rel=0.01)
    assert verdict.pairs_needed(Rule(within=(-0.1, 0.1)), 1.0) == pytest.approx((2.927 / 0.1) ** 2, rel=0.01)
    assert verdict.pairs_needed(Rule(within="margin"), 0.05, 0.1) == verdict.pairs_needed(
        Rule(within=(0, 0.2)), 0.05
    )
    assert verdict.pairs_needed(Rule(above=0), 0.0, 0.1) == 2
    assert (
        verdict.pairs_needed(Rule(above=0), 0.1) is None
        and verdict.pairs_needed(Rule(within="margin"), 0.1) is None
    )


def test_the_seeds_needed_have_the_power() -> None:
    """As many seeds as are planned find an effect of the margin four times in five: of 2,000 draws ± 3 %."""
    n = verdict.pairs_needed(Rule(above=0), 0.1, 0.12)
    assert n is not None
    draw = np.random.default_rng(1)
    found = sum(
        verdict.decide(Rule(above=0), list(0.12 + 0.1 * draw.normal(size=n)))[0] == "holds"
        for _ in range(2000)
    )
    assert 0.77 < found / 2000 < 0.9
