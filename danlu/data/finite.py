"""A finite set of arrays with classes, such as images: how it is split, and the endless stream of its
training part."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from danlu.data.split import choose

Part = tuple[NDArray[np.float32], NDArray[np.int64]]

_STREAM = 0x696D6167  # "imag": keeps this random stream apart from others with the same seed


@dataclass(frozen=True, eq=False)
class Finite:
    """Arrays, float32 [n, *shape], and their classes, int64 [n], in two parts: ``train`` and ``held_out``.
    ``record`` says, in JSON, what they were made from. ``names``: of the classes, in their order; none where
    the arrays have no classes (they are 0 then)."""

    spec: Any
    train: Part
    held_out: Part
    record: dict[str, Any]
    names: tuple[str, ...] = ()

    @property
    def shape(self) -> tuple[int, ...]:
        """Of one array."""
        return self.train[0].shape[1:]

    @property
    def classes(self) -> int:
        """How many there are; 0: none."""
        return len(self.names)

    def rows(self, seed: int, step: int, first: int, start: int, stop: int) -> Part:
        """Samples ``first + start`` to ``first + stop`` of the endless stream of training arrays: whole
        epochs, each in an order of its own."""
        arrays, classes = self.train
        count = len(arrays)
        places = np.empty(stop - start, np.int64)
        for row in range(start, stop):
            epoch, place = divmod(first + row, count)
            places[row - start] = _order(seed % 2**64, epoch, count)[place]
        return arrays[places], classes[places]


@lru_cache(maxsize=4)  # only a memo: a batch may span two epochs
def _order(seed: int, epoch: int, count: int) -> NDArray[np.int64]:
    return np.random.default_rng([_STREAM, seed, epoch]).permutation(count)


def by_group(rows: NDArray[Any], group: NDArray[np.int64], share: float) -> NDArray[np.bool_] | None:
    """Which of ``rows`` [n, …] are held out, bool [n]: whole groups, by hashes of what is in them, until they
    make up ``share``. None where all are of one group."""
    hashes = np.array([hashlib.sha256(row.tobytes()).digest() for row in rows], "S32")
    count = int(group.max()) + 1
    if count < 2:
        return None
    least = np.full(count, b"\xff" * 32, "S32")
    for place, one in zip(group, hashes, strict=True):
        least[place] = min(least[place], one)
    order = np.argsort(least, kind="stable")
    chosen = np.zeros(count, bool)
    chosen[order] = choose(np.bincount(group, minlength=count)[order], share)
    return chosen[group]


def splits(
    rows: NDArray[Any], classes: NDArray[np.int64], held_out: NDArray[np.bool_], unit: str
) -> dict[str, dict[str, Any]]:
    """What a record says of either side: how many ``unit`` there are, and a hash of them."""
    return {
        name: {
            unit: int(side.sum()),
            "sha256": hashlib.sha256(rows[side].tobytes() + classes[side].tobytes()).hexdigest(),
        }
        for name, side in {"train": ~held_out, "held_out": held_out}.items()
    }
