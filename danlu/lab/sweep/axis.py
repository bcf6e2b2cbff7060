"""A dimension as tables and drawings have it: its values in order, or parts of its length where there are
many."""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence

from danlu.lab.grids import number
from danlu.lab.sweep.space import value_said
from danlu.lab.sweep.trials import Trial, best_of

MANY, PARTS = 12, 8  # more numbers than that are told by so many equal parts of their length
WIDE = 8  # times from the least to the greatest: from here on an axis is logarithmic


class Axis:
    """``labels``: the values tried, in order, or the parts; ``centres``: where each lies: its number, the
    middle of the part, for names their place in the list. ``numeric``, ``log``: what kind of axis a chart
    needs."""

    def __init__(self, trials: Sequence[Trial], name: str) -> None:
        self.name = name
        texts = sorted(dict.fromkeys(trial.entry.point[name] for trial in trials), key=order)
        numbers = [found for text in texts if (found := number(text)) is not None]
        self.numeric = bool(texts) and len(numbers) == len(texts)
        self.log = self.numeric and 0 < WIDE * numbers[0] <= numbers[-1]
        self.parted = self.numeric and len(texts) > MANY
        if self.parted:
            ends = [self._unscaled(self._share(i / PARTS, numbers)) for i in range(PARTS + 1)]
            self._ends = ends
            self.labels = [f"{low:.3g}..{high:.3g}" for low, high in itertools.pairwise(ends)]
            self.centres = [self._unscaled(self._share((i + 0.5) / PARTS, numbers)) for i in range(PARTS)]
        else:
            self.labels = [value_said(text) for text in texts]
            self.centres = [*map(float, numbers)] if self.numeric else [*map(float, range(len(texts)))]
            self._index = {text: i for i, text in enumerate(texts)}

    def part(self, trial: Trial) -> int:
        """Which of the labels a trial belongs to."""
        text = trial.entry.point[self.name]
        if not self.parted:
            return self._index[text]
        value = number(text) or 0.0
        return max(i for i in range(PARTS) if i == 0 or self._ends[i] <= value)

    def place(self, trial: Trial) -> float:
        """Where on the axis a trial lies."""
        text = trial.entry.point[self.name]
        return float(number(text) or 0.0) if self.numeric else float(self._index[text])

    def _share(self, share: float, numbers: Sequence[float]) -> float:
        low, high = (math.log(end) if self.log else end for end in (numbers[0], numbers[-1]))
        return low + share * (high - low)

    def _unscaled(self, value: float) -> float:
        return math.exp(value) if self.log else value


def best_by(trials: Sequence[Trial], *axes: Axis) -> dict[tuple[int, ...], Trial]:
    """The best trial of each part of an axis, or of each cell of several, over all other dimensions."""
    cells: dict[tuple[int, ...], list[Trial]] = {}
    for trial in trials:
        cells.setdefault(tuple(axis.part(trial) for axis in axes), []).append(trial)
    found = {cell: best_of(inside) for cell, inside in cells.items()}
    return {cell: best for cell, best in found.items() if best is not None}


def order(value: str) -> tuple[bool, float]:
    """Numbers by size, then texts as they come."""
    found = number(value)
    return found is None, found or 0.0
