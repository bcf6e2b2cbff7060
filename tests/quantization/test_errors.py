"""The error of each format on normal numbers, against an integral over a group's greatest number."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import torch
from scipy.stats import norm

from danlu.quantization import named, nf4, quantize

Rounding = Callable[[np.ndarray, np.ndarray], np.ndarray]  # numbers and their group's amax → rounded


def levels(values: list[float], scale: Callable[[np.ndarray], np.ndarray]) -> Rounding:
    """To the nearest of ``values`` times a scale that follows from amax."""
    table = np.sort(np.array(values))

    def rounded(x: np.ndarray, top: np.ndarray) -> np.ndarray:
        s = scale(top)
        middles = (table[1:] + table[:-1]) / 2
        return s * table[np.searchsorted(middles, x / s)]

    return rounded


def integers(least: int, greatest: int, steps: float) -> Rounding:
    return levels([float(q) for q in range(least, greatest + 1)], lambda top: top / steps)


def e4m3(x: np.ndarray) -> np.ndarray:
    """To three bits after the point, by arithmetic."""
    step = 2.0 ** (np.floor(np.log2(x)) - 3)
    return np.round(x / step) * step


FP4 = [s * v for s in (-1.0, 1.0) for v in (0, 0.5, 1, 1.5, 2, 3, 4, 6)]
LARGEST = 5.0  # NVFP4's scales are relative to the tensor's largest number
CASES: dict[tuple[str, int | None], tuple[Rounding, int]] = {
    **{
        (f"int{b}-narrow", g): (integers(1 - 2 ** (b - 1), 2 ** (b - 1) - 1, 2 ** (b - 1) - 1), g)
        for b in (2, 3, 4, 8)
        for g in (32, 128)
    },
    **{
        (f"int{b}-full", g): (integers(-(2 ** (b - 1)), 2 ** (b - 1) - 1, (2**b - 1) / 2), g)
        for b in (3, 4)
        for g in (32, 128)
    },
    ("nf4", 64): (levels(nf4().tolist(), lambda top: top), 64),
    ("mxfp4", None): (levels(FP4, lambda top: 2.0 ** (np.floor(np.log2(top)) - 2)), 32),
    ("mxfp4-ceil", None): (levels(FP4, lambda top: 2.0 ** np.ceil(np.log2(top / 6))), 32),
    ("nvfp4", None): (levels(FP4, lambda top: e4m3(top / 6 / (LARGEST / 2688)) * (LARGEST / 2688)), 16),
}


def expected(rounded: Rounding, group: int) -> float:
    """√E(x̂ − x)² for groups of ``group`` normal numbers: the greatest is ±m with the density of the maximum
    of |x|, the others are normal between −m and m."""
    m = np.linspace(0.3, 6, 300)[:, None]
    inside = 2 * norm.cdf(m[:, 0]) - 1
    density = group * inside ** (group - 1) * 2 * norm.pdf(m[:, 0])
    share = (np.arange(400) + 0.5) / 400  # of the way from −m to m, in probability
    x = norm.ppf(norm.cdf(-m) + share * inside[:, None])
    others = ((rounded(x, m) - x) ** 2).mean(axis=1)
    ends = np.concatenate((m, -m), axis=1)
    top = ((rounded(ends, m) - ends) ** 2).mean(axis=1)
    square = ((group - 1) * others + top) / group
    return float(np.sqrt(np.trapezoid(density * square, m[:, 0])))


@pytest.mark.parametrize(("name", "per"), CASES)
def test_error_of_normal_numbers(name: str, per: int | None) -> None:
    """The mean square error is within four standard errors, taken from 512 rows of 512 numbers, and half a
    percent for the integral."""
    x = torch.randn(512, 512, generator=torch.Generator().manual_seed(1))
    x[0, 0] = LARGEST if name == "nvfp4" else x[0, 0]
    square = (quantize(x, named(name, per)).dequantize() - x).double().square().mean(dim=1)
    rounded, group = CASES[name, per]
    wanted = expected(rounded, group) ** 2
    assert abs(float(square.mean()) - wanted) < 4 * float(square.std()) / 512**0.5 + 0.01 * wanted
