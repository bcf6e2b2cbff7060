"""Several questions answered at once, of one family."""

from __future__ import annotations

from collections.abc import Sequence


def holm(p_values: Sequence[float]) -> list[float]:
    """The p values adjusted for their number (Holm 1979): rejecting where the adjusted one is at most α keeps
    the probability of any false rejection below α, whatever depends on whatever."""
    return [min(1.0, factor * p) for factor, p in zip(holm_factors(p_values), p_values, strict=True)]


def holm_factors(p_values: Sequence[float]) -> list[float]:
    """What Holm's method multiplies each p value by. An interval of level 1 − α/factor leaves zero out
    exactly where the adjusted p value is below α: it is the interval that the verdict comes from."""
    factors, least = [1.0] * len(p_values), 0.0
    for rank, i in enumerate(sorted(range(len(p_values)), key=lambda i: p_values[i])):
        least = max(least, (len(p_values) - rank) * p_values[i])
        factors[i] = least / p_values[i] if p_values[i] else float(len(p_values) - rank)
    return factors
