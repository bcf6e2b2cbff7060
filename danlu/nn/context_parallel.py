"""Sequences that lie over several processes, each of which has a stretch of the positions.

What acts on positions one by one needs nothing of it but the place of the first. Attention exchanges: every
process gives the others its positions of their heads, and then has all positions of its own heads
(DeepSpeed-Ulysses, Jacobs et al. 2023, arXiv:2309.14509). So masks, windows, documents and biases are those
of a whole sequence.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import torch
import torch.distributed as dist


@dataclass(frozen=True)
class ContextParallel:
    """``count`` processes, of which this one is the ``rank``-th, talk through ``group`` (a process group of
    torch.distributed) and hold equal stretches of every sequence, in the order of their ranks."""

    rank: int
    count: int
    group: Any

    def start(self, length: int) -> int:
        """The position in the sequence of the first of the ``length`` that are here."""
        return self.rank * length

    def to_heads(self, x: torch.Tensor) -> torch.Tensor:
        """All heads of these positions (batch, heads, T, size) → these heads, heads/count of them, at all
        positions (batch, heads/count, T·count, size)."""
        moved: torch.Tensor = _Exchange.apply(x, self, 1, 2)
        return moved

    def to_positions(self, x: torch.Tensor) -> torch.Tensor:
        """The inverse of ``to_heads``."""
        moved: torch.Tensor = _Exchange.apply(x, self, 2, 1)
        return moved

    def keys_to_heads(self, x: torch.Tensor) -> torch.Tensor:
        """``to_heads`` of keys or values, which may have fewer heads than there are processes, or a number
        that they don't divide: heads are then repeated, as few times as will do."""
        repeat = math.lcm(x.shape[1], self.count) // x.shape[1]
        return self.to_heads(x if repeat == 1 else x.repeat_interleave(repeat, dim=1))

    def swap(self, parts: torch.Tensor) -> torch.Tensor:
        """Give ``parts[i]`` to the i-th process, and take as the i-th part what that has for this one."""
        found = torch.empty_like(parts)
        dist.all_to_all_single(found, parts, group=self.group)
        return found

    def own(self, x: torch.Tensor, dim: int) -> torch.Tensor:
        """This process's part of what all have whole, along ``dim``."""
        return x.chunk(self.count, dim)[self.rank]


class _Exchange(torch.autograd.Function):
    """Cut along dimension ``give``, send every process its part, and join what comes along ``take``. The
    gradient takes the way back."""

    @staticmethod
    def forward(ctx: Any, x: torch.Tensor, over: ContextParallel, give: int, take: int) -> torch.Tensor:
        ctx.over, ctx.give, ctx.take = over, give, take
        return _exchange(x, over, give, take)

    @staticmethod
    def backward(ctx: Any, *grads: torch.Tensor) -> tuple[torch.Tensor, None, None, None]:
        return _exchange(grads[0], ctx.over, ctx.take, ctx.give), None, None, None


def _exchange(x: torch.Tensor, over: ContextParallel, give: int, take: int) -> torch.Tensor:
    return torch.cat(over.swap(torch.stack(x.chunk(over.count, give))).unbind(), take)
