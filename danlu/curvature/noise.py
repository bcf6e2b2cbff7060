"""The noise of a gradient over batches: up to which batch more examples pay."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from typing import NamedTuple

from torch import Tensor

from danlu.curvature.products import Product


class Noise(NamedTuple):
    """``squared``: an unbiased estimate of |G|² of the true gradient; ``trace``: of tr Σ, Σ the covariance of
    the gradient of one example; ``scale`` B_simple = tr Σ/|G|² (McCandlish et al. 2018, arXiv:1812.06162,
    eq. 2.9) in examples, NaN where |G|² is not above zero within what was seen; ``curved``
    B_noise = tr(HΣ)/GᵀHG (eq. 2.8), NaN where it was not asked for; ``error``: one standard error of
    ``scale``, by leaving out one batch at a time."""

    squared: float
    trace: float
    scale: float
    curved: float = math.nan
    error: float = math.nan


def noise_from_norms(small: float, batch: int, large: float, whole: int) -> Noise:
    """From the mean squared norm ``small`` of gradients over ``batch`` examples each, and ``large`` over
    ``whole`` (appendix A.1): E|G_B|² = |G|² + tr Σ/B. Means over many updates: one pair alone is noise."""
    squared = (whole * large - batch * small) / (whole - batch)
    trace = (small - large) / (1 / batch - 1 / whole)
    return Noise(squared, trace, _ratio(trace, squared))


def noise_of(gradients: Iterable[Tensor], batch: int, product: Product | None = None) -> Noise:
    """From the gradients (size,) of the mean loss over disjoint batches of ``batch`` examples, two at least.
    ``product``: with the Hessian of the mean loss, for ``curved``. Raises ValueError for a single one."""
    total: Tensor | None = None
    squares, bends, given = [], [], []
    for g in gradients:
        total = g.clone() if total is None else total + g
        squares.append(float(g @ g))
        given.append(g)
        if product is not None:
            bends.append(float(g @ product(g)))
    n = len(squares)
    if total is None or n < 2:
        raise ValueError(f"{n} gradient has no spread; give two batches or more")
    mean = total / n
    norm = float(mean @ mean)
    squared, trace = _split(sum(squares) / n, norm, n, batch)
    curved = math.nan
    if product is not None:
        steep, spread = _split(sum(bends) / n, float(mean @ product(mean)), n, batch)
        curved = _ratio(spread, steep)
    left = []
    for g, square in zip(given, squares, strict=True):  # the mean without g is (n·mean − g)/(n − 1)
        without = (n * n * norm - 2 * n * float(mean @ g) + square) / (n - 1) ** 2
        if n > 2:
            one, two = _split((sum(squares) - square) / (n - 1), without, n - 1, batch)
            left.append(_ratio(two, one))
    return Noise(squared, trace, _ratio(trace, squared), curved, jackknife(left))


def jackknife(without: Sequence[float]) -> float:
    """The standard error of a number from what it is without each of the n parts in turn: √((n − 1)/n ·
    Σ(θ₍ᵢ₎ − θ̄)²) (Tukey 1958). NaN of fewer than two."""
    n = len(without)
    if n < 2:
        return math.nan
    mean = math.fsum(without) / n
    return math.sqrt((n - 1) / n * math.fsum((x - mean) ** 2 for x in without))


def _split(each: float, mean: float, n: int, batch: int) -> tuple[float, float]:
    """Of a quadratic form: its value at the true gradient, and its trace with Σ; ``each``: its mean over n
    gradients, ``mean``: of their mean."""
    spread = (each - mean) * n / (n - 1) * batch
    return mean - spread / (n * batch), spread


def _ratio(a: float, b: float) -> float:
    return a / b if b > 0 else math.nan
