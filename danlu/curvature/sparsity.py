"""How many second derivatives are exactly zero, between layers and within."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from danlu.curvature.products import Product


class Sparsity(NamedTuple):
    """Shares of exact zeros: ``pairs[a][b]`` of the second derivatives by a parameter of group a and one of
    group b; ``same`` and ``other``: within a group, and between two; ``whole``: of the matrix."""

    pairs: list[list[float]]
    same: float
    other: float
    whole: float


def sparsity(
    product: Product,
    groups: Sequence[Tensor],
    *,
    like: Tensor,
    columns: int = 8,
    generator: torch.Generator | None = None,
) -> Sparsity:
    """Of a symmetric matrix whose rows fall into ``groups`` (each the places of its rows, int64): the columns
    of up to ``columns`` random places of each group are computed, one product each; all of them where a group
    has no more. ``like``: a vector (size,). Each group's columns stand for all of its columns."""
    shares = [[0.0] * len(groups) for _ in groups]
    for a, places in enumerate(groups):
        order = torch.randperm(len(places), generator=generator)[:columns]
        for place in places[order].tolist():
            unit = torch.zeros_like(like)
            unit[place] = 1
            zero = product(unit) == 0
            for b, others in enumerate(groups):
                shares[b][a] += float(zero[others].double().mean()) / len(order)
    sizes = [len(places) for places in groups]
    cells = [(a, b, sizes[a] * sizes[b]) for a in range(len(groups)) for b in range(len(groups))]

    def mean(chosen: list[tuple[int, int, int]]) -> float:
        count = sum(n for *_, n in chosen)
        return sum(shares[a][b] * n for a, b, n in chosen) / count if count else float("nan")

    return Sparsity(
        shares,
        mean([cell for cell in cells if cell[0] == cell[1]]),
        mean([cell for cell in cells if cell[0] != cell[1]]),
        mean(cells),
    )
