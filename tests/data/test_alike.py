"""Near-identical images are one group, whatever their order; different ones are not."""

from __future__ import annotations

import numpy as np
from numpy.random import default_rng

from danlu.data.alike import BITS, SHADES, groups


def partition(numbers) -> set[frozenset[int]]:
    return {frozenset(np.flatnonzero(numbers == one).tolist()) for one in set(numbers.tolist())}


def test_it_is_what_all_pairs_say() -> None:
    """The bands leave out no pair: groups are the connected parts of the graph of all near pairs."""
    random = default_rng(0)
    base = random.integers(0, 256, (12, 8, 9))
    near = base[random.integers(0, 12, 150)] + random.integers(-25, 26, (150, 8, 9)) * random.integers(
        0, 2, (150, 1, 1)
    )
    thumbnails = near.clip(0, 255).astype(np.uint8)
    bits = (thumbnails[:, :, :-1] < thumbnails[:, :, 1:]).reshape(150, -1)
    apart = (bits[:, None] != bits).sum(-1)
    shades = np.abs(thumbnails[:, None].astype(int) - thumbnails).mean((2, 3))
    reached = (apart <= BITS) & (shades <= SHADES)
    for _ in range(8):  # paths of up to 256
        reached = (reached.astype(int) @ reached) > 0
    expected = {frozenset(np.flatnonzero(row).tolist()) for row in reached}
    assert partition(groups(thumbnails)) == expected
    assert 12 <= len(expected) < 150


def test_flat_images_of_other_shades_are_not_alike() -> None:
    flat = np.repeat(np.array([0, 5, 100, 255], np.uint8), 72).reshape(4, 8, 9)
    assert partition(groups(flat)) == {frozenset({0, 1}), frozenset({2}), frozenset({3})}


def test_the_order_changes_nothing() -> None:
    random = default_rng(1)
    thumbnails = random.integers(0, 3, (60, 8, 9)).astype(np.uint8) * 4
    order = random.permutation(60)
    back = np.empty(60, int)
    back[order] = groups(thumbnails[order])
    assert partition(back) == partition(groups(thumbnails))
