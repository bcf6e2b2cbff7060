"""Encoder/decoder pairs with a bottleneck between: data → code → data."""

from __future__ import annotations

import math
from itertools import pairwise
from typing import Any, Literal, NamedTuple

import torch
import torch.nn as nn
import torch.nn.functional as F

from danlu.models.drawn import Drawn
from danlu.nn import Linear, build, builds
from danlu.nn.bottlenecks import Bottled, Bottleneck, GaussianNoise, keyed
from danlu.nn.convolutions import Conv2d, ConvBlock, ImageNorm
from danlu.nn.feed_forwards import activation_of
from danlu.spec import bottlenecks as specs
from danlu.spec import pairs

_NARROW = specs.Gaussian()
Deviation = float | Literal["learned"]


class Passed(NamedTuple):
    """What became of a batch: ``encoded`` (batch, *places, takes); ``bottled``, what the bottleneck made of
    it; ``decoded`` (batch, *shape); ``nats`` (batch,): −ln p(x|z)."""

    encoded: torch.Tensor
    bottled: Bottled
    decoded: torch.Tensor
    nats: torch.Tensor


class Pair(Drawn):
    """A base class. A network sets ``code_shape``, of the code of one example; its constructor begins with
    ``narrow``.

    ``bottleneck``: what is between, which says how many numbers a vector has that is encoded (``takes``) and
    decoded (``gives``). ``noise``: the decoder's; a learned one starts at 1.
    """

    bottleneck: Bottleneck
    code_shape: tuple[int, ...]

    def narrow(self, bottleneck: specs.Bottleneck, noise: Deviation) -> None:
        """Add what is between, and the decoder's noise."""
        self.bottleneck = build(bottleneck)
        learned = noise == "learned"
        self.noise = GaussianNoise(deviation=1.0 if learned else float(noise), learned=learned)

    def encode(self, x: torch.Tensor) -> torch.Tensor:
        """Data (batch, *shape) → (batch, *places, takes)."""
        raise NotImplementedError

    def decode(self, code: torch.Tensor) -> torch.Tensor:
        """(batch, *places, gives) → (batch, *shape)."""
        raise NotImplementedError

    def forward(
        self,
        x: torch.Tensor | None = None,
        keys: torch.Tensor | None = None,
        *,
        code: torch.Tensor | None = None,
    ) -> Any:
        """Data through the bottleneck and back, ``Passed``; of a ``code`` in their place, what is decoded.
        ``keys`` (batch,) int64: what noise is made of (``danlu.nn.bottlenecks.keyed``); without them the
        most likely value passes."""
        if x is None:
            assert code is not None
            return self.decode(code)
        encoded = self.encode(x)
        noise = None
        if keys is not None:
            made = keyed(self.bottleneck.noise, keys, math.prod(encoded.shape[1:-1]))
            noise = None if made is None else made.view(*encoded.shape[:-1], -1)
        bottled = self.bottleneck(encoded, noise)
        decoded = self.decode(bottled.value)
        return Passed(encoded, bottled, decoded, -self.noise(x.flatten(1), decoded.flatten(1)))


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
    """Two MLPs: (batch, *shape) → (batch, takes), and (batch, gives) → (batch, *shape); with several
    ``places``, (batch, places, …) both.

    Args: ``shape`` of an example, flattened inside; ``bottleneck``: its specification; ``noise``: the
    decoder's; ``settings``: the fields of ``danlu.spec.pairs.VectorPair``.
    """

    def __init__(
        self,
        shape: tuple[int, ...],
        bottleneck: specs.Bottleneck = _NARROW,
        noise: Deviation = "learned",
        **settings: Any,
    ) -> None:
        super().__init__()
        network = pairs.VectorPair(**settings)
        self.narrow(bottleneck, noise)
        places = (network.places,) if network.places > 1 else ()
        self.shape, self.code_shape = shape, (*places, self.bottleneck.gives)
        self.encoded_shape = (*places, self.bottleneck.takes)
        numbers, hidden = math.prod(shape), [network.width] * network.layers
        given = math.prod(self.code_shape)

        def hiddens(inputs: int) -> list[_Hidden]:
            sizes = [inputs, *hidden]
            return [_Hidden(a, b, network.activation) for a, b in zip(sizes, hidden, strict=False)]

        last = network.width if hidden else None
        self.encoder = nn.Sequential(*hiddens(numbers))
        self.code = Linear(last or numbers, math.prod(self.encoded_shape))
        self.decoder = nn.Sequential(*hiddens(given))
        self.readout = Linear(last or given, numbers)
        self.blocks = (*self.encoder, *self.decoder)
        self.initialise(network.init)

    def encode(self, x: torch.Tensor) -> torch.Tensor:
        made = self.result(self.code(self.encoder(x.flatten(1).to(self.compute))))
        return made.unflatten(-1, self.encoded_shape)

    def decode(self, code: torch.Tensor) -> torch.Tensor:
        made = self.result(self.readout(self.decoder(code.flatten(1).to(self.compute))))
        return made.unflatten(-1, self.shape)

    def flops(self, batch: int) -> int:
        """FLOPs of the matrix products of a forward pass (a training step costs three times that)."""
        parts: Any = [*self.encoder, self.code, *self.decoder, self.readout]
        between = self.bottleneck.flops(batch * math.prod(self.code_shape[:-1]))
        return between + sum(part.flops(batch) for part in parts)


class _Scale(nn.Sequential):
    """Blocks one after another."""

    def flops(self, batch: int, height: int, width: int) -> int:
        return sum(block.flops(batch, height, width) for block in self)  # type: ignore[operator]


@builds(pairs.ImagePair)
class ImagePair(Pair):
    """Two convolutional networks: images (batch, channels, height, width) → a grid (batch, h, w, takes), or
    where ``flat`` (batch, takes), and back.

    Args: ``shape``: (channels, height, width); ``bottleneck``: its specification; ``noise``: the decoder's;
    ``settings``: the fields of ``danlu.spec.pairs.ImagePair``. Raises ValueError where the images cannot be
    halved at every scale.
    """

    def __init__(
        self,
        shape: tuple[int, int, int],
        bottleneck: specs.Bottleneck = _NARROW,
        noise: Deviation = "learned",
        **settings: Any,
    ) -> None:
        super().__init__()
        network = pairs.ImagePair(**settings)
        network.check_shape(shape)
        self.narrow(bottleneck, noise)
        self.shape, self.flat = shape, network.flat
        given = self.bottleneck.gives
        widths = [scale * network.width for scale in network.scales]
        self.sizes = [(shape[1] >> i, shape[2] >> i) for i in range(len(widths))]
        self.grid = self.sizes[-1]
        self.code_shape = (given,) if self.flat else (*self.grid, given)

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
        self.code = Linear(deep * count, self.bottleneck.takes)
        self.expand = Linear(given, deep * count)
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
        """FLOPs of the matrix products of a forward pass (a training step costs three times that)."""
        up = self.sizes[::-1]
        maps: list[tuple[Any, tuple[int, int]]] = [(self.embedding, up[-1]), (self.readout, up[-1])]
        for scales, sizes in ((self.encoder, self.sizes), (self.decoder, up)):
            maps += zip(scales, sizes, strict=True)
        maps += zip(self.shrink, self.sizes, strict=False)
        maps += zip(self.grow, up[1:], strict=True)
        rows = batch if self.flat else batch * math.prod(self.grid)
        ends = self.code.flops(rows) + self.bottleneck.flops(rows) + self.expand.flops(rows)
        return ends + sum(int(part.flops(batch, *size)) for part, size in maps)
