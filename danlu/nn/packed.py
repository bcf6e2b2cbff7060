"""Attention over packed documents by PyTorch's kernel for sequences of different lengths: no mask, no pair of
two documents. The rows of a batch are laid end to end, and where a document begins there is a boundary.

It is measured (``python -m bench.gpu --only flex``) and not yet chosen: FlexAttention does the same.
"""

from __future__ import annotations

import inspect
from importlib.util import find_spec

import torch

from danlu.nn.fused import filled, first


def packs(device: str) -> bool:
    """Whether this PyTorch has such a kernel, with windows and shared keys, and for ``device``."""
    if device != "cuda" or find_spec("torch.nn.attention.varlen") is None:
        return False
    from torch.nn.attention.varlen import varlen_attn

    return {"window_size", "scale", "enable_gqa"} <= inspect.signature(varlen_attn).parameters.keys()


def boundaries(documents: torch.Tensor, room: int | None = None) -> torch.Tensor:
    """Where each document begins among all positions of a batch, and where the last one ends: int32,
    (room + 1,), filled up with that end, so that sequences of no length follow. Its size is the same for
    every batch, whatever the documents, and nothing is read from the device.

    ``documents``: (batch, positions), as ``AttentionMask``'s; a document is a run of one number within a row.
    ``room``: the most documents of a batch (left out: as many as positions, which is always enough; where
    there are more, the last one takes in those that have no room, and sees across them).

    >>> boundaries(torch.tensor([[0, 0, 1], [1, 4, 4]]))
    tensor([0, 2, 3, 4, 6, 6, 6], dtype=torch.int32)
    """
    begins = torch.ones_like(documents, dtype=torch.bool)
    begins[:, 1:] = documents[:, 1:] != documents[:, :-1]
    begins, total = begins.flatten(), documents.numel()
    place = torch.arange(total, device=documents.device)
    at = torch.where(begins, place, total).sort().values.to(torch.int32)
    size = total if room is None else room
    found = torch.full((size + 1,), total, dtype=torch.int32, device=documents.device)
    found[: min(size, total)] = at[:size]
    return found


def packed(
    q: torch.Tensor,
    k: torch.Tensor,
    v: torch.Tensor,
    *,
    scale: float,
    documents: torch.Tensor,
    window: int | None = None,
    room: int | None = None,
) -> torch.Tensor:
    """Causal attention within documents, shapes as ``danlu.nn.attend``'s with as many keys as queries, in
    half precision. ``window``: as ``spec.Attention``'s; ``room``: as in ``boundaries``."""
    from torch.nn.attention.varlen import varlen_attn

    batch, heads, length, _ = q.shape
    size = v.shape[-1]
    query, key, value = (filled(t, 8).transpose(1, 2).flatten(0, 1) for t in (q, k, v))
    at = boundaries(documents, room)
    seen = (-1 if window is None else window - 1, 0)
    gqa = heads != k.shape[1]
    y = varlen_attn(
        query, key, value, at, at, length, length, scale=scale, window_size=seen, enable_gqa=gqa
    )  # fmt: skip
    assert isinstance(y, torch.Tensor)
    return first(y, size).unflatten(0, (batch, length)).transpose(1, 2)
