"""Norms of queries and keys."""

from __future__ import annotations

import torch
import torch.nn as nn
import torch.nn.functional as F

from danlu.nn import safe
from danlu.nn.norms import rms_norm
from danlu.nn.stacked import each


class HeadNorm(nn.Module):
    """The norm of queries, or of keys, (B, heads, T, size), of ``spec.QKNorm``: root-mean-square, layer norm
    or length one, over each head or over all heads together.

    Qwen3: rms; Gemma 3: rms around one; OLMo 2: rms over the width; Cohere: layer, a gain for each head;
    Su 2023 (KeyNorm): l2 of the keys. The gain is kept flat, so that optimizers take it for one.
    """

    stackable = True

    def __init__(
        self,
        heads: int,
        size: int,
        *,
        norm: str = "rms",
        over: str = "head",
        eps: float = 1e-6,
        gain: bool = False,
        per_head: bool = False,
        around_one: bool = False,
    ) -> None:
        super().__init__()
        self.norm, self.over, self.eps, self.around_one = norm, over, eps, around_one
        self.shape = (-1, 1, size) if per_head or over == "width" else (size,)
        count = heads * size if len(self.shape) > 1 else size
        start = torch.zeros(count) if around_one else torch.ones(count)
        self.gain = nn.Parameter(start) if gain else None

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y = x.to(torch.promote_types(x.dtype, torch.float32)) if self.around_one else x
        if self.over == "width":
            heads = x.shape[1]
            y = self._normalise(y.transpose(1, 2).flatten(2)).unflatten(-1, (heads, -1)).transpose(1, 2)
        else:
            y = self._normalise(y)
        if self.gain is None:
            return y
        gain = self.gain.unflatten(-1, self.shape).to(y.dtype)
        # 1 + w rounded to bfloat16 would lose a small w, as in danlu.nn.norms
        return each(torch.mul, 1 + gain if self.around_one else gain, len(self.shape), y).to(x.dtype)

    def _normalise(self, x: torch.Tensor) -> torch.Tensor:
        if self.norm == "rms":
            return rms_norm(x, self.eps)
        if self.norm == "layer":
            return F.layer_norm(x, x.shape[-1:], eps=self.eps)
        # As F.normalize, whose second derivative at 0 is NaN.
        return x / safe.norm(x, -1, keepdim=True).clamp(min=self.eps)
