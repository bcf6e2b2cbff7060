"""Which values of a setting to try, one set of points after another, until the best lies inside of them."""

from __future__ import annotations

from collections.abc import Sequence

from danlu.lab.errors import LabError
from danlu.lab.statistics.optimum import BEYOND, Optimum, locate

EXTENSIONS = 3  # times that points are added


class Search:
    """One side of a comparison on its way to its best x, which is log₂ of a rate.

    ``asked``: the points that come next, at first ``points`` of them, ``step`` apart, around ``middle``.
    ``costs``: the losses of the seeds at each that was tried; nan where a run diverged. ``near``: above the
    lowest loss, which points a parabola goes through; none where the unit of the loss is not known.
    """

    def __init__(self, middle: float, points: int, step: float, near: float | None) -> None:
        self.step, self._near = step, near
        self.asked: tuple[float, ...] = tuple(middle + (i - (points - 1) // 2) * step for i in range(points))
        self.costs: dict[float, Sequence[float]] = {}
        self._found: Optimum | None = None

    @property
    def found(self) -> Optimum:
        """Where the best is, by all that was tried. Raises ``LabError`` before the first points were."""
        if self._found is None:
            raise LabError("nothing was tried yet")
        return self._found

    def learn(self, costs: Sequence[Sequence[float]]) -> None:
        """Take in the losses at each point of ``asked``."""
        self.costs |= dict(zip(self.asked, costs, strict=True))
        self._found = locate(self.costs, near=self._near)

    def extend(self) -> None:
        """Ask for the points that are missing; where none is beyond, for as many beside the best: a flat
        bottom needs them, and all sides make the same number of trials."""
        self.asked = self.found.further or self._beside(self.found.x)

    def _beside(self, best: float) -> tuple[float, ...]:
        """The nearest places that were not tried, half a step apart; closer ones where these are used up."""
        low, high = min(self.costs), max(self.costs)
        apart, free = self.step, list[float]()
        while len(free) < BEYOND:
            apart /= 2
            places = (low + apart * i for i in range(round((high - low) / apart) + 1))
            free = [x for x in places if all(abs(x - tried) > apart / 2 for tried in self.costs)]
        return tuple(sorted(sorted(free, key=lambda x: abs(x - best))[:BEYOND]))
