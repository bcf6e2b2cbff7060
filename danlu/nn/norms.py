"""Normalisations y = a·(x − μ)/σ + b over the last dimension."""

from __future__ import annotations

from typing import Any

import torch
import torch.nn as nn
import torch.nn.functional as F

from danlu import spec
from danlu.nn.registry import builds


class _RMS(torch.autograd.Function):
    """x / √(mean x² + ε) in few passes over memory.

    PyTorch's own ``rms_norm`` is a chain of five operations on a CPU, each a pass over memory, and
    keeps float32 copies for the backward pass; this one keeps the output and one number a row.
    """

    @staticmethod
    def forward(ctx: Any, x: torch.Tensor, eps: float) -> torch.Tensor:
        width = x.shape[-1]
        exact = torch.promote_types(x.dtype, torch.float32)
        square = torch.linalg.vector_norm(x, dim=-1, keepdim=True, dtype=exact).square()
        scale = torch.rsqrt(square / width + eps)
        y = x * scale.to(x.dtype)
        ctx.save_for_backward(y, scale.to(x.dtype))
        return y

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, *grads: torch.Tensor) -> tuple[torch.Tensor, None]:
        (dy,) = grads
        y, scale = ctx.saved_tensors
        mean = (dy * y).mean(dim=-1, keepdim=True)
        return torch.addcmul(dy, y, mean, value=-1).mul_(scale), None


def rms_norm(x: torch.Tensor, eps: float = 1e-5) -> torch.Tensor:
    """x / √(mean x² + ε) over the last dimension (Zhang & Sennrich 2019, eq. 4), without gain.

    Shapes: (…, width) → (…, width), in the type of ``x``; the mean square is taken in float32.
    """
    if x.is_cuda or torch.compiler.is_compiling():  # there one kernel does it all
        return F.rms_norm(x, x.shape[-1:], eps=eps)
    return _RMS.apply(x, eps)


@builds(spec.RMSNorm)
class RMSNorm(nn.Module):
    """Root-mean-square norm (Zhang & Sennrich 2019, eq. 4): a · x / √(mean x² + ε).

    Args: ``width`` of the last dimension; ``eps``; ``gain``: whether a is learned (initially 1).
    Shapes: (…, width) → (…, width).
    """

    def __init__(self, width: int, *, eps: float = 1e-5, gain: bool = True) -> None:
        super().__init__()
        self.eps = eps
        self.gain = nn.Parameter(torch.ones(width)) if gain else None

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y = rms_norm(x, self.eps)
        return y if self.gain is None else y * self.gain.to(x.dtype)


@builds(spec.LayerNorm)
class LayerNorm(nn.Module):
    """Layer norm (Ba, Kiros & Hinton 2016, eq. 4): a · (x − μ)/√(σ² + ε) + b, biased variance.

    Args: ``width`` of the last dimension; ``eps``; ``gain`` and ``bias``: whether a and b are learned.
    Shapes: (…, width) → (…, width).
    """

    def __init__(self, width: int, *, eps: float = 1e-5, gain: bool = True, bias: bool = False) -> None:
        super().__init__()
        self.eps = eps
        self.gain = nn.Parameter(torch.ones(width)) if gain else None
        self.bias = nn.Parameter(torch.zeros(width)) if bias else None

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        gain, bias = (p if p is None else p.to(x.dtype) for p in (self.gain, self.bias))
        return F.layer_norm(x, x.shape[-1:], gain, bias, self.eps)
