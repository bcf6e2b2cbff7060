"""What is run at the points of a space."""

from __future__ import annotations

from collections.abc import Iterable

from danlu.lab.errors import LabError
from danlu.lab.sweep.space import Point, Space, said
from danlu.spec import Experiment


class Experiments:
    """What is run at each point of a space, made once."""

    def __init__(self, space: Space) -> None:
        self.space = space
        self._made: dict[tuple[str, int | None], Experiment] = {}

    def __call__(self, point: Point, steps: int | None = None) -> Experiment:
        key = said(point), steps
        if key not in self._made:
            self._made[key] = self.space.experiment(point, steps)
        return self._made[key]

    def check(self, points: Iterable[Point], steps: int | None = None) -> None:
        """Raises LabError, before anything runs, where a point is no experiment (of ``steps`` updates), or
        where two points are scored by different metrics."""
        metrics = {said(point): self(point, steps).objective.metrics[0] for point in points}
        if len(set(metrics.values())) > 1:
            (here, one), *others = metrics.items()
            there, other = next((place, found) for place, found in others if found != one)
            raise LabError(
                f"{here} is scored by {one.name}, {there} by {other.name}; sweep over one of the two"
            )

    def steps(self, points: Iterable[Point]) -> int:
        """The updates that a run takes at each of these. Raises LabError where they are not the same."""
        found = {self(point).train.steps for point in points}
        steps = found.pop() if len(found) == 1 else None
        if steps is None:
            raise LabError("rungs are counted in train.steps; set it, the same for all points, to halve")
        return steps
