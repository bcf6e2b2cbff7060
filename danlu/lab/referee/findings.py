"""From the runs of an idea and the baseline to a verdict, by the same statistics as ``danlu try``."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from statistics import fmean
from typing import Any, Literal

from danlu.lab.referee.plan import Metric, Premise
from danlu.lab.referee.runs import Record
from danlu.lab.referee.words import count
from danlu.lab.statistics import (
    LEVEL,
    NARROW,
    UNKNOWN,
    Interval,
    decide,
    holm_factors,
    mean_interval,
    seeds_to_decide,
)
from danlu.lab.statistics.contrast import Contrast, Kind, beaten, stands
from danlu.lab.statistics.gain import UNPAIRED, AtCost, correlation
from danlu.lab.statistics.multiverse import Reading, flipped
from danlu.lab.statistics.power import equivalent, severity

Verdict = Literal["better", "worse", "equivalent", "scale-bound", "not shown", "void"]


@dataclass(frozen=True)
class Sides:
    """Runs of an idea and of the baseline in blocks, one of each in a block. ``seeded``: both runs of a block
    have its seed."""

    idea: str
    baseline: tuple[Record, ...]
    variant: tuple[Record, ...]
    seeds: tuple[int | None, ...]
    seeded: bool

    @property
    def values(self) -> tuple[tuple[float, ...], tuple[float, ...]]:
        """Of the baseline and of the variant, nan where a run has none."""
        return tuple(r.value for r in self.baseline), tuple(r.value for r in self.variant)

    def without(self, place: int) -> Sides:
        """All blocks but one."""
        kept = [i for i in range(len(self.seeds)) if i != place]
        base, variant = (tuple(of[i] for i in kept) for of in (self.baseline, self.variant))
        return replace(self, baseline=base, variant=variant, seeds=tuple(self.seeds[i] for i in kept))

    @property
    def differences(self) -> list[float]:
        """Variant − baseline, of the blocks in which both ended."""
        return Contrast(*self.values).differences

    @property
    def correlation(self) -> float | None:
        """Of the two values of a block; none where they have no seed in common."""
        return correlation([AtCost(1.0, *self.values)]) if self.seeded else None

    def kind(self, looking: bool) -> Kind:
        """How the two are compared: whoever looked before the end by an interval that allows for it; else in
        pairs where seeds have something in common."""
        rho = self.correlation
        return "anytime" if looking else "paired" if rho is not None and rho > UNPAIRED else "unpaired"

    def contrast(self, kind: Kind) -> Contrast:
        """Of the two, by ``kind``."""
        return Contrast(*self.values, kind)

    def lost(self, end: str) -> tuple[int, int]:
        """Runs of the baseline and of the variant that so ended where the other's did not."""
        rows = [(b.end == end, v.end == end) for b, v in zip(self.baseline, self.variant, strict=True)]
        return rows.count((True, False)), rows.count((False, True))


@dataclass(frozen=True)
class Finding:
    """The verdict on one idea.

    ``interval``: of the mean difference, variant − baseline, of ``level``, by ``kind``. ``p``: of no effect,
    adjusted for the number of ideas; ``e``: the evidence against none. ``severity``: of the side that the
    verdict says, at no difference and at the margin. ``readings``: what other analyses of these runs say, of
    one rung. ``more``: further pairs that would decide. ``gain``: the
    compute-equivalent gain at the largest rung, in ``gains`` of each.
    """

    sides: Sides
    verdict: Verdict
    why: str
    interval: Interval
    level: float
    kind: Kind
    p: float
    e: float
    severity: Mapping[str, float] = field(default_factory=dict)
    more: int | None = None
    gain: Interval | None = None
    gains: Sequence[Mapping[str, Any]] = ()
    readings: Sequence[Reading] = ()

    @property
    def idea(self) -> str:
        return self.sides.idea


def find(asked: Sequence[Sides], metric: Metric, margin: float | None, looking: bool) -> list[Finding]:
    """A verdict on each idea; the levels of several are Holm's."""
    kinds = [sides.kind(looking) for sides in asked]
    factors = holm_factors([sides.contrast(kind).p for sides, kind in zip(asked, kinds, strict=True)])
    return [
        _judge(sides, kind, factor, metric, margin)
        for sides, kind, factor in zip(asked, kinds, factors, strict=True)
    ]


def _judge(sides: Sides, kind: Kind, factor: float, metric: Metric, margin: float | None) -> Finding:
    level = 1 - (1 - LEVEL) / factor
    contrast = sides.contrast(kind)
    interval, differences = contrast.interval(level), contrast.differences
    verdict = _shown(interval, contrast.interval(NARROW), metric, margin)
    verdict, why = _losses(sides, verdict, _said(sides, interval, level, metric, margin, verdict))
    more = seeds_to_decide(differences, level, looking=True) if verdict == "not shown" else 0
    tested = _severity(differences, interval.value, margin) if len(differences) > 1 else {}
    p, e = min(1.0, factor * contrast.p), contrast.e
    readings = list(_readings(sides, kind, level, metric, margin))
    return Finding(sides, verdict, why, interval, level, kind, p, e, tested, more, readings=readings)


