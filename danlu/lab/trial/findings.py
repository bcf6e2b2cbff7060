"""From pairs of runs to verdicts. No torch here."""

from __future__ import annotations

import math
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Literal

from danlu.files.json import finite
from danlu.lab.regime import Regime
from danlu.lab.statistics import LEVEL, UNKNOWN, Interval, Verdict, decide, holm_factors, seeds_to_decide
from danlu.lab.statistics.contrast import Contrast, beaten, stands
from danlu.lab.statistics.multiverse import Reading, flipped
from danlu.lab.trial.cost import Cost
from danlu.lab.why import Why
from danlu.spec.metrics import Metric

At = Literal["steps", "flops", "time"]
Said = Verdict | Literal["void", "not measured"]


@dataclass(frozen=True)
class Pairs:
    """The metric of both sides by seed, nan where a run diverged.

    ``doubt``: by how much the differences may be lower and higher because the lengths of the runs are not
    known exactly (at equal time, the ends of the measured ratio's interval). ``others``: the same runs by
    other values than the metric at their end.
    """

    idea: str
    at: At
    metric: Metric
    seeds: tuple[int, ...]
    baseline: tuple[float, ...]
    variant: tuple[float, ...]
    doubt: tuple[float, float] = (0.0, 0.0)
    others: Mapping[str, Pairs] = field(default_factory=dict)

    def without(self, place: int) -> Pairs:
        """All but one."""
        kept = [i for i in range(len(self.seeds)) if i != place]
        seeds, before, after = (
            tuple(of[i] for i in kept) for of in (self.seeds, self.baseline, self.variant)
        )
        return replace(self, seeds=seeds, baseline=before, variant=after)  # type: ignore[arg-type]

    @property
    def differences(self) -> dict[int, float]:
        """Variant − baseline, of the seeds of which both sides ended."""
        rows = zip(self.seeds, self.baseline, self.variant, strict=True)
        return {seed: v - b for seed, b, v in rows if math.isfinite(v - b)}

    @property
    def diverged(self) -> tuple[int, int]:
        """Runs of the baseline and of the variant that diverged where the other side did not."""
        sides = [
            (math.isfinite(b), math.isfinite(v)) for b, v in zip(self.baseline, self.variant, strict=True)
        ]
        return sides.count((False, True)), sides.count((True, False))

    def contrast(self, looking: bool) -> Contrast:
        """By Student's t, or by what holds for whoever looked before the end."""
        return Contrast(self.baseline, self.variant, "anytime" if looking else "paired", self.doubt)

    def p(self, looking: bool) -> float:
        """Of no difference, by the pairs that ended."""
        return self.contrast(looking).p

    @property
    def e(self) -> float:
        """The evidence of the pairs that ended against no difference."""
        return self.contrast(looking=True).e


@dataclass(frozen=True)
class Finding:
    """The verdict on an idea where one thing is equal on both sides, ``at``; *not measured* where it could
    not be made equal, *void* where a side has no best rate: the ``note`` says why.

    ``interval``: of the mean difference, the one that the verdict comes from: of ``level``, which allows for
    the number of ideas; infinite below two pairs. ``kind``: Student's t, or anytime where one looked before
    the end. ``p``: of no difference, adjusted for the number of ideas. ``more``: further seeds that would
    decide. ``steps``: updates of the baseline and of the variant. ``ratio``: of the variant's cost of an
    update (FLOPs, seconds) to the baseline's. ``note``: what else must be known. ``regime``: of the runs that
    it comes from (none where none did). ``readings``: what other analyses of these runs say. ``tuned``: the
    rates of ``baseline`` and ``variant``. ``cost``: of all runs behind the verdicts on the idea, those of the
    baseline too. ``why``: what moved inside, at equal steps."""

    pairs: Pairs
    verdict: Said
    interval: Interval
    level: float
    kind: Literal["t", "anytime"]
    p: float
    more: int | None
    steps: tuple[int, int]
    ratio: float | None = None
    note: str = ""
    regime: Regime | None = None
    tuned: Mapping[str, Any] | None = None
    cost: Cost | None = None
    why: Why = field(default_factory=Why)
    readings: Sequence[Reading] = ()

    @property
    def early(self) -> tuple[str, ...]:
        """Why the verdict says little of longer runs."""
        return self.regime.early if self.regime is not None else ()

    @property
    def said(self) -> str:
        """The verdict as it is told: one on runs short of the regime never without that word."""
        return f"{self.verdict} (early)" if self.early else self.verdict

    def json(self) -> dict[str, Any]:
        """As JSON: what is not finite is none."""
        pairs, (lost, lost_variant) = self.pairs, self.pairs.diverged
        return {
            "idea": pairs.idea,
            "metric": pairs.metric.name,
            "unit": pairs.metric.unit,
            "better": pairs.metric.better,
            "at": pairs.at,
            "verdict": self.verdict,
            "difference": finite(self.interval.value),
            "interval": [finite(self.interval.low), finite(self.interval.high)],
            "level": self.level,
            "kind": self.kind,
            "p": self.p,
            "seeds": len(pairs.seeds),
            "pairs": [
                {"seed": s, "baseline": finite(b), "variant": finite(v), "difference": finite(v - b)}
                for s, b, v in zip(pairs.seeds, pairs.baseline, pairs.variant, strict=True)
            ],
            "diverged": {"baseline": lost, "variant": lost_variant},
            "more_seeds": self.more,
            "steps": {"baseline": self.steps[0], "variant": self.steps[1]},
            "cost_ratio": self.ratio,
            "regime": None if self.regime is None else self.regime.json(),
            "tuned": self.tuned,
            "cost": None if self.cost is None else self.cost.json(),
            "note": self.note,
            "analyses": [one._asdict() for one in self.readings],
            **{name: part for name, part in self.why.json().items() if name != "seeds"},
        }


