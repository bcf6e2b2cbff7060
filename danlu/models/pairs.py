"""Encoder/decoder pairs: data → code → data. What is done to the code between is no business of theirs.

The numbers of a code are its last dimension. An encoder may give several for each number of the code
(``statistics``: a mean and a logarithm of a variance, say), side by side.
"""

from __future__ import annotations

import math
from itertools import pairwise
from typing import Any

import torch
import torch.nn as nn
import torch.nn.functional as F

from danlu.models.drawn import Drawn
from danlu.nn import Linear, builds
from danlu.nn.convolutions import Conv2d, ConvBlock, ImageNorm
from danlu.nn.feed_forwards import activation_of
from danlu.spec import pairs


class Pair(Drawn):
    """A base class: ``encode`` and ``decode``; ``forward`` is one after the other, on the first statistic.

    ``latent``: numbers of a code. ``code_shape``: of the code of one example.
    """

    latent: int
    code_shape: tuple[int, ...]

    def encode(self, x: torch.Tensor) -> torch.Tensor:
        """Data (batch, *shape) → (batch, *places, statistics · latent)."""
        raise NotImplementedError

    def decode(self, code: torch.Tensor) -> torch.Tensor:
        """(batch, *places, latent) → (batch, *shape)."""
        raise NotImplementedError

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.decode(self.encode(x)[..., : self.latent])


class _Hidden(nn.Module):
    """act(Wx)."""

    def __init__(self, inputs: int, outputs: int, activation: Any) -> None:
        super().__init__()
        self.linear = Linear(inputs, outputs)
        self.activation = activation_of(activation)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.activation(self.linear(x))

    def flops(self, rows: int) -> int:
        return self.linear.flops(rows)


@builds(pairs.VectorPair)
class VectorPair(Pair):
    """Two MLPs: (batch, *shape) → (batch, statistics · latent), and (batch, latent) → (batch, *shape).

    Args: ``shape`` of an example, flattened inside; ``statistics`` for each number of the code; ``settings``:
    the fields of ``danlu.spec.pairs.VectorPair``.
    """

    def __init__(self, shape: tuple[int, ...], statistics: int = 1, **settings: Any) -> None:
        super().__init__()
        network = pairs.VectorPair(**settings)
        self.shape, self.latent, self.code_shape = shape, network.latent, (network.latent,)
        numbers, hidden = math.prod(shape), [network.width] * network.layers

        def hiddens(inputs: int) -> list[_Hidden]:
            sizes = [inputs, *hidden]
            return [_Hidden(a, b, network.activation) for a, b in zip(sizes, hidden, strict=False)]

        last = network.width if hidden else None
        self.encoder = nn.Sequential(*hiddens(numbers))
        self.code = Linear(last or numbers, statistics * network.latent)
        self.decoder = nn.Sequential(*hiddens(network.latent))
        self.readout = Linear(last or network.latent, numbers)
        self.blocks = (*self.encoder, *self.decoder)
        self.initialise(network.init)

    def encode(self, x: torch.Tensor) -> torch.Tensor:
        return self.result(self.code(self.encoder(x.flatten(1).to(self.compute))))

    def decode(self, code: torch.Tensor) -> torch.Tensor:
        made = self.result(self.readout(self.decoder(code.to(self.compute))))
        return made.unflatten(-1, self.shape)

    def flops(self, batch: int) -> int:
        """FLOPs of the matrix products of both (a training step costs three times that)."""
        parts: Any = [*self.encoder, self.code, *self.decoder, self.readout]
        return sum(part.flops(batch) for part in parts)


class _Scale(nn.Sequential):
    """Blocks one after another."""

    def flops(self, batch: int, height: int, width: int) -> int:
        return sum(block.flops(batch, height, width) for block in self)  # type: ignore[operator]


@builds(pairs.ImagePair)
class ImagePair(Pair):
    """Two convolutional networks: images (batch, channels, height, width) → a grid (batch, h, w, statistics ·
    latent), or where ``flat`` (batch, statistics · latent), and back.

    Args: ``shape``: (channels, height, width); ``statistics`` for each number of the code; ``settings``: the
    fields of ``danlu.spec.pairs.ImagePair``. Raises ValueError where the images cannot be halved at every
    scale.
    """

    def __init__(self, shape: tuple[int, int, int], statistics: int = 1, **settings: Any) -> None:
        super().__init__()
        network = pairs.ImagePair(**settings)
        network.check(shape)
        self.shape, self.latent, self.flat = shape, network.latent, network.flat
        widths = [scale * network.width for scale in network.scales]
        self.sizes = [(shape[1] >> i, shape[2] >> i) for i in range(len(widths))]
        self.grid = self.sizes[-1]
        self.code_shape = (self.latent,) if self.flat else (*self.grid, self.latent)

        def scale(inputs: int, outputs: int) -> _Scale:
            made = [
                ConvBlock(outputs if i else inputs, outputs, groups=network.groups)
                for i in range(network.blocks)
            ]
            return _Scale(*made)

        deep, places = widths[-1], math.prod(self.grid)
        self.embedding = Conv2d(shape[0], network.width)
        self.encoder = nn.ModuleList(scale(a, b) for a, b in pairwise([network.width, *widths]))
        self.shrink = nn.ModuleList(Conv2d(width, width, stride=2) for width in widths[:-1])
        self.code_norm = ImageNorm(network.groups, deep)
        self.decoder = nn.ModuleList(scale(a, b) for a, b in pairwise([deep, *reversed(widths)]))
        self.grow = nn.ModuleList(Conv2d(width, width) for width in reversed(widths[1:]))
        self.norm = ImageNorm(network.groups, widths[0])
        # A map at each place of a grid, or one of all places.
        count = places if self.flat else 1
        self.code = Linear(deep * count, statistics * network.latent)
        self.expand = Linear(network.latent, deep * count)
        self.readout = Conv2d(widths[0], shape[0])
        self.blocks = [block for block in self.modules() if isinstance(block, ConvBlock)]
        self.initialise(network.init)

    def encode(self, x: torch.Tensor) -> torch.Tensor:
        y = self.embedding(x.to(self.compute))
        for i, blocks in enumerate(self.encoder):
            y = blocks(y if i == 0 else self.shrink[i - 1](y))
        y = F.silu(self.code_norm(y))
        return self.result(self.code(y.flatten(1) if self.flat else y.movedim(1, -1)))

    def decode(self, code: torch.Tensor) -> torch.Tensor:
        y = self.expand(code.to(self.compute))
        y = y.view(len(y), -1, *self.grid) if self.flat else y.movedim(-1, 1)
        for i, blocks in enumerate(self.decoder):
            y = blocks(y if i == 0 else self.grow[i - 1](F.interpolate(y, scale_factor=2.0, mode="nearest")))
        return self.result(self.readout(F.silu(self.norm(y))))

    def flops(self, batch: int) -> int:
        """FLOPs of the matrix products of both (a training step costs three times that)."""
        up = self.sizes[::-1]
        maps: list[tuple[Any, tuple[int, int]]] = [(self.embedding, up[-1]), (self.readout, up[-1])]
        for scales, sizes in ((self.encoder, self.sizes), (self.decoder, up)):
            maps += zip(scales, sizes, strict=True)
        maps += zip(self.shrink, self.sizes, strict=False)
        maps += zip(self.grow, up[1:], strict=True)
        rows = batch if self.flat else batch * math.prod(self.grid)
        ends = self.code.flops(rows) + self.expand.flops(rows)
        return ends + sum(int(part.flops(batch, *size)) for part, size in maps)
