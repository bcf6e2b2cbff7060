"""Attention as a pipeline: project → normalise q, k → position → kernel → project."""

from __future__ import annotations

import torch
import torch.nn as nn

from danlu import spec
from danlu.nn.cache import KVCache
from danlu.nn.kernels import attend
from danlu.nn.linear import Linear
from danlu.nn.norms import RMSNorm
from danlu.nn.positions import Rotary
from danlu.nn.registry import build, builds


@builds(spec.Attention)
class Attention(nn.Module):
    """Causal multi-head attention (Vaswani et al. 2017), grouped-query where ``kv_heads < heads``
    (Ainslie et al. 2023).

    Args:
        width: of the input and output.
        position: a rotary specification, or anything else for no rotation.
        heads, kv_heads, head_size: query heads, key/value heads (default: heads), size of one
            (default: width/heads).
        window: visible positions, the present one included; None for all.
        qk_norm: RMS norm of queries and keys over the head, before or after the rotation.
        scale: of q·k; default 1/√head_size.
    Shapes: (batch, positions, width) → the same.
    """

    def __init__(
        self,
        width: int,
        position: spec.Spec | None = None,
        *,
        heads: int = 4,
        kv_heads: int | None = None,
        head_size: int | None = None,
        window: int | None = None,
        qk_norm: spec.QKNorm | None = None,
        scale: float | None = None,
        bias: bool = False,
    ) -> None:
        super().__init__()
        self.heads, self.kv_heads = heads, kv_heads or heads
        self.size = head_size or width // heads
        self.window = window
        self.scale = scale or self.size**-0.5
        self.qkv = Linear(width, (heads + 2 * self.kv_heads) * self.size, bias=bias)
        self.out = Linear(heads * self.size, width, bias=bias)
        self.rotary: Rotary | None = build(position, self.size) if isinstance(position, spec.Rotary) else None
        self.norm_after = qk_norm is not None and qk_norm.when == "after"
        self.q_norm = self.k_norm = None
        if qk_norm is not None:
            self.q_norm = RMSNorm(self.size, eps=qk_norm.eps, gain=qk_norm.gain)
            self.k_norm = RMSNorm(self.size, eps=qk_norm.eps, gain=qk_norm.gain)

    def _place(self, q: torch.Tensor, k: torch.Tensor, start: int) -> tuple[torch.Tensor, torch.Tensor]:
        """Normalise and rotate queries and keys (batch, heads, positions, size)."""
        steps = [self._normalise, self._rotate]
        for step in reversed(steps) if self.norm_after else steps:
            q, k = step(q, k, start)
        return q, k

    def _normalise(self, q: torch.Tensor, k: torch.Tensor, start: int) -> tuple[torch.Tensor, torch.Tensor]:
        if self.q_norm is None or self.k_norm is None:
            return q, k
        return self.q_norm(q), self.k_norm(k)

    def _rotate(self, q: torch.Tensor, k: torch.Tensor, start: int) -> tuple[torch.Tensor, torch.Tensor]:
        return (q, k) if self.rotary is None else (self.rotary(q, start), self.rotary(k, start))

    def forward(
        self,
        x: torch.Tensor,
        *,
        documents: torch.Tensor | None = None,
        cache: KVCache | None = None,
    ) -> torch.Tensor:
        """``documents``: (batch, positions) integers that attention does not cross; ``cache``: the keys
        and values of earlier positions, to which those of ``x`` are appended."""
        batch, length, _ = x.shape
        heads = self.qkv(x).view(batch, length, -1, self.size).transpose(1, 2)
        q, k, v = heads.split((self.heads, self.kv_heads, self.kv_heads), dim=1)
        start = cache.length if cache is not None else 0
        q, k = self._place(q, k, start)
        if cache is not None:
            k, v = cache.append(k, v)
        y = attend(q, k, v, scale=self.scale, window=self.window, documents=documents)
        return self.out(y.transpose(1, 2).reshape(batch, length, -1))

    def cache(self, batch: int, length: int) -> KVCache:
        """An empty cache for ``length`` positions."""
        return KVCache(batch, self.kv_heads, length, self.size)

    def flops(self, batch: int, length: int) -> int:
        """FLOPs of the matrix products of a forward pass over ``batch`` sequences: the projections and,
        in attention, every pair of positions (the common convention, though a kernel may skip those
        that are masked)."""
        pairs = 4 * batch * self.heads * self.size * length * length
        return self.qkv.flops(batch * length) + self.out.flops(batch * length) + pairs