def judge(pairs: Pairs, level: float, looking: bool) -> tuple[Said, Interval]:
    """The verdict, and the interval of the mean difference that it comes from.

    A side that diverges wherever the other does not, in at least two seeds and all of them, has lost. One
    that diverges in some cannot have won by the others."""
    if not pairs.seeds:
        return "not measured", UNKNOWN
    interval, lost = pairs.contrast(looking).interval(level), pairs.diverged
    verdict = beaten(lost, len(pairs.seeds))
    if verdict is None:
        verdict = decide(interval, pairs.metric.sign)
        verdict = verdict if stands(verdict, lost) else "not shown"
    return verdict, interval


def find(
    asked: Sequence[Pairs],
    looking: bool,
    about: Mapping[tuple[str, At], Mapping[str, Any]],
    void: Collection[str] = (),
) -> list[Finding]:
    """A verdict on each of ``asked``; where several ideas were tried, p values and levels are Holm's among
    those of the same equality. ``about``: what else each finding says, its ``steps`` at least, by idea and
    equality. ``void``: ideas of which nothing can be said."""
    factors: dict[tuple[str, At], float] = {}
    for at in ("steps", "flops", "time"):
        of_this = [pairs for pairs in asked if pairs.at == at and pairs.seeds]
        values = holm_factors([pairs.p(looking) for pairs in of_this])
        factors |= {(pairs.idea, pairs.at): factor for pairs, factor in zip(of_this, values, strict=True)}
    found = []
    for pairs in asked:
        key = pairs.idea, pairs.at
        factor = factors.get(key, 1.0)
        level = 1 - (1 - LEVEL) / factor
        verdict, interval = judge(pairs, level, looking)
        verdict = "void" if pairs.idea in void else verdict
        differences = list(pairs.differences.values())
        more = seeds_to_decide(differences, level, looking=True) if verdict == "not shown" else 0
        kind: Literal["t", "anytime"] = "anytime" if looking else "t"
        p = min(1.0, factor * pairs.p(looking))
        readings = [] if verdict == "void" else list(_readings(pairs, level, looking))
        found.append(Finding(pairs, verdict, interval, level, kind, p, more, readings=readings, **about[key]))
    return found


def _readings(pairs: Pairs, level: float, looking: bool) -> Iterator[Reading]:
    """The verdict by other values of the runs, without each of the pairs, and by another interval."""
    here = judge(pairs, level, looking)[0], pairs.p(looking)
    for way, other in pairs.others.items():
        verdict, p = judge(other, level, looking)[0], other.p(looking)
        if verdict != here[0] or not math.isclose(p, here[1], rel_tol=1e-6):  # else the same in another unit
            yield Reading(way, verdict)
    if len(pairs.seeds) > 2:
        for i, seed in enumerate(pairs.seeds):
            yield Reading(f"without the pair of seed {seed}", judge(pairs.without(i), level, looking)[0])
    found = flipped(list(pairs.differences.values()), level)
    if found is not None and not looking and not any(pairs.diverged) and not any(pairs.doubt):
        yield Reading("by sign flips in place of Student's t", decide(found, pairs.metric.sign))
