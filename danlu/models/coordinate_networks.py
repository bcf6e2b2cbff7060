"""Networks of coordinates: a picture, a sound or a shape is what one of them computes."""

from __future__ import annotations

import math
from itertools import pairwise
from typing import Any

import torch
import torch.nn as nn

from danlu import spec
from danlu.models.drawn import Drawn
from danlu.nn import Linear, build, builds
from danlu.nn.coordinates import Encoding, Sine, draw_siren
from danlu.nn.feed_forwards import activation_of
from danlu.nn.lipschitz import SLOPES, product, upper_bound
from danlu.nn.orthogonal import GroupSort, OrthogonalLinear
from danlu.spec import coordinate_networks as networks


@builds(networks.Siren)
class Siren(Drawn):
    """Coordinates (…, inputs), from −1 to 1 → values (…, outputs): sines, and a linear map.

    Args: ``inputs``, ``outputs``; ``settings``: the fields of ``danlu.spec.coordinate_networks.Siren``. All
    weights are drawn as the paper's code does (``danlu.nn.coordinates.Sine``).
    """

    readout: Linear

    def __init__(self, inputs: int, outputs: int, **settings: Any) -> None:
        super().__init__()
        network = networks.Siren(**settings)
        self.omega = network.omega
        self.embedding = Sine(inputs, network.width, omega=network.first_omega, first=True)
        self.blocks = nn.ModuleList(
            Sine(network.width, network.width, omega=network.omega) for _ in range(network.layers - 1)
        )
        self.readout = Linear(network.width, outputs)
        self.initialise(spec.Init(branch="same"))

    def finish(self, init: spec.Init, modules: Any) -> None:
        """The readout follows sines as well."""
        if self.readout in modules:  # whose stream it is that was begun last
            draw_siren(self.readout, self.omega)

    def forward(self, coordinates: torch.Tensor) -> torch.Tensor:
        x = self.embedding(coordinates.to(torch.promote_types(self.compute, torch.float32)))
        x = x.to(self.compute)
        for block in self.blocks:
            x = block(x)
        return self.result(self.readout(x))

    def lipschitz(self) -> float:
        """An upper bound: the product over layers."""
        return product([self.embedding, *self.blocks, self.readout])

    def flops(self, rows: int) -> int:
        """FLOPs of the matrix products of a forward pass."""
        parts: Any = [self.embedding, *self.blocks, self.readout]
        return sum(part.flops(rows) for part in parts)


@builds(networks.CoordinateMLP)
class CoordinateMLP(Drawn):
    """Coordinates x (…, inputs), from −1 to 1 → values (…, outputs): an encoding of (x + 1)/2, and an MLP.

    Args: ``inputs``, ``outputs``; ``settings``: the fields of
    ``danlu.spec.coordinate_networks.CoordinateMLP``.
    """

    blocks: nn.ModuleList

    def __init__(self, inputs: int, outputs: int, **settings: Any) -> None:
        super().__init__()
        network = networks.CoordinateMLP(**settings)
        self.encoding: Encoding = build(network.encoding, inputs)
        self.embedding = Linear(self.encoding.outputs, network.width)
        self.blocks = nn.ModuleList(Linear(network.width, network.width) for _ in range(network.layers - 1))
        self.readout = Linear(network.width, outputs)
        self.activation, self._slope = activation_of(network.activation), SLOPES.get(str(network.activation))
        self.initialise(network.init)

    def forward(self, coordinates: torch.Tensor) -> torch.Tensor:
        v = (coordinates + 1) / 2
        x = self.activation(self.embedding(self.encoding(v).to(self.compute)))
        for block in self.blocks:
            x = self.activation(block(x))
        return self.result(self.readout(x))

    def lipschitz(self) -> float:
        """An upper bound: the product over layers. Raises ValueError for an activation of unknown slope."""
        if self._slope is None:
            raise ValueError("the greatest slope of this network's activation is not known")
        maps = product([self.encoding, self.embedding, *self.blocks, self.readout])
        return maps / 2 * self._slope ** (len(self.blocks) + 1)

    def flops(self, rows: int) -> int:
        """FLOPs of the matrix products of a forward pass."""
        parts: Any = [self.encoding, self.embedding, *self.blocks, self.readout]
        return sum(part.flops(rows) for part in parts)


@builds(networks.LipschitzMLP)
class LipschitzMLP(Drawn):
    """Coordinates (…, inputs) → values (…, outputs), never changing faster than ``constant`` times as fast as
    they.

    Args: ``inputs``, ``outputs``; ``settings``: the fields of
    ``danlu.spec.coordinate_networks.LipschitzMLP``.
    """

    def __init__(self, inputs: int, outputs: int, **settings: Any) -> None:
        super().__init__()
        network = networks.LipschitzMLP(**settings)
        self.constant = network.constant
        sizes = [inputs, *[network.width] * network.layers]
        maps = [OrthogonalLinear(a, b, steps=network.steps) for a, b in pairwise(sizes)]
        self.blocks = nn.ModuleList(nn.Sequential(one, GroupSort(network.group)) for one in maps)
        self.readout = OrthogonalLinear(network.width, outputs, steps=network.steps)
        self.initialise(spec.Init(branch="same"))

    def forward(self, coordinates: torch.Tensor) -> torch.Tensor:
        x = coordinates.to(self.compute) * self.constant
        for block in self.blocks:
            x = block(x)
        return self.result(self.readout(x))

    def lipschitz(self) -> float:
        """``constant`` times what the orthonormal maps come out with; ``constant`` but for rounding."""
        return self.constant * math.prod(map(upper_bound, [*self.blocks, self.readout]))

    def flops(self, rows: int) -> int:
        """FLOPs of the matrix products of a forward pass, those that make the matrices orthonormal among
        them."""
        maps: Any = [*(block[0] for block in self.blocks), self.readout]  # type: ignore[index]
        return sum(one.flops(rows) for one in maps)
