"""The effects of seeds → the verdict, how severely it was tested, and how many seeds a rule needs."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Literal, NamedTuple

from danlu.lab.claims.rules import Rule
from danlu.lab.statistics import LEVEL, NARROW, Interval, anytime, evidence, mean_interval
from danlu.lab.statistics.power import pairs_for_difference, pairs_for_equivalence, severity, weak

Verdict = Literal["holds", "does not hold", "not shown"]


def interval(effects: Sequence[float], level: float = LEVEL, looked: bool = False) -> Interval:
    """Of the mean effect; ``looked``: where a verdict on other seeds was seen before, the one that holds for
    whoever goes on because of what was seen."""
    return anytime(effects, level) if looked else mean_interval(effects, level)


def judge(rule: Rule, found: Interval, narrow: Interval, margin: float = math.nan) -> Verdict:
    """*holds* where the whole interval obeys the rule, *does not hold* where none of it does. ``narrow``: the
    90 % interval, which decides whether a rule ``within`` two numbers holds: two one-sided tests at 5 %."""
    low, high = rule.bounds(margin)
    inner = found if rule.within is None else narrow
    if low < inner.low and inner.high < high:
        return "holds"
    return "does not hold" if found.high < low or found.low > high else "not shown"


def decide(
    rule: Rule, effects: Sequence[float], margin: float = math.nan, *, looked: bool = False
) -> tuple[Verdict, Interval]:
    """The verdict, and the 95 % interval."""
    found, narrow = (interval(effects, level, looked) for level in (LEVEL, NARROW))
    return judge(rule, found, narrow, margin), found


class Settled(NamedTuple):
    """``verdict`` and 95 % interval of the ``effect``; ``severity``: pairs of a bound and how severely it was
    tested that the effect lies beyond; ``weak``: it holds, with less severity than counts."""

    verdict: Verdict
    effect: Interval
    severity: list[tuple[float, float]]
    weak: bool


def settle(rule: Rule, effects: Sequence[float], margin: float, *, looked: bool) -> Settled:
    """All that the effects of the seeds say of a claim."""
    verdict, effect = decide(rule, effects, margin, looked=looked)
    tested = severities(rule, effects, margin)
    return Settled(verdict, effect, tested, verdict == "holds" and bool(tested) and weak(tested[0][1]))


def passes(
    rule: Rule, values: Sequence[float], margin: float = math.nan, share: int = 1
) -> tuple[bool, float]:
    """Whether the mean obeys the rule by its one-sided 95 % bound (both of them ``within`` two numbers), and
    the bound that decides. ``share``: of so many, one of which suffices, each gets a part of the 5 %."""
    low, high = rule.bounds(margin)
    found = mean_interval(values, 1 - 2 * (1 - LEVEL) / share)
    if math.isnan(found.value):
        return False, math.nan
    held = low < found.low and found.high < high
    if math.isinf(low):
        return held, found.high
    if math.isinf(high):
        return held, found.low
    return held, found.low if found.low - low < high - found.high else found.high


def severities(rule: Rule, effects: Sequence[float], margin: float) -> list[tuple[float, float]]:
    """How severely these effects test that the effect goes beyond the rule's bound by the margin, and by two
    of it; where the margin is the bound, that it stays within it, and within half of it. Pairs of a bound and
    the severity of "the effect lies beyond it"."""
    if math.isnan(margin):
        return []
    if rule.within is not None:
        low, high = rule.bounds(margin)
        middle = (low + high) / 2
        return [
            (
                share * high + (1 - share) * middle,
                min(
                    severity(effects, share * high + (1 - share) * middle),
                    severity(effects, share * low + (1 - share) * middle, above=True),
                ),
            )
            for share in (1.0, 0.5)
        ]
    above = rule.above is not None
    bound = next(one for one in rule.bounds(margin) if math.isfinite(one))
    if rule.names_margin:
        bounds = [bound, bound / 2]
    else:
        bounds = [bound + times * (margin if above else -margin) for times in (1, 2)]
    return [(one, severity(effects, one, above=above)) for one in bounds]


def against_the_bound(rule: Rule, effects: Sequence[float], margin: float) -> float | None:
    """The e-value against an effect that lies exactly at the bound of the rule; None where it has two, or
    where not every seed has an effect."""
    bounds = [bound for bound in rule.bounds(margin) if math.isfinite(bound)]
    if len(bounds) != 1 or not effects or not all(map(math.isfinite, effects)):
        return None
    return evidence([effect - bounds[0] for effect in effects])


def pairs_needed(rule: Rule, sd: float, margin: float = math.nan) -> int | None:
    """The seeds by which the rule is found to hold with a probability of .8 where the effect lies the margin
    beyond its bound, in the middle of a rule ``within``; None where nothing says what would matter."""
    if rule.names_margin and math.isnan(margin):
        return None
    low, high = rule.bounds(margin)
    if rule.within is not None:
        return pairs_for_equivalence((high - low) / 2, sd)
    return None if math.isnan(margin) else pairs_for_difference(margin, sd)
