"""A U-Net of images, a time and a class."""

from __future__ import annotations

from typing import Any

import torch
import torch.nn as nn
import torch.nn.functional as F

from danlu.models.drawn import Drawn
from danlu.nn import builds
from danlu.nn.conditions import Condition
from danlu.nn.convolutions import Conv2d, ConvBlock, ImageNorm
from danlu.spec import fields


@builds(fields.UNet)
class UNet(Drawn):
    """Images x (batch, channels, height, width), times t (batch) or a single one, classes int64 (batch; −1:
    none) or None → as x.

    Args: ``shape``: (channels, height, width); ``classes``: how many there are, 0 for none; ``settings``: the
    fields of ``danlu.spec.fields.UNet``. Raises ValueError where the images cannot be halved at every scale.
    """

    def __init__(self, shape: tuple[int, int, int], classes: int = 0, **settings: Any) -> None:
        super().__init__()
        network = fields.UNet(**settings)
        network.check_shape(shape)
        self.shape = shape
        told = 4 * network.width
        self.condition = Condition(told, network.time, classes)
        self.embedding = Conv2d(shape[0], network.width)
        widths = [scale * network.width for scale in network.scales]

        def block(inputs: int, outputs: int) -> ConvBlock:
            return ConvBlock(inputs, outputs, groups=network.groups, condition=told)

        # What is handed over: the embedding, every block's output, every halved image.
        handed, down, shrink, width = [network.width], [], [], network.width
        for i, wide in enumerate(widths):
            for _ in range(network.blocks):
                down.append(block(width, wide))
                handed.append(width := wide)
            if i + 1 < len(widths):
                shrink.append(Conv2d(width, width, stride=2))
                handed.append(width)
        middle, up, grow = block(width, width), [], []
        for i, wide in enumerate(reversed(widths)):
            for _ in range(network.blocks + 1):
                up.append(block(width + handed.pop(), wide))
                width = wide
            if i + 1 < len(widths):
                grow.append(Conv2d(width, width))
        self.scales, self.each = len(widths), network.blocks
        self.blocks = nn.ModuleList([*down, middle, *up])
        self.shrink, self.grow = nn.ModuleList(shrink), nn.ModuleList(grow)
        self.norm = ImageNorm(network.groups, width)
        self.readout = Conv2d(width, shape[0])
        self.initialise(network.init)

    def forward(
        self, x: torch.Tensor, t: torch.Tensor, condition: torch.Tensor | None = None
    ) -> torch.Tensor:
        told = self.condition(len(x), t, condition).to(self.compute)
        blocks = iter(self.blocks)
        y = self.embedding(x.to(self.compute))
        handed = [y]
        for i in range(self.scales):
            for _ in range(self.each):
                handed.append(y := next(blocks)(y, told))
            if i + 1 < self.scales:
                handed.append(y := self.shrink[i](y))
        y = next(blocks)(y, told)
        for i in range(self.scales):
            for _ in range(self.each + 1):
                y = next(blocks)(torch.cat([y, handed.pop()], dim=1), told)
            if i + 1 < self.scales:
                y = self.grow[i](F.interpolate(y, scale_factor=2.0, mode="nearest"))
        return self.result(self.readout(F.silu(self.norm(y))))

    def flops(self, batch: int) -> int:
        """FLOPs of the matrix products of a forward pass (a training step costs three times that)."""
        _, height, width = self.shape
        count = self.condition.flops(batch)
        sizes = [(height >> i, width >> i) for i in range(self.scales)]
        turns = [size for size in sizes for _ in range(self.each)] + [sizes[-1]]
        turns += [size for size in reversed(sizes) for _ in range(self.each + 1)]
        maps: list[tuple[Any, tuple[int, int]]] = list(zip(self.blocks, turns, strict=True))
        maps += zip(self.shrink, sizes, strict=False)
        maps += zip(self.grow, reversed(sizes[:-1]), strict=True)
        maps += [(self.embedding, sizes[0]), (self.readout, sizes[0])]
        return int(count + sum(part.flops(batch, *size) for part, size in maps))
