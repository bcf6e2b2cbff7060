"""Formats whose levels are not evenly spaced: NF4, and small floating-point numbers."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cache
from typing import Literal

import torch
from torch import Tensor

from danlu.quantization.formats import Format, Held, Per, Scales, amax, positive

FP4 = (0.0, 0.5, 1.0, 1.5, 2.0, 3.0, 4.0, 6.0)  # e2m1, without sign
FLOATS = {"e4m3": torch.float8_e4m3fn, "e5m2": torch.float8_e5m2}
LARGEST = {"e2m1": 6.0, "e4m3": 448.0, "e5m2": 57344.0}
EXPONENT = {"e2m1": 2, "e4m3": 8, "e5m2": 15}  # of the largest number
END = {"e2m1": 7.0, "e4m3": 464.0, "e5m2": 61440.0}  # half a step beyond the largest number
E4M3_LEAST = 2.0**-9


@cache
def nf4() -> Tensor:
    """The 16 levels of NF4, float32 (Dettmers et al. 2023, appendix E): quantiles of the normal law at evenly
    spaced probabilities, eight above zero, zero, seven below, divided by the greatest."""
    end = 0.9677083  # the mean of 1 − 1/30 and 1 − 1/32, as in bitsandbytes
    above = torch.special.ndtri(torch.linspace(end, 0.5, 9, dtype=torch.float64))[:-1]
    below = -torch.special.ndtri(torch.linspace(end, 0.5, 8, dtype=torch.float64))[:-1]
    values = torch.cat((below, torch.zeros(1, dtype=torch.float64), above)).sort().values
    return (values / values.max()).float()


def _nearest(x: Tensor, levels: Tensor) -> Tensor:
    """The index of the nearest of ascending ``levels``; of two equally near ones the even index."""
    middles = ((levels[1:] + levels[:-1]) / 2).to(x.dtype)
    x = x.contiguous()
    down, up = torch.bucketize(x, middles), torch.bucketize(x, middles, right=True)
    return torch.where(down % 2 == 0, down, up)


def _fp4(x: Tensor) -> Tensor:
    """Codes of the nearest e2m1 numbers, sign in the fourth bit; ties to the even mantissa."""
    magnitude = _nearest(x.abs(), torch.tensor(FP4, device=x.device))
    return (magnitude + 8 * (x < 0)).to(torch.uint8)


def _fp4_values(codes: Tensor) -> Tensor:
    table = torch.tensor((*FP4, *(-x for x in FP4)), device=codes.device)
    return table[codes.long()]


def _fp8(x: Tensor, element: str) -> Tensor:
    """Codes of the nearest numbers, clamped first: a cast alone makes infinities (e5m2) or NaN (e4m3)."""
    largest = LARGEST[element]
    return x.clamp(-largest, largest).to(FLOATS[element]).view(torch.uint8)


@dataclass(frozen=True, kw_only=True)
class _Scaled(Format):
    """Levels of fixed values times a scale."""

    def inside(self, rows: Tensor, scales: Scales) -> Tensor:
        return (rows * (1 / scales.scale)).abs() <= self._end

    @property
    def _end(self) -> float:
        """Half a step beyond the largest level."""
        raise NotImplementedError


@dataclass(frozen=True, kw_only=True)
class NF4(_Scaled):
    """The nearest of 16 levels times amax (QLoRA, Dettmers et al. 2023). Scales are float32; with ``double``
    their mean is taken off and 256 of them share a scale of their own, 8 bits each."""

    per: Per = 64
    double: bool = False
    levels = 16
    _end = 1.1385216  # the last step is 1 − .7229568

    @property
    def name(self) -> str:
        return "nf4-double" if self.double else "nf4"

    def hold(self, low: Tensor, high: Tensor) -> Held:
        scale = amax(low, high)
        if not self.double:
            return {"scale": scale}
        mean = scale.mean()
        blocks = torch.nn.functional.pad(scale - mean, (0, -scale.numel() % 256)).view(-1, 256)
        step = positive(blocks.abs().amax(dim=1) / 127)
        codes = (blocks / step[:, None]).round().clamp(-127, 127).to(torch.int8)
        return {"scale": codes.flatten()[: scale.numel()], "step": step, "mean": mean}

    def scales(self, held: Held) -> Scales:
        scale = held["scale"].float()
        if self.double:
            step = held["step"].repeat_interleave(256)[: scale.numel()]
            scale = (scale * step + held["mean"]).clamp(min=0)
        return Scales(positive(scale)[:, None])

    def encode(self, rows: Tensor, scales: Scales) -> Tensor:
        return _nearest(rows * (1 / scales.scale), nf4().to(rows.device)).to(torch.uint8)

    def decode(self, codes: Tensor, scales: Scales) -> Tensor:
        return scales.scale * nf4().to(codes.device)[codes.long()]


@dataclass(frozen=True, kw_only=True)
class FP8(_Scaled):
    """Eight-bit floating point (Micikevicius et al. 2022) times amax/(largest number): ``e4m3`` (fn: 448, no
    infinity) or ``e5m2`` (57,344). Scales are float32."""

    element: Literal["e4m3", "e5m2"] = "e4m3"
    levels = 256

    @property
    def name(self) -> str:
        return f"fp8-{self.element}"

    @property
    def _end(self) -> float:
        return END[self.element]

    def hold(self, low: Tensor, high: Tensor) -> Held:
        return {"scale": positive(amax(low, high) / LARGEST[self.element])}

    def scales(self, held: Held) -> Scales:
        return Scales(held["scale"][:, None])

    def encode(self, rows: Tensor, scales: Scales) -> Tensor:
        return _fp8(rows * (1 / scales.scale), self.element)

    def decode(self, codes: Tensor, scales: Scales) -> Tensor:
        return scales.scale * codes.view(FLOATS[self.element]).float()


@dataclass(frozen=True, kw_only=True)
class MX(_Scaled):
    """Microscaling (OCP MX 1.0, 2023): 32 numbers share a power of two, one byte (e8m0).

    ``element``: e2m1 (MXFP4), e4m3 or e5m2 (MXFP8). ``rounding``: the exponent is ⌊log₂ amax⌋ less that of
    the element's largest number (``floor``, section 6.3: the largest may be clipped) or ⌈log₂(amax/largest)⌉
    (``ceil``: nothing is clipped).
    """

    per: Literal[32] = 32
    element: Literal["e2m1", "e4m3", "e5m2"] = "e2m1"
    rounding: Literal["floor", "ceil"] = "floor"

    @property
    def levels(self) -> int:
        return 16 if self.element == "e2m1" else 256

    @property
    def name(self) -> str:
        kind = "mxfp4" if self.element == "e2m1" else f"mxfp8-{self.element}"
        return kind if self.rounding == "floor" else f"{kind}-ceil"

    @property
    def _end(self) -> float:
        return END[self.element]

    def hold(self, low: Tensor, high: Tensor) -> Held:
        top = amax(low, high)
        if self.rounding == "floor":
            _, exponent = torch.frexp(top)  # top = m·2^e, ½ ≤ m < 1
            exponent = exponent - 1 - EXPONENT[self.element]  # PyTorch's cast to e8m0 would round
        else:
            mantissa, exponent = torch.frexp(top / LARGEST[self.element])
            exponent = torch.where(mantissa == 0.5, exponent - 1, exponent)
        exponent = torch.where(top > 0, exponent.clamp(-127, 127), 0)
        return {"scale": (exponent + 127).to(torch.uint8)}

    def scales(self, held: Held) -> Scales:
        return Scales(held["scale"].view(torch.float8_e8m0fnu).float()[:, None])

    def encode(self, rows: Tensor, scales: Scales) -> Tensor:
        v = rows * (1 / scales.scale)
        return _fp4(v) if self.element == "e2m1" else _fp8(v, self.element)

    def decode(self, codes: Tensor, scales: Scales) -> Tensor:
        if self.element == "e2m1":
            return scales.scale * _fp4_values(codes)
        return scales.scale * codes.view(FLOATS[self.element]).float()


def _whole(top: Tensor) -> Tensor:
    """NVFP4's scale of a tensor whose greatest number is ``top``."""
    return positive(top.float() / (6 * 448))


