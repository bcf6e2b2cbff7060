"""Code words that follow the vectors that fall on them: what codebooks have in common."""

from __future__ import annotations

from abc import abstractmethod

import torch
import torch.distributed
import torch.nn as nn


class MovingCodes(nn.Module):
    """A base class: tables whose code words are moving averages (van den Oord et al. 2017, appendix A.1).

    Buffers, float32: ``counts``, of any shape, initially 1; ``sums``, of that shape and (size,). In training
    each pass calls ``gather``; ``after_update`` moves the averages by what was gathered since the last one,
    in all processes: counts ← γ·counts + (1 − γ)·n, γ = ``decay``, and sums alike. Then ``renew`` makes the
    code words of them. What an update that is left out has gathered, ``skip_update`` lets go.
    """

    decay: float
    over: torch.distributed.ProcessGroup | None = None  # those with other vectors; None: all processes
    counts: torch.Tensor
    sums: torch.Tensor
    _new_counts: torch.Tensor
    _new_sums: torch.Tensor

    def average(self, shape: tuple[int, ...], size: int, decay: float) -> None:
        """Make the buffers; the constructor calls it."""
        self.decay = decay
        self.register_buffer("counts", torch.ones(shape))
        self.register_buffer("sums", torch.zeros(*shape, size))
        self.register_buffer("_new_counts", torch.zeros(shape), persistent=False)
        self.register_buffer("_new_sums", torch.zeros(*shape, size), persistent=False)
        self._gathered = False  # since the last update; a look at the counts would wait for the device

    @torch.no_grad()
    def gather(self, vectors: torch.Tensor, rows: torch.Tensor) -> torch.Tensor:
        """Take in ``vectors`` (n, size), which fell on the code words ``rows`` (n,) int64 of the flat table.
        Returns how many fell on each, in the shape of ``counts``."""
        self._gathered = True
        count = torch.zeros_like(self.counts).view(-1)
        count.scatter_add_(0, rows, torch.ones_like(rows, dtype=count.dtype))
        self._new_counts.add_(count.view_as(self.counts))  # in place, whatever view of the whole it is
        vectors = vectors.to(self.sums.dtype)
        sums = self._new_sums.view(-1, vectors.shape[-1])
        sums.scatter_add_(0, rows[:, None].expand_as(vectors), vectors)
        return count.view_as(self.counts)

    @torch.no_grad()
    def after_update(self) -> None:
        """Move the averages by what was gathered since the last call; nothing where nothing was."""
        if torch.distributed.is_available() and torch.distributed.is_initialized():
            self.share()
        if not self._gathered:
            return
        self.counts.lerp_(self._new_counts, 1 - self.decay)
        self.sums.lerp_(self._new_sums, 1 - self.decay)
        self.renew()
        self.skip_update()

    def share(self) -> None:
        """Let what all processes gathered be what each has."""
        torch.distributed.all_reduce(self._new_counts, group=self.over)
        torch.distributed.all_reduce(self._new_sums, group=self.over)

    @abstractmethod
    def renew(self) -> None:
        """Make the code words of ``counts`` and ``sums``."""

    def skip_update(self) -> None:
        """Let go of what was gathered."""
        self._gathered = False
        self._new_counts.zero_()
        self._new_sums.zero_()
