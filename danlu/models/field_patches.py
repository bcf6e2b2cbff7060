"""A transformer on the patches of an image, a time and a class."""

from __future__ import annotations

from typing import Any

import torch
import torch.nn as nn

from danlu.models.drawn import Drawn
from danlu.nn import FiLM, Learned, Linear, build, builds
from danlu.nn.conditions import AdaptiveNorm, Condition
from danlu.nn.masks import AttentionMask
from danlu.spec import fields


class _Block(nn.Module):
    """Attention and a feed-forward layer, each x + gate ⊙ f(norm(x)) with an adaptive norm."""

    def __init__(self, network: fields.FieldPatches) -> None:
        super().__init__()
        width = network.width
        self.mixer_norm, self.feed_forward_norm = AdaptiveNorm(width, width), AdaptiveNorm(width, width)
        self.mixer = build(network.mixer, width, None, bias=True)
        self.feed_forward = build(network.feed_forward, width, bias=True)

    def forward(self, x: torch.Tensor, told: torch.Tensor) -> torch.Tensor:
        y, gate = self.mixer_norm(x, told)
        x = torch.addcmul(x, gate, self.mixer(y, AttentionMask(False, 0, None)))
        y, gate = self.feed_forward_norm(x, told)
        return torch.addcmul(x, gate, self.feed_forward(y))

    def branch_ends(self) -> list[Linear]:
        """The last maps of the branches, which initialisations scale."""
        return [self.mixer.out, self.feed_forward.out]

    def flops(self, batch: int, length: int) -> int:
        norms = self.mixer_norm.flops(batch) + self.feed_forward_norm.flops(batch)
        return int(norms + self.mixer.flops(batch, length) + self.feed_forward.flops(batch * length))


@builds(fields.FieldPatches)
class FieldPatches(Drawn):
    """Images x (batch, channels, height, width), times t (batch) or a single one, classes int64 (batch; −1:
    none) or None → as x.

    Args: ``shape``: (channels, height, width); ``classes``: how many there are, 0 for none; ``settings``: the
    fields of ``danlu.spec.fields.FieldPatches``. Raises ValueError where patches do not fill the images.
    """

    def __init__(self, shape: tuple[int, int, int], classes: int = 0, **settings: Any) -> None:
        super().__init__()
        network = fields.FieldPatches(**settings)
        network.check_shape(shape)
        channels, height, width = shape
        self.patch = network.patch
        self.down, self.right = height // self.patch, width // self.patch
        pixels = channels * self.patch**2
        self.condition = Condition(network.width, network.time, classes)
        self.embedding = Linear(pixels, network.width)
        self.position = Learned(network.width, self.down * self.right)
        self.blocks = nn.ModuleList(_Block(network) for _ in range(network.layers))
        self.norm = FiLM(network.width, condition=network.width)
        self.readout = Linear(network.width, pixels)
        self.initialise(network.init)

    def forward(
        self, x: torch.Tensor, t: torch.Tensor, condition: torch.Tensor | None = None
    ) -> torch.Tensor:
        told = self.condition(len(x), t, condition).to(self.compute)
        p = self.patch
        tiles = x.unflatten(-1, (self.right, p)).unflatten(2, (self.down, p))  # B, C, down, p, right, p
        y = self.embedding(tiles.permute(0, 2, 4, 1, 3, 5).flatten(3).flatten(1, 2).to(self.compute))
        y = y + self.position.at(0, y.shape[1]).to(y.dtype)
        for block in self.blocks:
            y = block(y, told)
        y = self.result(self.readout(self.norm(y, told)))
        tiles = y.view(len(x), self.down, self.right, x.shape[1], p, p)
        return tiles.permute(0, 3, 1, 4, 2, 5).reshape(x.shape)

    def flops(self, batch: int) -> int:
        """FLOPs of the matrix products of a forward pass (a training step costs three times that)."""
        length = self.down * self.right
        ends: list[Any] = [self.embedding, self.readout]
        told: list[Any] = [self.condition, self.norm]
        blocks: Any = self.blocks
        return int(
            sum(end.flops(batch * length) for end in ends)
            + sum(part.flops(batch) for part in told)
            + sum(block.flops(batch, length) for block in blocks)
        )