@dataclass(frozen=True, kw_only=True)
class NVFP4(_Scaled):
    """e2m1 numbers, of which 16 share an e4m3 scale, times a float32 scale of the whole tensor (NVIDIA 2025):
    amax/(6·448) of it, so that the greatest of the small scales is e4m3's largest. ``tensor``: that scale;
    left out, from what is fitted."""

    per: Literal[16] = 16
    tensor: float | None = None
    levels = 16
    _end = END["e2m1"]

    @property
    def name(self) -> str:
        return "nvfp4"

    def fixed(self, x: Tensor) -> NVFP4:
        return self if self.tensor is not None else replace(self, tensor=float(_whole(x.abs().max())))

    def hold(self, low: Tensor, high: Tensor) -> Held:
        top = amax(low, high)
        whole = _whole(top.max()) if self.tensor is None else top.new_tensor(self.tensor)
        small = (top / 6 / whole).clamp(E4M3_LEAST, 448).to(torch.float8_e4m3fn)
        return {"scale": small.view(torch.uint8), "tensor": whole}

    def scales(self, held: Held) -> Scales:
        small = held["scale"].view(torch.float8_e4m3fn).float()
        return Scales((small * held["tensor"])[:, None])

    def encode(self, rows: Tensor, scales: Scales) -> Tensor:
        return _fp4(rows * (1 / scales.scale))

    def decode(self, codes: Tensor, scales: Scales) -> Tensor:
        return scales.scale * _fp4_values(codes)
