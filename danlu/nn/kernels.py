"""The kernel of attention: chosen in one place, from what the parts need and what was measured.

Every kernel computes softmax(scale · q kᵀ + mask) v for queries at positions ``offset`` … and keys at
positions 0 …; a query sees the keys at or before it, at most ``window`` of them, of its own document.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Any, NamedTuple

import torch
import torch.nn.functional as F

BLOCK = 128  # queries whose scores the plain kernel holds at once; keys after them are never computed


class Choice(NamedTuple):
    """A kernel and the reason for it."""

    kernel: str
    why: str


def choose(device: str, dtype: torch.dtype, *, masked: bool = False) -> Choice:
    """Which kernel runs attention, and why.

    Measured on two cores of an EPYC server CPU (bench/results): PyTorch's fused attention has a bfloat16
    backward pass six times slower than float32's there, so plain products win below float32.
    """
    if device == "cpu" and dtype in (torch.bfloat16, torch.float16):
        return Choice("plain", "on a CPU the fused kernel's backward pass is slow below float32 (measured)")
    if device == "cpu":
        return Choice(
            "plain", "blocks of plain products skip masked keys; 0.7 to 1.1 times the fused speed (measured)"
        )
    if masked:
        return Choice("sdpa", "the fused kernel, with the window or documents as a mask")
    return Choice("sdpa", "the fused kernel, causal")


@lru_cache(maxsize=64)
@torch.inference_mode(False)  # what is made in inference mode could not be kept for a backward pass
def visible(queries: int, keys: int, offset: int, window: int | None, device: torch.device) -> torch.Tensor:
    """Boolean mask (queries, keys): True where the query at offset + i may see the key at j."""
    i = torch.arange(queries, device=device)[:, None] + offset
    j = torch.arange(keys, device=device)
    mask = j <= i
    return mask if window is None else mask & (j > i - window)


@lru_cache(maxsize=64)
@torch.inference_mode(False)
def _bias(
    queries: int, keys: int, offset: int, window: int | None, dtype: torch.dtype, device: torch.device
) -> torch.Tensor:
    """The same as a number added to the scores: 0 where visible, −∞ elsewhere; shape (1, queries, keys)."""
    seen = visible(queries, keys, offset, window, device)
    return torch.zeros(seen.shape, dtype=dtype, device=device).masked_fill_(~seen, float("-inf"))[None]


def _blocks(queries: int, keys: int, offset: int, window: int | None) -> list[tuple[int, int, int, int]]:
    """Slices (first query, last query, first key, last key) that together hold every visible pair."""
    blocks = []
    for start in range(0, queries, BLOCK):
        stop = min(start + BLOCK, queries)
        low = 0 if window is None else max(0, start + offset - window + 1)
        blocks.append((start, stop, low, min(keys, stop + offset)))
    return blocks


class _Plain(torch.autograd.Function):
    """Attention by two matrix products a block, with the backward pass written out.

    Written out because autograd would keep and read the scores several times over, and a CPU is bound
    by memory there: scale and mask ride along in the first product, the softmax is in place, only the
    weights are kept. Scores and weights have the inputs' type, the softmax sums in float32.
    """

    @staticmethod
    def forward(
        ctx: Any,
        q: torch.Tensor,
        k: torch.Tensor,
        v: torch.Tensor,
        scale: float,
        window: int | None,
        offset: int,
        extra: torch.Tensor | None,
    ) -> torch.Tensor:
        # q (n, r·T, d) holds r query heads for each of the n key heads of k (n, S, d) and v (n, S, e)
        n, repeat, queries, _ = q.shape
        keys = k.shape[1]
        mixed, weights = [], []
        for start, stop, low, high in _blocks(queries, keys, offset, window):
            bias = _bias(stop - start, high - low, offset + start - low, window, q.dtype, q.device)
            if repeat > 1:
                bias = bias.repeat(1, repeat, 1)
            if extra is not None:
                more = extra[:, start:stop, low:high]
                bias = bias + (more.repeat(1, repeat, 1) if repeat > 1 else more)
            q_block = q[:, :, start:stop].reshape(n, repeat * (stop - start), -1)
            scores = torch.baddbmm(bias, q_block, k[:, low:high].transpose(1, 2), alpha=scale)
            p = torch.softmax(scores, dim=-1)
            mixed.append(torch.bmm(p, v[:, low:high]).view(n, repeat, stop - start, -1))
            weights.append(p)
        y = mixed[0] if len(mixed) == 1 else torch.cat(mixed, dim=2)
        ctx.save_for_backward(q, k, v, *weights)
        ctx.settings = scale, window, offset
        return y

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, *grads: torch.Tensor) -> tuple[torch.Tensor | None, ...]:
        (dy,) = grads
        q, k, v, *weights = ctx.saved_tensors
        scale, window, offset = ctx.settings
        n, repeat, queries, size = q.shape
        blocks = _blocks(queries, k.shape[1], offset, window)
        dq = torch.empty_like(q)
        whole = len(blocks) == 1 and blocks[0][2:] == (0, k.shape[1])
        dk, dv = (
            (torch.empty_like(k), torch.empty_like(v))
            if whole
            else (torch.zeros_like(k), torch.zeros_like(v))
        )
        for (start, stop, low, high), p in zip(blocks, weights, strict=True):
            rows = repeat * (stop - start)
            dy_block = dy[:, :, start:stop].reshape(n, rows, -1)
            q_block = q[:, :, start:stop].reshape(n, rows, size)
            dp = torch.bmm(dy_block, v[:, low:high].transpose(1, 2))
            ds = torch._softmax_backward_data(dp, p, -1, p.dtype)
            part = torch.bmm(ds, k[:, low:high]).view(n, repeat, stop - start, size)
            torch.mul(part, scale, out=dq[:, :, start:stop])
            # beta = 0 overwrites: a single block has nothing to add to
            beta = 0 if whole else 1
            dv[:, low:high].baddbmm_(p.transpose(1, 2), dy_block, beta=beta)
            dk[:, low:high].baddbmm_(ds.transpose(1, 2), q_block, beta=beta, alpha=scale)
        return dq, dk, dv, None, None, None, None


def attend(
    q: torch.Tensor,
    k: torch.Tensor,
    v: torch.Tensor,
    *,
    scale: float,
    window: int | None = None,
    documents: torch.Tensor | None = None,
    kernel: str | None = None,
) -> torch.Tensor:
    """Causal attention.

    Shapes: ``q`` (B, H, T, d); ``k`` (B, G, S, d) and ``v`` (B, G, S, e) with G dividing H and S ≥ T, the
    queries being the last T positions; ``documents`` (B, S), integers that differ between documents.
    Returns (B, H, T, e) in the type of ``v``. ``kernel`` overrides the measured choice.
    """
    batch, heads, queries, size = q.shape
    groups, keys = k.shape[1], k.shape[2]
    offset = keys - queries
    masked = window is not None or documents is not None or (offset > 0 and queries > 1)
    kernel = kernel or choose(q.device.type, q.dtype, masked=masked).kernel
    different = None
    if documents is not None:
        different = documents[:, offset:, None] != documents[:, None, :]  # (B, T, S)
    if kernel == "plain":
        extra = None
        if different is not None:
            extra = torch.zeros(different.shape, dtype=q.dtype, device=q.device)
            extra = extra.masked_fill_(different, float("-inf")).repeat_interleave(groups, dim=0)
        y = _Plain.apply(
            q.reshape(batch * groups, heads // groups, queries, size),
            k.reshape(batch * groups, keys, size),
            v.reshape(batch * groups, keys, -1),
            scale,
            window,
            offset,
            extra,
        )
        return y.view(batch, heads, queries, -1)
    mask = None
    if masked:
        mask = visible(queries, keys, offset, window, q.device)
        if different is not None:
            mask = (mask & ~different)[:, None]
    return F.scaled_dot_product_attention(
        q,
        k,
        v,
        attn_mask=mask,
        is_causal=mask is None and queries > 1,
        scale=scale,
        enable_gqa=groups != heads,
    )
