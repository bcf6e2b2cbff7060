"""Successive halving: many points for few updates, the best third of them for three times as many, and so on
(Jamieson & Talwalkar 2016; η as in Li et al. 2018, Hyperband, algorithm 1).

Each run of a rung is a complete one with its own schedule, from the start: a loss in the middle of a schedule
says little about its end. So the next rung spends that compute again, and the accounting says so.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from danlu.lab.errors import LabError
from danlu.lab.sweep.space import Point
from danlu.lab.sweep.trials import Trial

ETA = 3


@dataclass(frozen=True)
class Rung:
    """``steps``: updates of each run; ``points``: how many there are."""

    steps: int
    points: int


def plan(points: int, steps: int, eta: int = ETA) -> list[Rung]:
    """The rungs for so many points, the last with ``steps`` updates: rung k of s has ⌊points/ηᵏ⌋ points of
    steps/η^(s−k) updates, with as many rungs as leave both at one or more. Raises LabError for a single
    rung."""
    rungs = 1
    while points // eta**rungs and steps // eta**rungs:
        rungs += 1
    if rungs == 1:
        raise LabError(
            f"{points} points of {steps} updates leave nothing to halve; bring {eta} of each at least"
        )
    return [Rung(max(1, round(steps / eta ** (rungs - 1 - k))), points // eta**k) for k in range(rungs)]


def halve(
    rungs: Sequence[Rung], points: Sequence[Point], carry: Callable[[Sequence[Point], Rung], list[Trial]]
) -> list[list[Trial]]:
    """The trials of every rung, the first of all ``points``, each next of the best before; ``carry`` carries
    them out. What diverged or failed is never promoted; where nothing is left the search ends."""
    found: list[list[Trial]] = []
    for rung in rungs:
        found.append(carry(points, rung))
        finished = sorted((t for t in found[-1] if t.state == "finished"), key=lambda trial: trial.cost)
        points = [trial.entry.point for trial in finished[: rung.points // ETA]]
        if not points:
            break
    return found


def accounting(rungs: Sequence[Rung], found: Sequence[Sequence[Trial]], seeds: int) -> dict[str, Any]:
    """What the search cost in updates, beside all points at full length: ``updates`` is the sum over rungs of
    points · steps · seeds, ``spent`` what the runs say themselves (less where one diverged)."""
    said = [
        {"steps": rung.steps, "points": len(trials), "updates": rung.steps * len(trials) * seeds}
        for rung, trials in zip(rungs, found, strict=False)
    ]
    return {
        "eta": ETA,
        "rungs": said,
        "updates": sum(rung["updates"] for rung in said),
        "spent": sum(trial.spent.updates for trials in found for trial in trials),
        "whole": rungs[-1].steps * len(found[0]) * seeds,
    }
