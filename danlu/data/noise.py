"""Wrong tokens in a training text, by their places: the same ones whoever reads them, and however often."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from danlu.data.counter import Counter

_SEED, _STREAM = 0, 0x6E6F697365  # one text, whatever the run's seed; apart from what examples draw


def noised(ids: NDArray[np.int64], begins: NDArray[np.int64], share: float, of: NDArray[np.generic]) -> None:
    """Replace, in place, about so large a ``share`` of the ids, each by that of a place drawn anywhere in the
    whole stream ``of``: [length], so that the frequencies of tokens stay.

    ``ids``: [rows, size], which lie in the stream from ``begins``, [rows], on. Whether a token is wrong, and
    by which it is replaced, follows from its place in the stream alone.
    """
    random = Counter(_SEED, 0, _STREAM)
    for row, begin in zip(ids, begins.tolist(), strict=True):
        chance, place = random.uniform(begin, begin + len(row), 2).T
        wrong = chance < share
        row[wrong] = of[(place[wrong] * len(of)).astype(np.int64)]
