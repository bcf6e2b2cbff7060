"""Rungs: what an idea gains at each size of the program, and the verdict at the largest."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from statistics import fmean, variance
from typing import Any, Literal

from danlu.lab.referee.findings import Finding, Sides, mean_of
from danlu.lab.referee.plan import Plan, Scale
from danlu.lab.referee.runs import Record
from danlu.lab.referee.words import fill, split
from danlu.lab.statistics import LEVEL, Interval, holm
from danlu.lab.statistics.across import Judged, judge
from danlu.lab.statistics.gain import Gain, Rung, gains
from danlu.lab.statistics.online import from_p

Unit = Literal["FLOPs", "seconds"]
FEWEST = 3  # pairs of the largest rungs, which cost the most


def words(scale: Scale, value: float | str) -> list[str]:
    """What sets a rung."""
    text = f"{value:g}" if isinstance(value, float) else str(value)
    return split(" ".join(fill([scale.set], {"value": text})), "scale.set")


def pairs(plan: Plan, asked: int) -> list[int]:
    """Of each rung: as asked at the two smallest, fewer above."""
    assert plan.scale is not None
    least = min(FEWEST, asked)
    return [max(least, asked - max(0, rung - 1)) for rung in range(len(plan.scale.values))]


def unit(records: Sequence[Record]) -> Unit:
    """What compute is counted in: FLOPs where the program tells them, or parameters and tokens; else the
    seconds of its processes."""
    return "FLOPs" if _flops(records) is not None else "seconds"


def cost(records: Sequence[Record], counted: Unit) -> tuple[float, float]:
    """Of one run: its mean, and the variance of the mean's logarithm."""
    if counted == "FLOPs":
        return _flops(records) or math.nan, 0.0
    seconds = [record.cpu for record in records if record.end == "ended"]
    if not seconds:
        return math.nan, 0.0
    mean = fmean(seconds)
    return mean, variance(seconds) / len(seconds) / mean**2 if len(seconds) > 1 else 0.0


def _flops(records: Sequence[Record]) -> float | None:
    told = mean_of(records, "flops")
    if told is not None:
        return told
    parameters, tokens = mean_of(records, "parameters"), mean_of(records, "tokens")
    return 6 * parameters * tokens if parameters and tokens else None


def across(finding: Finding, rungs: Mapping[str, Sides], sign: int) -> Finding:
    """The finding of the largest rung with the verdict over all: the compute-equivalent gain, judged at the
    largest rung's compute. It keeps the losses' verdict where gains cannot be told."""
    counted = unit(next(iter(rungs.values())).baseline)
    sized: list[Rung] = []
    doubts: list[float] = []
    for sides in rungs.values():
        (base, doubt), (variant, more) = cost(sides.baseline, counted), cost(sides.variant, counted)
        values = [tuple(sign * record.value for record in side) for side in (sides.baseline, sides.variant)]
        sized.append(Rung(base, values[0], values[1], variant if math.isfinite(variant) else None))
        doubts.append(doubt + more)
    order = sorted(range(len(sized)), key=lambda rung: sized[rung].cost)
    found = [
        replace(gain, variance=gain.variance + doubts[rung])
        for rung, gain in zip(order, gains(sized), strict=True)
    ]
    judged = judge(found, found[-1].x)
    names = list(rungs)
    said = [
        {**_told(names[rung], gain), "counted in": counted} for rung, gain in zip(order, found, strict=True)
    ]
    failed = [sides.lost("failed") for sides in rungs.values()]
    verdict, why = judged.verdict, _why(judged, counted)
    if verdict == "better" and any(variant for _, variant in failed):
        verdict, why = "not shown", f"a run of {finding.idea} failed, so it cannot win; {why}"
    if verdict == "worse" and any(base for base, _ in failed):
        verdict, why = "not shown", f"a run of the baseline failed, so it cannot win; {why}"
    gain = Interval(*map(_exp, judged.gain))
    p = judged.model.p(judged.at) if judged.model else finding.p
    # Whoever looked before the end keeps the evidence of the largest rung's pairs, which allows for it.
    e = from_p(p) if judged.model and finding.kind != "anytime" else finding.e
    return replace(finding, verdict=verdict, why=why, gain=gain, gains=said, p=p, e=e)


def among(findings: Sequence[Finding]) -> list[Finding]:
    """The findings of several ideas: what is clear for one alone and not for so many (Holm) is not shown."""
    found = []
    for finding, p in zip(findings, holm([one.p for one in findings]), strict=True):
        finding = replace(finding, p=p)
        if finding.verdict in ("better", "worse") and p > 1 - LEVEL:
            why = f"not clear for {len(findings)} ideas at once (Holm, p = {p:.2g}); {finding.why}"
            finding = replace(finding, verdict="not shown", why=why)
        found.append(finding)
    return found


def _why(judged: Judged, counted: Unit) -> str:
    value, low, high = (_exp(x) for x in judged.gain)
    assumed = f" ({judged.model.assumes})" if judged.model and judged.model.assumes else ""
    if not math.isfinite(value):
        return judged.why
    return (
        f"the compute-equivalent gain at the largest rung is {value:.3g}× ({low:.3g}× to {high:.3g}×, by "
        f"{counted}): {judged.why}{assumed}"
    )


def _told(name: str, gain: Gain) -> dict[str, Any]:
    low, high = gain.interval()[1:]
    return {
        "rung": name,
        "compute": math.exp(gain.x),
        "gain": _exp(gain.value),
        "low": _exp(low),
        "high": _exp(high),
        "bound": gain.bound,
        "difference": gain.difference,
        "pairs": gain.pairs,
        "paired": gain.paired,
    }


def _exp(x: float) -> float:
    return math.exp(x) if x < 700 else math.inf
