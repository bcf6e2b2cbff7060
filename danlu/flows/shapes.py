"""Batches of any trailing shape: a number for each row, the size of a row, its length."""

from __future__ import annotations

import math

import torch
from torch import Tensor


def over(t: Tensor | float, x: Tensor) -> Tensor:
    """``t``, a number or (batch,), shaped to multiply ``x`` (batch, …), in its type. Raises ValueError where
    it is of another shape: (batch, 1) would give (batch, batch, …) without a word."""
    t = torch.as_tensor(t, dtype=x.dtype, device=x.device)
    if t.ndim == 0:
        return t
    if t.shape != x.shape[:1]:
        raise ValueError(
            f"a time or level of shape {tuple(t.shape)} for x of shape {tuple(x.shape)}; "
            f"allowed: a number, or one for each row, ({x.shape[0]},)"
        )
    return t.reshape(-1, *[1] * (x.ndim - 1))


def rows(x: Tensor) -> Tensor:
    """(batch, …) → (batch, size)."""
    return x.reshape(x.shape[0], size(x))


def size(x: Tensor) -> int:
    """How many numbers a row of ``x`` (batch, …) has."""
    return math.prod(x.shape[1:])


def length(x: Tensor) -> Tensor:
    """The Euclidean length of each row: (batch, …) → (batch,). Its derivative at 0 is 0."""
    return torch.linalg.vector_norm(rows(x), dim=1)


def wide(x: Tensor) -> Tensor:
    """``x`` in float64, in which solvers add up their steps; float32 on a device that has no float64
    (MPS)."""
    return x.to(torch.float32 if x.device.type == "mps" else torch.float64)
