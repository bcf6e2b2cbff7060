"""Wrong tokens in a training text, by their places: the same ones whoever reads them, and however often."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

_WRONG, _OTHER = np.uint64(0x6E6F697365), np.uint64(0x6F74686572)  # keep the two random streams apart
_TURN = np.uint64(0x9E3779B97F4A7C15)  # 2⁶⁴ over the golden ratio


def noised(ids: NDArray[np.int64], begins: NDArray[np.int64], share: float, of: NDArray[np.generic]) -> None:
    """Replace, in place, about so large a ``share`` of the ids, each by that of a place drawn anywhere in the
    whole stream ``of``: [length], so that the frequencies of tokens stay.

    ``ids``: [rows, size], which lie in the stream from ``begins``, [rows], on. Whether a token is wrong, and
    by which it is replaced, follows from its place in the stream alone.
    """
    places = (begins[:, None] + np.arange(ids.shape[1])).astype(np.uint64)
    wrong = _random(places, _WRONG) < np.uint64(share * 2.0**53)
    drawn = _random(places[wrong], _OTHER).astype(np.float64) * 2.0**-53
    ids[wrong] = of[(drawn * len(of)).astype(np.int64)]


def _random(places: NDArray[np.uint64], stream: np.uint64) -> NDArray[np.uint64]:
    """A number of 53 bits for each place: SplitMix64 (Steele, Lea and Flood 2014) at that place of its
    sequence."""
    with np.errstate(over="ignore"):
        z = (places + stream) * _TURN
        z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
        z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return (z ^ (z >> np.uint64(31))) >> np.uint64(11)
