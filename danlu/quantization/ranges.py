"""How far the levels of a format reach: range estimators. What is beyond the range is clipped.

``least_and_greatest``, which clips nothing, is what ``quantize`` uses where none is given.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from danlu.quantization.formats import Format, least_and_greatest

__all__ = ["LeastError", "LeastOutputError", "Percentile", "least_and_greatest"]


@dataclass(frozen=True)
class Percentile:
    """From the (100 − ``percent``)-th to the ``percent``-th percentile of each row, in between by linear
    interpolation. A row should have several times 100/(100 − percent) numbers."""

    percent: float = 99.99

    def __post_init__(self) -> None:
        if not 50 < self.percent <= 100:
            raise ValueError(f"percent = {self.percent}; allowed: above 50, up to 100")

    def __call__(self, rows: Tensor, format: Format) -> tuple[Tensor, Tensor]:
        rows = rows.double().sort(dim=1).values  # torch.quantile takes 16 million numbers at most
        last = rows.shape[1] - 1
        place = self.percent / 100 * last
        return _at(rows, last - place).float(), _at(rows, place).float()


def _at(rows: Tensor, place: float) -> Tensor:
    """The sorted rows' numbers at a fractional place."""
    below = min(int(place), max(rows.shape[1] - 2, 0))
    above = min(below + 1, rows.shape[1] - 1)
    return rows[:, below].lerp(rows[:, above], place - below)


@dataclass(frozen=True)
class LeastError:
    """The range (1 − i/``grid``)·(min, max), i < ``shrink``·grid, with the least Σ|x̂ − x|^``power``, for each
    row its own (GPTQ's code, Frantar et al. 2023: 100, 0.8 and 2.4; power 2 is the least mean square)."""

    grid: int = 100
    shrink: float = 0.8
    power: float = 2.4

    def __call__(self, rows: Tensor, format: Format) -> tuple[Tensor, Tensor]:
        def error(quantized: Tensor) -> Tensor:
            return (quantized - rows).abs().pow(self.power).sum(dim=1)

        return _search(rows, format, error, [1 - i / self.grid for i in range(int(self.shrink * self.grid))])


@dataclass(frozen=True)
class LeastOutputError:
    """The range p·(min, max), p = 1, 0.95, … 0.55, with the least square error of the row's share of the
    output, ΔᵀHΔ (AWQ's clipping, Lin et al. 2024; the authors' code).

    ``moments``: H = Σxxᵀ of the inputs of each group of columns, (groups, size, size), for rows that are
    groups of a weight (out, in), in the order of ``rows_of``.
    """

    moments: Tensor

    def __call__(self, rows: Tensor, format: Format) -> tuple[Tensor, Tensor]:
        groups, size, _ = self.moments.shape
        moments = self.moments.to(rows.dtype)

        def error(quantized: Tensor) -> Tensor:
            d = (quantized - rows).view(-1, groups, size).transpose(0, 1)  # (groups, out, size)
            return ((d @ moments) * d).sum(dim=2).T.flatten()

        return _search(rows, format, error, [1 - i / 20 for i in range(10)])


def _search(
    rows: Tensor, format: Format, error: Callable[[Tensor], Tensor], shares: list[float]
) -> tuple[Tensor, Tensor]:
    """Each row's share of its whole range with the least error (rows,) of what comes out."""
    low, high = least_and_greatest(rows, format)
    best = torch.full_like(low, float("inf"))
    share = torch.ones_like(low)
    for p in shares:
        quantized = format.nearest(rows, format.scales(format.hold(low * p, high * p)))
        now = error(quantized.to(rows.dtype))
        better = now < best
        best, share = torch.where(better, now, best), torch.where(better, p, share)
    return low * share, high * share
