"""What the runs of a claim have shown so far: numbers by arm, seed and point."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from danlu.lab.claims import values
from danlu.lab.claims.claim import Claim
from danlu.lab.claims.experiment import AT_START, COUNTS_START, size
from danlu.lab.errors import LabError
from danlu.lab.measures import measure, value
from danlu.lab.queue import Outcome

Place = tuple[str, int, Any]  # arm, seed, point


class Seen:
    """``ended``: the outcome of each run that belongs to an arm. ``failed``: why runs, or measures of them,
    could not be had; a run that diverged has not failed."""

    def __init__(self, claim: Claim) -> None:
        self.claim = claim
        self.ended: dict[Place, Outcome] = {}
        self.failed: set[str] = set()

    def add(self, place: Place, outcome: Outcome) -> None:
        """Take in how a run ended, in place of what stood there: an arm may be tuned again."""
        self.ended[place] = outcome
        if outcome.error and not outcome.diverged:
            self.failed.add(outcome.error)

    def of(self, arm: str, seeds: Sequence[int]) -> list[tuple[Outcome, Any]]:
        """The runs of an arm, each with its point."""
        return [(outcome, point) for seed in seeds for point, outcome in self._points(arm, seed).items()]

    def curves(self, arm: str, name: str, seeds: Sequence[int]) -> list[values.Curve]:
        """The measure ``name`` of an arm by point, for each seed; nan where a run has none."""
        return [
            {point: self._measured(one, name) for point, one in self._points(arm, seed).items()}
            for seed in seeds
        ]

    def numbers(
        self, arm: str, name: str, of: values.Made | None, seeds: Sequence[int], level: float = math.nan
    ) -> list[float]:
        """One number of an arm for each seed: the measure, or what is made ``of`` it over the points."""
        starts = self.starts(arm, seeds) if of in COUNTS_START else ()
        curves = self.curves(arm, name, seeds)
        if of == "vertex":
            sizes = {point: float(size(self.claim, arm, point)) for point in curves[0]}
            curves = [{sizes[point]: value for point, value in curve.items()} for curve in curves]
        return values.of_points(of, curves, sign=self.sign(arm, name), starts=starts, level=level)

    def starts(self, arm: str, seeds: Sequence[int]) -> list[float]:
        """The measure of the initial weights, by seed: any run says it that did not diverge."""
        found = []
        for curve in self.curves(arm, AT_START, seeds):
            known = [start for start in curve.values() if math.isfinite(start)]
            found.append(known[0] if known else math.nan)
        return found

    def level(self, of: values.Made | None, seeds: Sequence[int]) -> float:
        """The cost that a ``ceiling`` is counted to, the slack above the lowest of all arms compared; nan
        where another thing is made ``of`` the points."""
        if of != "ceiling":
            return math.nan
        assert self.claim.slack is not None
        arms = [self.curves(arm, self.claim.measure_of(arm), seeds) for arm in self.claim.contrast]
        arm = next(iter(self.claim.contrast))
        return values.common_lowest(arms, self.sign(arm, self.claim.measure_of(arm))) + self.claim.slack

    def effects(self, seeds: Sequence[int]) -> tuple[dict[str, list[float]], list[float]]:
        """The values of the arms compared, and the effect of each seed."""
        claim = self.claim
        level = self.level(claim.of, seeds)
        found = {
            arm: self.numbers(arm, claim.measure_of(arm), claim.of, seeds, level) for arm in claim.contrast
        }
        return found, values.effects(claim.contrast, found, claim.scale)

    def sign(self, arm: str, name: str) -> int:
        """−1 where higher is better of what is measured of an arm."""
        outcome = next(one for (of, *_), one in self.ended.items() if of == arm)
        return measure(name, outcome.job.experiment.objective.metrics).metric.sign

    def _points(self, arm: str, seed: int) -> dict[Any, Outcome]:
        found = {point: one for (of, at, point), one in self.ended.items() if (of, at) == (arm, seed)}
        return dict(sorted(found.items())) if self.claim.of not in ("drop", None) else found

    def _measured(self, outcome: Outcome, name: str) -> float:
        """Why a finished run has none is added to ``failed``: of this claim alone, others go on."""
        if outcome.diverged and self.claim.diverged is not None and name != AT_START:
            return self.claim.diverged
        try:
            return math.nan if outcome.error else value(outcome, name)
        except LabError as error:
            self.failed.add(str(error))
            return math.nan