def _shown(interval: Interval, narrow: Interval, metric: Metric, margin: float | None) -> Verdict:
    """What an interval shows; with a margin, the ``narrow`` one too. There may be an effect that is too small
    to matter: it is not shown to be within the margin, nor beyond."""
    if margin is not None and equivalent(narrow, margin):
        return "equivalent"
    if margin is not None and abs(interval.value) < margin:
        return "not shown"
    return decide(interval, metric.sign)


def _readings(
    sides: Sides, kind: Kind, level: float, metric: Metric, margin: float | None
) -> Iterator[Reading]:
    """The verdict without each of the pairs, by runs that are compared the other way, by another interval."""

    def by(some: Sides, kind: Kind) -> Verdict:
        contrast = some.contrast(kind)
        shown = _shown(contrast.interval(level), contrast.interval(NARROW), metric, margin)
        return _losses(some, shown, "")[0]

    blocks = range(len(sides.seeds))
    if len(blocks) > 2:
        for place in blocks:
            yield Reading(f"without pair {place + 1}", by(sides.without(place), kind))
    if kind == "anytime":
        return
    if sides.seeded:
        other: Kind = "unpaired" if kind == "paired" else "paired"
        yield Reading({"unpaired": "unpaired", "paired": "in pairs"}[other], by(sides, other))
    wide, narrow = (flipped(sides.differences, one) for one in (level, NARROW))
    if wide is not None and narrow is not None:
        shown = _losses(sides, _shown(wide, narrow, metric, margin), "")[0]
        yield Reading("by sign flips in place of Student's t", shown)


def _losses(sides: Sides, verdict: Verdict, why: str) -> tuple[Verdict, str]:
    """What divergence and failure do to a verdict: a side that diverged wherever the other did not, in two
    blocks at least and all of them, has lost; one of which a run diverged or failed cannot have won."""
    blocks = len(sides.seeds)
    if by := beaten(sides.lost("diverged"), blocks):
        return by, f"every run of {sides.idea if by == 'worse' else 'the baseline'} diverged"
    for end in ("failed", "diverged"):
        lost = sides.lost(end)
        if stands(verdict, lost):
            continue
        if verdict == "equivalent":
            return "not shown", f"{count(sum(lost), 'run')} {end}; {why}"
        of, who = (lost[1], sides.idea) if verdict == "better" else (lost[0], "the baseline")
        return "not shown", f"{of} of {blocks} runs of {who} {end}, so it cannot win; {why}"
    return verdict, why


def _said(
    sides: Sides, interval: Interval, level: float, metric: Metric, margin: float | None, verdict: Verdict
) -> str:
    """What was seen, in a sentence."""
    value, low, high = interval
    pairs = len(sides.differences)
    told = count(pairs, "pair")
    if not pairs:
        return "no run of both sides ended"
    if verdict == "equivalent":
        return f"{metric.name} differs by less than {margin:g} at 95 % confidence ({value:+.4g}, {told})"
    if not any(sides.differences):
        return f"{metric.name} is the same in every pair: the change does nothing here"
    change = "lower" if value < 0 else "higher"
    if not math.isfinite(low):
        return f"{metric.name} is {abs(value):.4g} {change} in {told}: too few"
    what = f"{metric.name} is {abs(value):.4g} {change}"
    return f"{what} ({100 * level:.3g} % interval {low:+.4g} to {high:+.4g}, {told})"


def _severity(differences: Sequence[float], value: float, margin: float | None) -> dict[str, float]:
    """How severely "the difference lies on this side of 0" was tested, and of the margin on this side."""
    above = value > 0
    bounds = {"0": 0.0} | ({} if margin is None else {f"{margin:g}": margin if above else -margin})
    return {name: severity(differences, bound, above=above) for name, bound in bounds.items()}


# ---------------------------------------------------------------- premises


@dataclass(frozen=True)
class Held:
    """A premise and its one-sided 95 % bounds over the runs of an arm."""

    name: str
    arm: str
    rule: str
    interval: Interval
    holds: bool

    def __str__(self) -> str:
        value, low, high = self.interval
        return f"{self.name}: {self.arm} has {value:.4g} ({low:.4g} … {high:.4g}), and it must be {self.rule}"


def premises(
    asked: Sequence[Premise], records: Mapping[str, Sequence[Record]], margin: float | None
) -> list[Held]:
    """Each premise of each arm that it is of. It holds where the bounds do."""
    found = []
    for premise in asked:
        low, high = premise.rule.bounds(math.nan if margin is None else margin)
        for arm in [premise.arm] if premise.arm else records:
            values = [r.also[f"premise {premise.name}"] for r in records[arm] if r.end == "ended"]
            interval = mean_interval(values, NARROW) if values else UNKNOWN
            if len(values) > 1 and min(values) == max(values):  # a count that is the same in each run
                interval = Interval(values[0], values[0], values[0])
            holds = low < interval.low and interval.high < high
            found.append(Held(premise.name, arm, str(premise.rule), interval, holds))
    return found


def mean_of(records: Sequence[Record], name: str) -> float | None:
    """The mean of a number that runs told; none where none did."""
    values = [r.also[name] for r in records if name in r.also and math.isfinite(r.also[name])]
    return fmean(values) if values else None
