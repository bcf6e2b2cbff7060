"""Attention by plain matrix products, with the backward pass written out."""

from __future__ import annotations

from typing import Any

import torch

from danlu.nn.scope import Span, hiding

BLOCK = 128  # queries whose scores are held at once; keys that none of them sees are never computed


def blocks(span: Span) -> list[tuple[int, int, int, int]]:
    """Slices (first query, last query, first key, last key) that together hold every visible pair."""
    cuts = range(0, span.queries, BLOCK)
    return [(i, min(i + BLOCK, span.queries), *span.keys_of(i, min(i + BLOCK, span.queries))) for i in cuts]


class Plain(torch.autograd.Function):
    """Attention by two matrix products a block.

    Written out because autograd would keep and read the scores several times over, and a CPU is bound
    by memory there: scale and mask ride along in the first product, the softmax is in place, only the
    weights are kept. Scores and weights have the inputs' type, the softmax sums in float32.

    q (n, r, T, d) holds r query heads for each of the n key heads of k (n, S, d) and v (n, S, e); ``extra``
    (n, 1 or r, T, S) is added to the scores.
    """

    @staticmethod
    def forward(
        ctx: Any,
        q: torch.Tensor,
        k: torch.Tensor,
        v: torch.Tensor,
        scale: float,
        span: Span,
        extra: torch.Tensor | None,
    ) -> torch.Tensor:
        n, repeat = q.shape[:2]
        mixed, weights = [], []
        for start, stop, low, high in blocks(span):
            bias = hiding(span, start, stop, q.dtype, q.device)[None]
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
        ctx.save_for_backward(q, k, v, *weights)
        ctx.settings = scale, span, None if extra is None else extra.shape
        return y

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, *grads: torch.Tensor) -> tuple[torch.Tensor | None, ...]:
        (dy,) = grads
        q, k, v, *weights = ctx.saved_tensors
        scale, span, extra_shape = ctx.settings
        n, repeat, _, size = q.shape
        cuts = blocks(span)
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
