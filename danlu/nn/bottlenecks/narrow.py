"""A bottleneck in the stream of a network: all that the layers after it know has passed through it."""

from __future__ import annotations

from collections.abc import Callable
from typing import ClassVar

import torch
import torch.nn as nn

from danlu.nn.bottlenecks.contract import Bottled, Bottleneck
from danlu.nn.bottlenecks.gaussian import Gaussian
from danlu.nn.bottlenecks.information import information
from danlu.nn.bottlenecks.noise import keyed
from danlu.nn.bottlenecks.relaxed import Binary, Gumbel
from danlu.nn.linear import Linear
from danlu.nn.registry import build
from danlu.spec import bottlenecks as specs
from danlu.spec.norms import Norm
from danlu.spec.optim import Role

MOST_COUNTED = 1 << 20  # codes of a group; more have no table
ACTIVE = 0.01  # of a latent number's variance over a set (Burda et al. 2016)
KEPT, OF_A_ROW = 1024, 16  # vectors that information is taken over, and so many of a row at most


class Narrow(nn.Module):
    """x → up(bottleneck(down(norm(x)))), with no way around it.

    Args: ``width`` of the stream; specifications of the ``bottleneck`` and of the ``norm``.
    Shapes: (batch, positions, width) → the same.

    In training it sets ``auxiliary``, the bottleneck's penalty, a mean over positions. Its noise is made of
    ``row_keys`` (batch,) int64, which whoever trains sets before a pass (``danlu.nn.tell_rows``); rows
    without keys are numbered. In evaluation the most likely value passes, and what passed is counted, each
    row by its ``row_weights`` (batch,), until ``forget``. Of a Gaussian some vectors are kept, those of the
    first rows by their ``row_places`` (batch,) int64 in the held-out set, where these are told.
    """

    codes: torch.Tensor
    vectors: torch.Tensor
    nats: torch.Tensor
    sums: torch.Tensor
    squares: torch.Tensor
    kept: torch.Tensor
    parameter_roles: ClassVar[dict[str, Role]] = {"down.weight": "kernel", "up.weight": "kernel"}

    def __init__(self, width: int, bottleneck: specs.Bottleneck, norm: Norm) -> None:
        super().__init__()
        self.norm = build(norm, width)
        self.between: Bottleneck = build(bottleneck)
        self.down, self.up = Linear(width, self.between.takes), Linear(self.between.gives, width)
        self.auxiliary: torch.Tensor | None = None
        self.row_keys: torch.Tensor | None = None
        self.row_weights: torch.Tensor | None = None
        self.row_places: torch.Tensor | None = None
        self.gaussian = isinstance(self.between, Gaussian)
        codes = self.between.codes if self.between.codes <= MOST_COUNTED else 0
        size = self.between.gives if self.gaussian else 0
        self.register_buffer("codes", _zeros(self.between.groups if codes else 0, codes), persistent=False)
        self.register_buffer("vectors", _zeros(), persistent=False)
        self.register_buffer("nats", _zeros(), persistent=False)
        self.register_buffer("sums", _zeros(size), persistent=False)
        self.register_buffer("squares", _zeros(size), persistent=False)
        # Of each 1, its means and log-variances; the last takes what is not kept.
        table = _zeros(KEPT + 1, 1 + 2 * size) if size else _zeros(0)
        self.register_buffer("kept", table, persistent=False)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        z = self.down(self.norm(x))
        if not self.training:
            out = self.between(z)
            self._count(out, z)
            return self.up(out.value)
        keys = self.row_keys
        if keys is None or len(keys) != len(x):
            keys = torch.arange(len(x), device=x.device)
        out = self.between(z, keyed(self.between.noise, keys, x.shape[1]))
        self.auxiliary = out.penalty
        return self.up(out.value)

    @torch.no_grad()
    def _count(self, out: Bottled, z: torch.Tensor) -> None:
        rows = self.row_weights
        if rows is None or len(rows) != len(z):
            rows = z.new_ones(len(z))
        weights = rows.double()[:, None].expand(z.shape[:2])
        self.vectors += weights.sum()
        if out.codes is not None and self.codes.numel():
            groups, size = self.codes.shape
            flat = (out.codes + torch.arange(groups, device=z.device) * size).flatten()
            self.codes.view(-1).scatter_add_(0, flat, weights[..., None].expand(out.codes.shape).flatten())
        if out.kl is not None:
            self.nats += (out.kl.double().sum(-1) * weights).sum()
        if self.gaussian:
            mean = out.value.double()
            self.sums += (mean * weights[..., None]).sum((0, 1))
            self.squares += (mean.square() * weights[..., None]).sum((0, 1))
            self._keep(z.double(), rows)

    def _keep(self, z: torch.Tensor, rows: torch.Tensor) -> None:
        """Each vector at a place of its own, which depends on neither batches nor processes."""
        if self.row_places is None or len(self.row_places) != len(z):
            return
        apart = -(-z.shape[1] // OF_A_ROW)
        some = z[:, ::apart]
        places = self.row_places[:, None] * some.shape[1] + torch.arange(some.shape[1], device=z.device)
        places = torch.where(rows[:, None] > 0, places, KEPT).clamp(max=KEPT).flatten()
        told = torch.cat([torch.ones_like(some[..., :1]), some], -1).flatten(0, 1)
        self.kept.index_copy_(0, places, told)

    def forget(self) -> None:
        """Begin counting anew."""
        for counted in (self.codes, self.vectors, self.nats, self.sums, self.squares, self.kept):
            counted.zero_()

    def told(self, over_all: Callable[[torch.Tensor], torch.Tensor]) -> dict[str, float]:
        """Of what passed since ``forget``: ``code_perplexity`` and ``used_codes``, means over groups (of the
        perplexity the geometric one); ``bottleneck_nats``, the mean KL of a vector where it has one; of a
        Gaussian ``active_units``, and of the vectors that were kept ``information``, I(x; z) in nats with a
        draw of each, and ``information_cap``, ln of their number, which it cannot exceed. ``over_all`` sums a
        tensor over processes."""
        count, found = over_all(self.vectors), {}
        if self.codes.numel():
            share = over_all(self.codes) / count
            found["code_perplexity"] = float(torch.special.entr(share).sum(-1).mean().exp())
            found["used_codes"] = float((share > 0).sum(-1).double().mean())
        if isinstance(self.between, Gaussian | Gumbel | Binary):
            found["bottleneck_nats"] = float(over_all(self.nats) / count)
        if self.gaussian:
            variance = over_all(self.squares) / count - (over_all(self.sums) / count).square()
            found["active_units"] = float((variance > ACTIVE).sum())
            kept = over_all(self.kept)[:KEPT]
            found |= self._information(kept[kept[:, 0] == 1, 1:])
        return found

    def _information(self, kept: torch.Tensor) -> dict[str, float]:
        if not len(kept):
            return {}
        mean, log_variance = kept.chunk(2, -1)
        noise = keyed(self.between.noise, torch.arange(len(kept), device=kept.device), 1)
        assert noise is not None
        said = information(mean, log_variance, mean + torch.exp(0.5 * log_variance) * noise[:, 0])
        return {"information": said.information, "information_cap": said.cap}

    def flops(self, rows: int) -> int:
        """FLOPs of the matrix products over ``rows`` vectors."""
        return self.down.flops(rows) + self.between.flops(rows) + self.up.flops(rows)


def _zeros(*size: int) -> torch.Tensor:
    return torch.zeros(size, dtype=torch.float64)
