"""From pairs of runs to verdicts. No torch here."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

from danlu.lab.statistics import (
    LEVEL,
    Interval,
    Verdict,
    anytime,
    decide,
    evidence,
    holm,
    p_value,
    paired,
    seeds_to_decide,
)

METRIC = "bits_per_byte"  # held-out, after the last update; less is better

At = Literal["steps", "flops", "time"]


@dataclass(frozen=True)
class Pairs:
    """The metric of both sides by seed, nan where a run diverged."""

    idea: str
    at: At
    seeds: tuple[int, ...]
    baseline: tuple[float, ...]
    variant: tuple[float, ...]

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

    def p(self, looking: bool) -> float:
        """Of the pairs that ended: Student's, or the inverse of the evidence, which holds at any moment."""
        found = list(self.differences.values())
        return min(1.0, 1 / evidence(found)) if looking else p_value(found)


@dataclass(frozen=True)
class Finding:
    """The verdict on an idea where one thing is equal on both sides, ``at``.

    ``interval``: of the mean difference, 95 %, infinite below two pairs; ``kind``: Student's t, or anytime
    where one looked before the end. ``p``: of no difference, adjusted for the number of ideas. ``more``:
    further seeds that would decide. ``steps``: updates of the baseline and of the variant. ``ratio``: of the
    variant's cost of an update (FLOPs, seconds) to the baseline's. ``note``: what else must be known."""

    pairs: Pairs
    verdict: Verdict
    interval: Interval
    kind: Literal["t", "anytime"]
    p: float
    more: int | None
    steps: tuple[int, int]
    ratio: float | None = None
    note: str = ""
    tuned: Mapping[str, Any] | None = None
    moved: Sequence[Mapping[str, Any]] = field(default=())

    def said(self) -> dict[str, Any]:
        """As JSON: what is not finite is none."""
        pairs, (lost, lost_variant) = self.pairs, self.pairs.diverged
        return {
            "idea": pairs.idea,
            "metric": METRIC,
            "at": pairs.at,
            "verdict": self.verdict,
            "difference": _finite(self.interval.value),
            "interval": [_finite(self.interval.low), _finite(self.interval.high)],
            "level": LEVEL,
            "kind": self.kind,
            "p": self.p,
            "seeds": len(pairs.seeds),
            "pairs": [
                {"seed": s, "baseline": _finite(b), "variant": _finite(v), "difference": _finite(v - b)}
                for s, b, v in zip(pairs.seeds, pairs.baseline, pairs.variant, strict=True)
            ],
            "diverged": {"baseline": lost, "variant": lost_variant},
            "more_seeds": self.more,
            "steps": {"baseline": self.steps[0], "variant": self.steps[1]},
            "cost_ratio": self.ratio,
            "tuned": self.tuned,
            "note": self.note,
            "moved": list(self.moved),
        }


def judge(pairs: Pairs, adjusted: float, looking: bool) -> tuple[Verdict, Interval]:
    """The verdict and the interval of the mean difference, ``adjusted`` being its p value among all ideas.

    A side that diverges wherever the other does not, in at least two seeds and all of them, has lost. One
    that diverges in some cannot have won by the others."""
    differences = list(pairs.differences.values())
    interval = (
        (anytime if looking else paired)(differences)
        if differences
        else Interval(math.nan, -math.inf, math.inf)
    )
    lost, lost_variant = pairs.diverged
    if len(pairs.seeds) >= 2 and len(pairs.seeds) in (lost, lost_variant):
        return ("worse" if lost_variant else "better"), interval
    verdict = decide(interval) if adjusted <= 1 - LEVEL else "not shown"
    if (verdict == "better" and lost_variant) or (verdict == "worse" and lost):
        verdict = "not shown"
    return verdict, interval


def find(
    asked: Sequence[Pairs], looking: bool, about: Mapping[tuple[str, At], Mapping[str, Any]]
) -> list[Finding]:
    """A verdict on each of ``asked``; where several ideas were tried, p values are Holm's among those of the
    same equality. ``about``: what else each finding says, its ``steps`` at least, by idea and equality."""
    adjusted: dict[tuple[str, At], float] = {}
    for at in ("steps", "flops", "time"):
        of_this = [pairs for pairs in asked if pairs.at == at]
        values = holm([pairs.p(looking) for pairs in of_this])
        adjusted |= {(pairs.idea, pairs.at): p for pairs, p in zip(of_this, values, strict=True)}
    found = []
    for pairs in asked:
        key = pairs.idea, pairs.at
        verdict, interval = judge(pairs, adjusted[key], looking)
        differences = list(pairs.differences.values())
        more = seeds_to_decide(differences, looking=True) if verdict == "not shown" else 0
        kind: Literal["t", "anytime"] = "anytime" if looking else "t"
        found.append(Finding(pairs, verdict, interval, kind, adjusted[key], more, **about[key]))
    return found


def _finite(x: float) -> float | None:
    return x if math.isfinite(x) else None
