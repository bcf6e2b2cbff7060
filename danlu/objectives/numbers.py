"""What objectives on points and images have in common: their examples, scaled, with random numbers by row."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from danlu.data import Counter, DataError, Finite
from danlu.data.counter import TURN
from danlu.data.points import Points
from danlu.objectives.base import Draw, Example, HeldOut, Objective, padded

Floats = NDArray[np.float64]
_TRAIN, _HELD_OUT = 0x6E756D62, 0x6E756D6F  # "numb", "numo": streams apart from others of one seed
_SCALED_BY = 4096  # points of an endless set that say its mean and its mean square
_ROUNDS = 16  # held-out examples of a finite set count so often, each time with other random numbers


class Numbers(Objective):
    """An objective on arrays of numbers.

    Data are moved and scaled to mean 0 and mean square ``scaled``² over all numbers. What is random in a row
    is made of ``random`` uniform numbers that (seed, step, row) decides. The first of a held-out row depends
    on its place alone and is spread evenly over all rows, and the second is never below another number.
    """

    term, loss_unit, output = "number", "", "numbers"

    def __init__(self, source: Points | Finite, *, random: int, scaled: float = 1.0) -> None:
        self.source, self.record, self.random = source, source.record, random
        self.unit = source.spec.unit
        self.shape = tuple(source.shape)
        self.numbers = self.count = math.prod(self.shape)
        typical = source.fresh(1, _SCALED_BY)[0] if isinstance(source, Points) else source.train[0]
        data = typical.astype(np.float64)
        self.centre = float(data.mean())
        self.spread = float(np.sqrt(np.mean((data - self.centre) ** 2))) / scaled
        if self.spread == 0:
            raise DataError(f"{source.spec.name}: all numbers to learn from are {self.centre:g}; name others")

    def made(self, data: NDArray[np.float32], classes: NDArray[np.int64], uniform: Floats) -> Example:
        """An example of scaled ``data`` [rows, …], their ``classes`` and ``uniform`` [rows, random]."""
        raise NotImplementedError

    def example(self, draw: Draw) -> Example:
        data, classes = self.source.rows(*draw)
        uniform = Counter(draw.seed, draw.step, _TRAIN).uniform(draw.start, draw.stop, self.random)
        return self._weighed(data, classes, uniform)

    def held_out(self, limit: int | None = None) -> HeldOut:
        data, classes = self.source.held_out
        rounds = 1 if isinstance(self.source, Points) or self.random == 0 else _ROUNDS
        count = min(len(data) * rounds, limit or len(data) * rounds)

        def example(places: Sequence[int], rows: int | None = None) -> Example:
            mine = np.array(list(places) or [0])
            first, last = int(mine.min()), int(mine.max()) + 1
            uniform = Counter(0, 0, _HELD_OUT).uniform(first, last, self.random)[mine - first]
            if self.random:
                uniform[:, 0] = (mine + 0.5) * TURN % 1
            uniform[:, 1:2] = 1 - 2.0**-53
            made = self._weighed(data[mine % len(data)], classes[mine % len(data)], uniform)
            made = padded(made, len(mine) if rows is None else rows)
            made["weight"][len(places) :] = 0.0
            return made

        return HeldOut(count, example)

    def scaled_back(self, data: Any) -> Floats:
        """What the network sees, as the data are."""
        return np.asarray(data, np.float64) * self.spread + self.centre

    def about(self) -> str:
        if isinstance(self.source, Points):
            return f"the points {self.source.spec.kind}"
        return told(self.source)

    def _weighed(self, data: Any, classes: Any, uniform: Floats) -> Example:
        made = self.made(((data - self.centre) / self.spread).astype(np.float32), classes, uniform)
        return {**made, "weight": np.ones(len(data), np.float32)}


def check_classes(source: Any, what: str) -> None:
    """Raises ``DataError`` where data of no classes is read by ``what``, which needs some."""
    if not source.classes:
        how = getattr(source.spec, "classed", "")
        raise DataError(f"{source.spec.name} has no classes, which {what} needs{how and f'; {how}'}")


def told(source: Finite) -> str:
    """How much there is to learn from: "1,438 training images of digits"."""
    of = source.record.get("corpus", source.spec.kind)
    return f"{len(source.train[0]):,} training {source.spec.unit}s of {of}"
