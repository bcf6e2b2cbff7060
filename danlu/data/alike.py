"""Which images are nearly the same, so that one is not trained on and the other held out."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

WIDE, HIGH = 9, 8  # pixels of the thumbnail that is compared
BITS = 3  # of 64, in which difference hashes of near-identical images differ at most
SHADES = 10  # of 255, by which their thumbnails differ on average at most
_BANDS = BITS + 1  # of a hash: two that differ in fewer bits than there are bands agree in one of them
_BLOCK = 512


def groups(thumbnails: NDArray[np.uint8]) -> NDArray[np.int64]:
    """The number of each image's group, [n], of grey thumbnails [n, 8, 9].

    Images are near-identical where their difference hashes (dHash: whether a pixel is darker than the one to
    its right) differ in at most 3 of 64 bits, and their thumbnails by at most 10 of 255 shades on average.
    What is near-identical to one of a group is in that group.
    """
    flat, inverse = np.unique(thumbnails.reshape(len(thumbnails), -1), axis=0, return_inverse=True)
    pixels = flat.reshape(-1, HIGH, WIDE)
    bits = (pixels[:, :, :-1] < pixels[:, :, 1:]).reshape(len(flat), -1)
    parents = np.arange(len(flat))
    for some, others in _candidates(bits):
        a, b = bits[some].astype(np.float32), bits[others].astype(np.float32)
        near = (a.sum(1)[:, None] + b.sum(1) - 2 * a @ b.T) <= BITS
        for i, j in zip(*near.nonzero(), strict=True):
            one, other = int(some[i]), int(others[j])
            if one < other and np.abs(flat[one].astype(int) - flat[other]).mean() <= SHADES:
                _join(parents, one, other)
    roots = np.array([_root(parents, i) for i in range(len(flat))], np.int64)
    return np.unique(roots, return_inverse=True)[1][inverse.reshape(-1)]


def _candidates(bits: NDArray[np.bool_]) -> Iterator[tuple[NDArray[np.int64], NDArray[np.int64]]]:
    """Blocks of images whose hashes agree in a band."""
    bands = np.packbits(bits, axis=1).reshape(len(bits), _BANDS, -1)
    for band in range(_BANDS):
        _, group = np.unique(bands[:, band], axis=0, return_inverse=True)
        order = np.argsort(group.reshape(-1), kind="stable")
        ends = np.flatnonzero(np.diff(group.reshape(-1)[order])) + 1
        for members in np.split(order, ends):
            if len(members) > 1:
                for start in range(0, len(members), _BLOCK):
                    yield members[start : start + _BLOCK], members


def _root(parents: NDArray[np.int64], place: int) -> int:
    while parents[place] != place:
        parents[place] = parents[parents[place]]
        place = int(parents[place])
    return place


def _join(parents: NDArray[np.int64], one: int, other: int) -> None:
    parents[_root(parents, other)] = _root(parents, one)
