"""Kept results judged again, from the effects that they hold: what a formula says now, without a run."""

from __future__ import annotations

import math
from dataclasses import replace

from danlu.lab.claims.claim import Claim
from danlu.lab.claims.results import NOT_RUN, VOID, Result
from danlu.lab.claims.verdict import settle


def again(claim: Claim, result: Result) -> Result:
    """``result`` with the verdict, interval and severity that the code here gives its effects; itself where
    nothing of that is another. Premises, regime and margin stay as they were judged of the runs."""
    if result.verdict in (NOT_RUN, VOID) or not result.of(claim):
        return result
    margin = math.nan if result.margin is None else result.margin
    found = settle(claim.holds, result.effects, margin, looked=result.looked)
    effect = found.effect.value, found.effect.low, found.effect.high
    now = replace(result, verdict=found.verdict, effect=effect, severity=found.severity, weak=found.weak)
    return result if _same(now, result) else now


def _same(one: Result, other: Result) -> bool:
    """To nine digits, which rounding on another machine does not reach."""
    if (one.verdict, one.weak, len(one.severity)) != (other.verdict, other.weak, len(other.severity)):
        return False
    pairs = zip(_numbers(one), _numbers(other), strict=True)
    return all(math.isclose(a, b, rel_tol=1e-9) or (math.isnan(a) and math.isnan(b)) for a, b in pairs)


def _numbers(result: Result) -> list[float]:
    return [*result.effect, *(number for pair in result.severity for number in pair)]
