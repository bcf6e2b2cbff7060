"""An MLP of points, a time and a class."""

from __future__ import annotations

import math
from typing import Any

import torch
import torch.nn as nn

from danlu.models.drawn import Drawn
from danlu.nn import Linear, builds
from danlu.nn.conditions import Condition, Modulate
from danlu.nn.feed_forwards import activation_of
from danlu.spec import fields


class _Layer(nn.Module):
    """h + W act(modulate(h, condition))."""

    def __init__(self, network: fields.PointMLP) -> None:
        super().__init__()
        self.modulate = Modulate(network.width, network.width)
        self.linear = Linear(network.width, network.width)
        self.activation = activation_of(network.activation)

    def forward(self, h: torch.Tensor, told: torch.Tensor) -> torch.Tensor:
        return h + self.linear(self.activation(self.modulate(h, told)))

    def branch_ends(self) -> list[Linear]:
        """The last map of the branch, which initialisations scale."""
        return [self.linear]

    def flops(self, rows: int) -> int:
        return self.modulate.flops(rows) + self.linear.flops(rows)


@builds(fields.PointMLP)
class PointMLP(Drawn):
    """Points x (batch, *shape), times t (batch) or a single one, classes int64 (batch; −1: none) or None →
    as x.

    Args: ``shape`` of a point, flattened inside; ``classes``: how many there are, 0 for none; ``settings``:
    the fields of ``danlu.spec.fields.PointMLP``.
    """

    def __init__(self, shape: tuple[int, ...], classes: int = 0, **settings: Any) -> None:
        super().__init__()
        network = fields.PointMLP(**settings)
        numbers = math.prod(shape)
        self.condition = Condition(network.width, network.time, classes)
        self.embedding = Linear(numbers, network.width)
        self.blocks = nn.ModuleList(_Layer(network) for _ in range(network.layers))
        self.activation = activation_of(network.activation)
        self.readout = Linear(network.width, numbers)
        self.initialise(network.init)

    def forward(
        self, x: torch.Tensor, t: torch.Tensor, condition: torch.Tensor | None = None
    ) -> torch.Tensor:
        told = self.condition(len(x), t, condition).to(self.compute)
        h = self.embedding(x.flatten(1).to(self.compute))
        for block in self.blocks:
            h = block(h, told)
        return self.result(self.readout(self.activation(h))).view(x.shape)

    def flops(self, batch: int) -> int:
        """FLOPs of the matrix products of a forward pass (a training step costs three times that)."""
        parts: Any = [self.condition, self.embedding, *self.blocks, self.readout]
        return sum(part.flops(batch) for part in parts)
