"""Attention by plain matrix products, with the backward pass written out."""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F

from danlu.nn.masks import MaskPattern, additive_mask

BLOCK = 128  # queries whose scores are held at once; keys that none of them sees are never computed


def blocks(pattern: MaskPattern) -> list[tuple[int, int, int, int]]:
    """Slices (first query, last query, first key, last key) that together hold every visible pair."""
    cuts = range(0, pattern.queries, BLOCK)
    return [
        (i, min(i + BLOCK, pattern.queries), *pattern.keys_of(i, min(i + BLOCK, pattern.queries)))
        for i in cuts
    ]


class Plain(torch.autograd.Function):
    """Attention by two matrix products a block.

    Written out because autograd would keep and read the scores several times over, and a CPU is bound
    by memory there: scale and mask ride along in the first product, the softmax is in place, only the
    weights are kept. Scores and weights have the inputs' type, the softmax sums in float32.

    q (n, r, T, d) holds r query heads for each of the n key heads of k (n, S, d) and v (n, S, e); ``extra``
    (n, 1 or r, T, S) is added to the scores. Returns y (n, r, T, e) and, so that they have gradients for
    second derivatives, the weights of each block.
    """

    @staticmethod
    def forward(
        ctx: Any,
        q: torch.Tensor,
        k: torch.Tensor,
        v: torch.Tensor,
        scale: float,
        pattern: MaskPattern,
        extra: torch.Tensor | None,
    ) -> tuple[torch.Tensor, ...]:
        n, repeat = q.shape[:2]
        mixed, weights = [], []
        for start, stop, low, high in blocks(pattern):
            bias = additive_mask(pattern, start, stop, q.dtype, q.device)[None]
            if extra is not None:
                more = (extra[:, :, start:stop, low:high] + bias).expand(-1, repeat, -1, -1)
                bias = more.reshape(n, repeat * (stop - start), high - low)
            elif repeat > 1:
                bias = bias.repeat(1, repeat, 1)
            q_block = q[:, :, start:stop].reshape(n, repeat * (stop - start), -1)
            scores = torch.baddbmm(bias, q_block, k[:, low:high].transpose(1, 2), alpha=scale)
            p = torch.softmax(scores, dim=-1)
            mixed.append(torch.bmm(p, v[:, low:high]).view(n, repeat, stop - start, -1))
            weights.append(p)
        y = mixed[0] if len(mixed) == 1 else torch.cat(mixed, dim=2)
        ctx.set_materialize_grads(False)
        ctx.save_for_backward(q, k, v, *weights)
        ctx.settings = scale, pattern, None if extra is None else extra.shape
        return (y,) if torch.compiler.is_compiling() else (y, *weights)

    @staticmethod
    def backward(ctx: Any, *grads: torch.Tensor | None) -> tuple[torch.Tensor | None, ...]:
        dy, *dweights = grads
        q, k, v, *weights = ctx.saved_tensors
        scale, pattern, extra_shape = ctx.settings
        n, repeat, _, size = q.shape
        if torch.compiler.is_compiling():
            dweights = [None] * len(weights)
            by_operators = len(weights) > 1  # the compiler takes no slices to write into
        else:
            by_operators = torch.is_grad_enabled() or any(d is not None for d in dweights)
        if by_operators or dy is None:
            return _gradients(q, k, v, weights, dy, dweights, scale, pattern, extra_shape)
        cuts = blocks(pattern)
        dq = torch.empty_like(q)
        whole = len(cuts) == 1 and cuts[0][2:] == (0, k.shape[1])
        make = torch.empty_like if whole else torch.zeros_like
        dk, dv = make(k), make(v)
        dextra = q.new_zeros(extra_shape) if ctx.needs_input_grad[5] else None
        for (start, stop, low, high), p in zip(cuts, weights, strict=True):
            rows = repeat * (stop - start)
            dy_block = dy[:, :, start:stop].reshape(n, rows, -1)
            q_block = q[:, :, start:stop].reshape(n, rows, size)
            dp = torch.bmm(dy_block, v[:, low:high].transpose(1, 2))
            ds = torch._softmax_backward_data(dp, p, -1, p.dtype)
            if dextra is not None:
                by_head = ds.view(n, repeat, stop - start, high - low)
                dextra[:, :, start:stop, low:high] = by_head.sum_to_size(
                    n, extra_shape[1], *by_head.shape[2:]
                )
            part = torch.bmm(ds, k[:, low:high]).view(n, repeat, stop - start, size)
            torch.mul(part, scale, out=dq[:, :, start:stop])
            # beta = 0 overwrites: a single block has nothing to add to
            beta = 0 if whole else 1
            dv[:, low:high].baddbmm_(p.transpose(1, 2), dy_block, beta=beta)
            dk[:, low:high].baddbmm_(ds.transpose(1, 2), q_block, beta=beta, alpha=scale)
        return dq, dk, dv, None, None, dextra


def _gradients(
    q: torch.Tensor,
    k: torch.Tensor,
    v: torch.Tensor,
    weights: list[torch.Tensor],
    dy: torch.Tensor | None,
    dweights: list[torch.Tensor | None],
    scale: float,
    pattern: MaskPattern,
    extra_shape: torch.Size | None,
) -> tuple[torch.Tensor | None, ...]:
    """What ``Plain.backward`` returns, by operators that have gradients themselves."""
    n, repeat, queries, _ = q.shape
    if dy is None:
        dy = q.new_zeros(n, repeat, queries, v.shape[-1])
    dq, dk, dv, dextra = [], torch.zeros_like(k), torch.zeros_like(v), []
    for (start, stop, low, high), p, dp in zip(blocks(pattern), weights, dweights, strict=True):
        dy_block, q_block = (t[:, :, start:stop].flatten(1, 2) for t in (dy, q))
        of_y = dy_block @ v[:, low:high].mT
        dp = of_y if dp is None else of_y + dp
        ds = p * (dp - (dp * p).sum(dim=-1, keepdim=True))
        dextra.append(F.pad(ds.unflatten(1, (repeat, -1)), (low, k.shape[1] - high)))
        ds = scale * ds
        ends = (0, 0, low, k.shape[1] - high)  # rows of zeros for the keys of other blocks
        dk = dk + F.pad(ds.mT @ q_block, ends)
        dv = dv + F.pad(p.mT @ dy_block, ends)
        dq.append((ds @ k[:, low:high]).unflatten(1, (repeat, -1)))
    whole = None if extra_shape is None else torch.cat(dextra, dim=2).sum_to_size(extra_shape)
    return torch.cat(dq, dim=2), dk, dv, None, None, whole
