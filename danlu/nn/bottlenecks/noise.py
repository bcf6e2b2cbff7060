"""Noise of a vector by its row's key and its place; Gumbel and logistic noise out of uniform numbers."""

from __future__ import annotations

import torch

from danlu.nn.bottlenecks.contract import Noise

_GOLDEN = -0x61C8864680B583EB  # of SplitMix64 (Steele, Lea & Flood 2014), as signed numbers of 64 bits
_FACTORS = ((30, -0x40A7B892E31B1A47), (27, -0x6B2FB644ECCEEE15))

_HALF_STEP = {torch.float64: 2.0**-54, torch.float32: 2.0**-25}  # of uniform numbers, which are multiples


def keyed(noise: Noise | None, keys: torch.Tensor, places: int) -> torch.Tensor | None:
    """The noise of ``places`` vectors of each row: (rows,) int64 → (rows, places, noise.size) float64, on the
    device of the keys; None where none is needed.

    The i-th number of a row is the i-th that SplitMix64 gives from the row's key as its state. So it depends
    on key and place alone: neither on other rows nor on the device.
    """
    if noise is None:
        return None
    count = torch.arange(1, places * noise.size + 1, device=keys.device)
    x = keys[:, None] + count * _GOLDEN  # wraps around
    for shift, factor in _FACTORS:
        x = (x ^ _shifted(x, shift)) * factor
    uniform = _shifted(x ^ _shifted(x, 31), 11).double() * 2.0**-53
    made = uniform if noise.law == "uniform" else torch.special.ndtri(_inside(uniform))
    return made.view(len(keys), places, noise.size)


def _shifted(x: torch.Tensor, by: int) -> torch.Tensor:
    """To the right, zeros coming in."""
    return (x >> by) & ((1 << (64 - by)) - 1)


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
