"""Integer grids: x ≈ s·(q − z), q of b bits; and three levels."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, get_args

import torch
from torch import Tensor

from danlu.quantization.formats import Format, Held, Per, Ranges, Scales, amax, positive

Grid = Literal["narrow", "full", "unclipped", "affine"]


@dataclass(frozen=True, kw_only=True)
class Integers(Format):
    """q = clamp(round(x·(1/s)) + z, q_min, q_max), x̂ = s·(q − z), halves to the even integer, as PyTorch's
    ``fake_quantize_*``.

    ``bits``: 2 to 8. ``grid``, since "symmetric" is the name of several:

    - ``narrow``: ±(2^{b−1} − 1), s = amax/(2^{b−1} − 1).
    - ``full``: −2^{b−1} … 2^{b−1} − 1, s = amax/((2^b − 1)/2), the mean of both ends (torchao's SYMMETRIC);
      a number at +amax is clipped by half a step.
    - ``unclipped``: the same integers, s = max(−min/2^{b−1}, max/(2^{b−1} − 1)) (torchao's
      SYMMETRIC_NO_CLIPPING_ERR).
    - ``affine``: the same integers, s = (max − min)/(2^b − 1) of a range that has 0 inside, z an integer.

    ``scale_type``: the type in which scales are kept, which they are rounded to before anything is divided by
    them. float16 holds 6e-8 to 65,504; a row whose scale is above is refused with a ValueError.
    """

    bits: int
    grid: Grid = "narrow"
    scale_type: torch.dtype = torch.float32

    def __post_init__(self) -> None:
        if not 2 <= self.bits <= 8:
            raise ValueError(f"bits = {self.bits} of an integer grid; allowed: 2 to 8, or the format ternary")
        if self.grid not in get_args(Grid):
            raise ValueError(f"grid = {self.grid!r} is none of {', '.join(get_args(Grid))}")

    @property
    def name(self) -> str:
        return f"int{self.bits}-{self.grid}"

    @property
    def levels(self) -> int:
        return 2**self.bits

    @property
    def least(self) -> int:
        """q_min."""
        return -self.greatest if self.grid == "narrow" else -(2 ** (self.bits - 1))

    @property
    def greatest(self) -> int:
        """q_max."""
        return 2 ** (self.bits - 1) - 1

    def hold(self, low: Tensor, high: Tensor) -> Held:
        low, high = low.clamp(max=0).float(), high.clamp(min=0).float()
        if self.grid == "affine":
            scale = self._kept((high - low) / (self.levels - 1))
            zero = (self.least - (low * (1 / scale.float())).round()).clamp(self.least, self.greatest)
            return {"scale": scale, "zero": self._code(zero)}
        if self.grid == "unclipped":
            return {"scale": self._kept(torch.maximum(-low / -self.least, high / self.greatest))}
        steps = self.greatest if self.grid == "narrow" else (self.levels - 1) / 2
        return {"scale": self._kept(amax(low, high) / steps)}

    def _kept(self, scale: Tensor) -> Tensor:
        # A graph cannot branch on numbers: there such a scale is inf, and the loss not finite.
        checks = self.scale_type == torch.float16 and scale.numel() and not torch.compiler.is_compiling()
        if checks and scale.max() > 65504:
            raise ValueError(
                f"a scale of {float(scale.max()):g} is above float16's 65504; set scale_type to float32"
            )
        kept = positive(scale).to(self.scale_type)
        return torch.where(kept > 0, kept, torch.finfo(self.scale_type).smallest_normal)

    def scales(self, held: Held) -> Scales:
        zero = None
        if self.grid == "affine":
            zero = (held["zero"].float() + self.least)[:, None]
        return Scales(held["scale"].float()[:, None], zero)

    def integers(self, rows: Tensor, scales: Scales) -> Tensor:
        """q (rows, size), integers in float32, or in the type of ``rows`` where that is wider."""
        return self._unclipped(rows, scales).clamp(self.least, self.greatest)

    def _unclipped(self, rows: Tensor, scales: Scales) -> Tensor:
        q = (rows * (1 / scales.scale)).round()
        return q if scales.zero is None else q + scales.zero

    def encode(self, rows: Tensor, scales: Scales) -> Tensor:
        return self._code(self.integers(rows, scales))

    def _code(self, q: Tensor) -> Tensor:
        return (q + 2 ** (self.bits - 1)).to(torch.uint8)

    def decode(self, codes: Tensor, scales: Scales) -> Tensor:
        q = codes.float() - 2 ** (self.bits - 1)
        return scales.scale * (q if scales.zero is None else q - scales.zero)

    def inside(self, rows: Tensor, scales: Scales) -> Tensor:
        """Where the rounded number is on the grid, as in PyTorch's operators: up to half a step beyond it."""
        q = self._unclipped(rows, scales)
        return (q >= self.least) & (q <= self.greatest)


@dataclass(frozen=True, kw_only=True)
class Ternary(Format):
    """γ·clip(round(x/γ), −1, 1), γ = mean |x| (BitNet b1.58, Ma et al. 2024, eqs. 1–3). As in the authors'
    code γ is 1e-5 at least, where the paper divides by γ + ε."""

    per: Per = "tensor"
    levels = 3

    @property
    def name(self) -> str:
        return "ternary"

    def fit(self, rows: Tensor, ranges: Ranges | None = None) -> Held:
        if ranges is not None:
            raise ValueError(
                "ternary has its scale from the mean of |x|, and no range to estimate; leave it out"
            )
        mean = rows.abs().mean(dim=1, dtype=torch.promote_types(rows.dtype, torch.float32))
        return self.hold(-mean, mean)

    def hold(self, low: Tensor, high: Tensor) -> Held:
        """``high``: γ."""
        return {"scale": amax(low, high).clamp(min=1e-5)}

    def scales(self, held: Held) -> Scales:
        return Scales(held["scale"].float()[:, None])

    def encode(self, rows: Tensor, scales: Scales) -> Tensor:
        return ((rows * (1 / scales.scale)).round().clamp(-1, 1) + 1).to(torch.uint8)

    def decode(self, codes: Tensor, scales: Scales) -> Tensor:
        return scales.scale * (codes.float() - 1)

    def inside(self, rows: Tensor, scales: Scales) -> Tensor:
        """All of them: the authors pass gradients through unmasked."""
        return torch.ones_like(rows, dtype=torch.bool)


@dataclass(frozen=True, kw_only=True)
class Stretched(Format):
    """``levels`` values at equal distance that fill [−α, α]: ±α/4, ±3α/4 (4), −⅔α, 0, ⅔α (3), each the middle
    of its share of the range (ParetoQ, Liu et al. 2025, "stretched elastic quantisation"). α = amax, or
    learned."""

    levels: Literal[3, 4] = 4
    clip = 0.99  # so that α itself is not rounded out of the grid

    @property
    def name(self) -> str:
        return {3: "ternary-stretched", 4: "int2-stretched"}[self.levels]

    def hold(self, low: Tensor, high: Tensor) -> Held:
        return {"scale": amax(low, high).clamp(min=1e-5)}

    def scales(self, held: Held) -> Scales:
        return Scales(held["scale"].float()[:, None])

    def encode(self, rows: Tensor, scales: Scales) -> Tensor:
        middle = (self.levels - 1) / 2
        shift = middle % 1
        v = (rows * (1 / scales.scale)).clamp(-self.clip, self.clip) * (self.levels / 2)
        return ((v - shift).round() + (shift + middle)).to(torch.uint8)

    def decode(self, codes: Tensor, scales: Scales) -> Tensor:
        return scales.scale * ((codes.float() - (self.levels - 1) / 2) / (self.levels / 2))

    def inside(self, rows: Tensor, scales: Scales) -> Tensor:
        return (rows * (1 / scales.scale)).abs() <= self.clip
