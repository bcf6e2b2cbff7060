"""The regime of a claim: the least of the runs that it compares."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from danlu.lab.claims.claim import Claim
from danlu.lab.claims.seen import Seen
from danlu.lab.measures import measure
from danlu.lab.regime import regime_of
from danlu.lab.tuning import Tuned

OF_QUALITY = ("record.metric", "record.held_out", "record.best", "record.last_weights", "text.metric_at")


def least(claim: Claim, seen: Seen, seeds: Sequence[int], tuned: Mapping[str, Tuned]) -> dict[str, Any]:
    """Of the arms in the contrast, each at the point where it is farthest below chance where it has several;
    as JSON, ``{}`` where nothing ended. Nothing is early of a claim that is ``timeless``."""
    found = regime_of(
        [summary for arm in claim.contrast for summary in _at_best(seen, arm, seeds)],
        tuned=_tuned(claim, seen, tuned),
    )
    if found is None:
        return {}
    return found.json() | ({"early": []} if claim.timeless else {})


def _at_best(seen: Seen, arm: str, seeds: Sequence[int]) -> list[Mapping[str, Any]]:
    """The summaries of an arm's runs, at the point where they are farthest below chance."""
    by_point: dict[Any, list[Mapping[str, Any]]] = {}
    for outcome, point in seen.of(arm, seeds):
        if outcome.summary is not None:
            by_point.setdefault(point, []).append(outcome.summary)

    def below(summaries: list[Mapping[str, Any]]) -> float:
        found = regime_of(summaries)
        return -1.0 if found is None or found.bits_below_chance is None else found.bits_below_chance

    return max(by_point.values(), key=below, default=[])


def _tuned(claim: Claim, seen: Seen, tuned: Mapping[str, Tuned]) -> bool | None:
    """Whether each arm ran at its best; None where no rate was in question: where the arms are not compared
    by quality, or at each of several points."""
    if tuned:
        return all(one.ok for one in tuned.values())
    if claim.over is not None or len({claim.arms[arm] for arm in claim.contrast}) == 1:
        return None
    for arm in claim.contrast:
        for outcome, _ in seen.of(arm, [0]):
            metrics = outcome.job.experiment.objective.metrics
            if measure(claim.measure_of(arm), metrics).kind.function in OF_QUALITY:
                return False
    return None
