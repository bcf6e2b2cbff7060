"""Scales and clipping bounds that are learned: LSQ, ParetoQ, PACT."""

from __future__ import annotations

import math
from typing import Any, Literal

import torch
import torch.nn as nn
from torch import Tensor

from danlu.quantization.formats import Per, Scales, rows_of
from danlu.quantization.integers import Integers, Stretched
from danlu.quantization.quantized import Quantized

LEAST = 1e-5  # of a learned scale, as in ParetoQ's code


class _LearnedScale(torch.autograd.Function):
    """x̂ of rows (rows, size) and scales (rows, 1). With v = x/s and its level q: ∂x̂/∂s = q − v where v is
    within the levels and q (an end of them) elsewhere, times ``factor``; ∂x̂/∂x = 1 within, 0 elsewhere."""

    @staticmethod
    def forward(ctx: Any, rows: Tensor, scale: Tensor, format: Integers | Stretched, factor: float) -> Tensor:
        scale = scale.clamp(min=LEAST)
        ctx.save_for_backward(rows, scale)
        ctx.format, ctx.factor = format, factor
        return format.nearest(rows, Scales(scale)).to(rows.dtype)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, Tensor, None, None]:
        (dy,) = grads
        rows, scale = ctx.saved_tensors
        v = rows * (1 / scale)
        within = _within(v, ctx.format)
        level = ctx.format.nearest(v, Scales(torch.ones_like(scale)))
        slope = level - v * within
        return dy * within, (dy * slope).sum(dim=1, keepdim=True).to(scale.dtype) * ctx.factor, None, None


def _within(v: Tensor, format: Integers | Stretched) -> Tensor:
    if isinstance(format, Stretched):
        return v.abs() <= format.clip
    return (v >= format.least) & (v <= format.greatest)


class _Learned(nn.Module):
    """Rounds tensors of one shape with learned scales: ``scale``, float32, one for each row of ``rows_of``.

    A scale below 1e-5 counts as 1e-5. Gradients of the scales are multiplied by ``factor``.
    """

    def __init__(self, format: Integers | Stretched, x: Tensor, factor: float) -> None:
        super().__init__()
        self.format, self.factor = format, factor
        self.scale = nn.Parameter(self.start(rows_of(x.detach(), format.per)).float())

    def forward(self, x: Tensor) -> Tensor:
        """x̂, in the shape and type of ``x``."""
        rows = rows_of(x, self.format.per)
        y: Tensor = _LearnedScale.apply(rows, self.scale[:, None], self.format, self.factor)
        return y.view(x.shape)

    def start(self, rows: Tensor) -> Tensor:
        """Where the scales of ``rows`` (rows, size) begin."""
        raise NotImplementedError

    @torch.no_grad()
    def restart(self, x: Tensor) -> None:
        """Let the scales begin anew, from ``x``."""
        self.scale.copy_(self.start(rows_of(x, self.format.per)))

    @torch.no_grad()
    def quantize(self, x: Tensor) -> Quantized:
        """The same numbers in few bits."""
        held = {"scale": self.scale.detach().clamp(min=LEAST)}
        rows = rows_of(x, self.format.per)
        codes = self.format.encode(rows, self.format.scales(held))
        return Quantized.of(codes, held, self.format, tuple(x.shape))

    def extra_repr(self) -> str:
        return f"{self.format.name}, per={self.format.per}, factor={self.factor:g}"


class LSQ(_Learned):
    """Learned step size (Esser et al. 2020, eqs. 1–5): s starts at 2·mean |x|/√Q_p, and its gradient is
    multiplied by 1/√(N·Q_p), Q_p the greatest integer, N = ``count`` (left out: the numbers that share a
    scale; for activations the paper takes the features of a layer).

    A number at an end of the grid exactly counts as not clipped, where the paper's eq. 3 clips it. PyTorch's
    ``_fake_quantize_learnable_per_tensor_affine`` tells by the rounded number: it agrees but for numbers
    that are less than half a step beyond an end.

    Args: ``format``: symmetric integers; ``x``: what s starts from, a weight or a batch of activations.
    Raises ValueError for the affine grid.
    """

    def __init__(self, format: Integers, x: Tensor, count: int | None = None) -> None:
        if format.grid == "affine":
            raise ValueError("grid = affine has a zero point, which LSQ does not learn; use narrow or full")
        size = rows_of(x, format.per).shape[1]
        super().__init__(format, x, 1 / math.sqrt((count or size) * format.greatest))

    def start(self, rows: Tensor) -> Tensor:
        assert isinstance(self.format, Integers)
        return 2 * rows.abs().mean(dim=1) / math.sqrt(self.format.greatest)


class ParetoQ(_Learned):
    """A weight at ``bits`` (Liu et al. 2025 and their code): 3 and 4 by LSQ's rule on the integers
    −2^{b−1} … 2^{b−1} − 1, s from amax/Q_p; 2 and ``"ternary"`` on stretched levels, s from amax. The
    gradient of s is multiplied by 1/√(N·Q_p), N the numbers of the whole weight, Q_p 1 for stretched levels.
    Where a ternary number is clipped, the derivative by s is its level, ±⅔; their code has ±1.

    Args: ``bits``; ``weight`` (out, in); ``per``: which numbers share a scale.
    """

    def __init__(self, bits: Literal[2, 3, 4, "ternary"], weight: Tensor, per: Per = "channel") -> None:
        if bits not in (2, 3, 4, "ternary"):
            raise ValueError(f"bits = {bits!r} of ParetoQ; allowed: 2, 3, 4, ternary")
        format: Integers | Stretched
        if bits == 3 or bits == 4:
            format = Integers(bits=bits, grid="full", per=per)
        else:
            format = Stretched(levels=4 if bits == 2 else 3, per=per)
        super().__init__(format, weight, 1 / math.sqrt(weight.numel() * _top(format)))

    def start(self, rows: Tensor) -> Tensor:
        return rows.abs().amax(dim=1) / _top(self.format)


def _top(format: Integers | Stretched) -> int:
    """Q_p."""
    return format.greatest if isinstance(format, Integers) else 1


class _Clip(torch.autograd.Function):
    """clip(x, 0, α) at 2^bits levels. ∂/∂x = [0 ≤ x < α], ∂/∂α = [x ≥ α]."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, alpha: Tensor, steps: int) -> Tensor:
        ctx.save_for_backward(x, alpha)
        scale = alpha / steps
        return (x.clamp(min=0).minimum(alpha) * (1 / scale)).round() * scale

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, Tensor, None]:
        (dy,) = grads
        x, alpha = ctx.saved_tensors
        above = x >= alpha
        return dy * ((x >= 0) & ~above), (dy * above).sum().view_as(alpha), None


class PACT(nn.Module):
    """Activations clipped to [0, α] with α learned, then at 2^``bits`` levels (Choi et al. 2018, eqs. 1–3):
    ∂x̂/∂x = [0 ≤ x < α], ∂x̂/∂α = [x ≥ α]. The paper adds an L2 penalty on α to the loss.

    Args: ``bits``; ``alpha``: where α starts, above 0. Shapes: (…) → the same, in the type of the input.
    """

    def __init__(self, bits: int, alpha: float) -> None:
        super().__init__()
        if not alpha > 0:
            raise ValueError(f"alpha = {alpha} of PACT; allowed: above 0")
        self.bits = bits
        self.alpha = nn.Parameter(torch.tensor(float(alpha)))

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = _Clip.apply(x, self.alpha.to(x.dtype), 2**self.bits - 1)
        return y

    def extra_repr(self) -> str:
        return f"bits={self.bits}"
