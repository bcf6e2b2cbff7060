"""Rungs: what an idea gains at each size of the program, and the verdict at the largest."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from statistics import fmean, variance
from typing import Any, Literal

from danlu.lab.errors import LabError
from danlu.lab.referee.findings import Finding, Sides, Verdict, mean_of
from danlu.lab.referee.plan import Scale, written
from danlu.lab.referee.runs import Record
from danlu.lab.referee.words import fill, split
from danlu.lab.statistics import LEVEL, Interval, holm
from danlu.lab.statistics.across import Judged, judge
from danlu.lab.statistics.gain import AtCost, Gain, gains
from danlu.lab.statistics.online import from_p

Unit = Literal["FLOPs", "seconds"]


def words(scale: Scale, value: float | str) -> list[str]:
    """What sets a rung."""
    return split(" ".join(fill([scale.set], {"value": written(value)})), "scale.set")


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
    largest rung's compute. Where no gain can be told the largest rung's own verdict stays, which says so."""
    counted = unit(next(iter(rungs.values())).baseline)
    try:
        names, found = _gains(rungs, counted, sign)
        judged = judge(found, found[-1].x)
    except LabError as error:
        return replace(finding, why=f"{finding.why}; of the largest rung alone: {error}")
    p = judged.model.p(judged.at) if judged.model else finding.p
    looked = finding.kind == "anytime"  # then evidence and p are the largest rung's, which allow for that
    verdict, why = _checked(judged.verdict, _why(judged, counted), finding, rungs.values())
    return replace(
        finding,
        verdict=verdict,
        why=why,
        gain=Interval(*map(_exp, judged.gain)),
        gains=[{**_told(name, gain), "counted in": counted} for name, gain in zip(names, found, strict=True)],
        p=max(p, finding.p) if looked else p,
        e=finding.e if looked or not judged.model else from_p(p),
        readings=(),
    )


def _gains(rungs: Mapping[str, Sides], counted: Unit, sign: int) -> tuple[list[str], list[Gain]]:
    """The gain at each rung, and the rungs' names, by cost. What is not known of the costs is in its
    variance."""
    sized: list[tuple[AtCost, str, float]] = []
    for name, sides in rungs.items():
        (base, doubt), (variant, more) = cost(sides.baseline, counted), cost(sides.variant, counted)
        values = [tuple(sign * record.value for record in side) for side in (sides.baseline, sides.variant)]
        rung = AtCost(base, values[0], values[1], variant if math.isfinite(variant) else None)
        sized.append((rung, name, doubt + more))
    sized.sort(key=lambda one: one[0].cost)
    found = gains([rung for rung, *_ in sized])
    doubted = zip(found, sized, strict=True)
    return [name for _, name, _ in sized], [replace(g, variance=g.variance + one[2]) for g, one in doubted]


def _checked(verdict: Verdict, why: str, finding: Finding, rungs: Iterable[Sides]) -> tuple[Verdict, str]:
    """What failed runs and a look before the end do to a verdict."""
    lost = [sides.lost("failed") for sides in rungs]
    for said, side, who in (("worse", 0, "the baseline"), ("better", 1, finding.idea)):
        if any(one[side] for one in lost):
            verdict = "not shown" if verdict == said else verdict
            why = f"a run of {who} failed, so it cannot win; {why}"
    if finding.kind == "anytime" and verdict in ("better", "worse") and finding.verdict != verdict:
        return "not shown", f"after a look before the end the largest rung alone must show it; {why}"
    return verdict, why


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
        "why": gain.why,
        "difference": gain.difference,
        "pairs": gain.pairs,
        "paired": gain.paired,
    }


def _exp(x: float) -> float:
    return math.inf if x >= 700 else math.exp(x)
