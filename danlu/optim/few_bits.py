"""Numbers in few bits, as they are sent: each is one of 2^bits levels, of which a tensor has a table."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor


def powers(x: Tensor, bits: int) -> Tensor:
    """``x`` rounded to a sign and ``bits`` − 1 bits of exponent, no mantissa, to the nearest. Of the
    magnitudes one is 0; the largest, the others halving from it, is the largest of the tensor. Of two bits
    there are 0 and ± the largest.

    Streaming DiLoCo (arXiv:2501.18512) has this format of four bits (E3M0); one scale for a tensor is the
    form taken here.
    """
    scale = x.abs().max()
    halvings = torch.arange(2 - 2 ** (bits - 1), 1)
    levels = torch.cat((torch.zeros(1), 2.0**halvings)).to(x)
    middles = (levels[1:] + levels[:-1]) / 2
    found = levels[torch.bucketize((x.abs() / scale).nan_to_num(0.0), middles)]
    return found * scale * x.sign()


def linear(x: Tensor, bits: int) -> Tensor:
    """``x`` rounded to the nearest of levels at equal distances, from the least to the largest number of the
    tensor (Thérien et al. 2025, arXiv:2505.23725, whose runs have a range for each row)."""
    low, high = x.aminmax()
    step = (high - low) / (2**bits - 1)
    step = torch.where(step > 0, step, 1.0)
    return ((x - low) / step).round() * step + low


def statistical(x: Tensor, bits: int) -> Tensor:
    """``x`` in 2^``bits`` bins of equal width about its mean, which together span six standard deviations;
    what lies beyond is in the outermost. A number becomes the mean of its bin, so that the mean of all stays
    (arXiv:2505.23725, as in the authors' ``QuantizationCompressor``)."""
    count, mean = 2**bits, x.mean()
    apart = x - mean
    width = 6 * (apart.square().sum() / max(x.numel() - 1, 1)).sqrt() / count
    width = torch.where(width > 0, width, 1.0)
    bins = (apart / width + count // 2).round().clamp(0, count - 1)
    found = torch.zeros_like(x)
    for number in range(count):  # in a fixed order on every device
        here = bins == number
        middle = torch.where(here, apart, 0.0).sum() / here.sum().clamp(min=1)
        found = torch.where(here, middle + mean, found)
    return found


LEVELS: dict[str, Callable[[Tensor, int], Tensor]] = {
    "powers": powers,
    "linear": linear,
    "statistical": statistical,
}
