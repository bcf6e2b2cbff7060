"""Gates on the output of attention heads."""

from __future__ import annotations

import math

import torch
import torch.nn as nn

from danlu import spec
from danlu.nn.linear import Linear
from danlu.nn.registry import builds
from danlu.nn.stacked import each


def _by_head(parts: torch.Tensor, weight: torch.Tensor) -> torch.Tensor:
    """Parts (B, T, heads, part) times (heads, part, k) → (B, heads, T, k); of members, with K before each and
    (K, 1, heads, part, k)."""
    if weight.ndim == 3:
        return torch.einsum("bthd,hdk->bhtk", parts, weight)
    return torch.einsum("mbthd,mhdk->mbhtk", parts, weight[:, 0])


@builds(spec.HeadGate)
class HeadGate(nn.Module):
    """One number for each head and position, from that head's slice of the input (Bondarenko et al. 2023,
    eq. 6): σ(w·x_h + b), or with ``hidden`` units σ(w₂·relu(W₁ x_h + b₁) + b). It is ``open`` at the start
    on average, b being its logit.

    Shapes: x (B, T, width), y (B, heads, T, size) → y · gate.
    """

    stackable = True

    def __init__(
        self, width: int, heads: int, size: int, *, hidden: int | None = None, open: float = 0.25
    ) -> None:
        super().__init__()
        inner, part = hidden or 1, width // heads
        self.heads = heads
        self.weight = nn.Parameter(torch.empty(heads * part * inner).uniform_(-1, 1) / math.sqrt(part))
        self.bias = nn.Parameter(torch.full((heads,), math.log(open / (1 - open)) if 0 < open < 1 else 0.0))
        self.hidden_bias = self.second = None
        if hidden is not None:
            self.hidden_bias = nn.Parameter(torch.zeros(heads * hidden))
            self.second = nn.Parameter(torch.empty(heads * hidden).uniform_(-1, 1) / math.sqrt(hidden))

    def forward(self, x: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
        parts = x.unflatten(-1, (self.heads, -1))
        z = each(_by_head, self.weight.unflatten(-1, (*parts.shape[-2:], -1)), 3, parts)
        if self.second is not None and self.hidden_bias is not None:
            inner = (self.heads, 1, -1)
            hidden_bias, second = (p.unflatten(-1, inner) for p in (self.hidden_bias, self.second))
            z = each(torch.add, hidden_bias, 3, z).relu()
            z = each(torch.mul, second, 3, z).sum(dim=-1, keepdim=True)
        return y * torch.sigmoid(each(torch.add, self.bias[..., None, None], 3, z))

    def flops(self, tokens: int) -> int:
        """FLOPs of the products with the first weight."""
        return 2 * tokens * self.weight.numel()


@builds(spec.ElementGate)
class ElementGate(nn.Module):
    """y ⊙ σ(xW) (Qiu et al. 2025; Qwen3-Next). Shapes: x (B, T, width), y (B, heads, T, size) → as y."""

    def __init__(self, width: int, heads: int, size: int) -> None:
        super().__init__()
        self.map = Linear(width, heads * size, bias=False)

    def forward(self, x: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
        return y * torch.sigmoid(self.map(x)).unflatten(-1, (y.shape[1], -1)).transpose(1, 2)

    def flops(self, tokens: int) -> int:
        return self.map.flops(tokens)
