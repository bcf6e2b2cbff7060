"""Gumbel and logistic noise out of uniform numbers that are given."""

from __future__ import annotations

import torch

_HALF_STEP = {torch.float64: 2.0**-54, torch.float32: 2.0**-25}  # of uniform numbers, which are multiples


def gumbel(uniform: torch.Tensor) -> torch.Tensor:
    """−ln(−ln(1 − u)): standard Gumbel, float64, in the shape of ``uniform`` in [0, 1), float64 or float32.

    Large values come of small u, where floating numbers are dense: from float64 they reach 37.4, from
    float32, which has multiples of 2⁻²⁴ alone, 17.3. Raises KeyError for another type.
    """
    return -torch.log(-torch.log1p(-_inside(uniform)))


def logistic(uniform: torch.Tensor) -> torch.Tensor:
    """ln u − ln(1 − u): standard logistic, float64, which is the difference of two Gumbel numbers."""
    u = _inside(uniform)
    return torch.log(u) - torch.log1p(-u)


def _inside(uniform: torch.Tensor) -> torch.Tensor:
    """Each number moved to the middle of its step: never 0, where the logarithm has no value. Of float64 the
    last step is too fine for that, and 1 is what it would be rounded to."""
    return (uniform.double() + _HALF_STEP[uniform.dtype]).clamp(max=1 - 2.0**-53)
