"""A transformer on the patches of an image."""

from __future__ import annotations

from typing import Any

import torch

from danlu import spec
from danlu.models.ends import Ends
from danlu.models.stack import Stack
from danlu.nn import Linear, builds
from danlu.nn.masks import AttentionMask


@builds(spec.Patches)
class Patches(Ends, Stack):
    """Images (batch, channels, height, width) → outputs (batch, outputs), from the mean of the stream over
    the patches (Dosovitskiy et al. 2021, equations 1 to 4, without a class token).

    Args: ``shape``: (channels, height, width) of an image; ``outputs``: how many numbers are read;
    ``settings``: the fields of ``danlu.spec.Patches``.
    """

    def __init__(self, shape: tuple[int, int, int], outputs: int, **settings: Any) -> None:
        network = spec.Patches(**settings)
        channels, height, width = shape
        self.patch = network.patch
        self.positions = (height // self.patch) * (width // self.patch)
        super().__init__(network, self.positions, causal=False)
        pixels = channels * self.patch**2
        self.make_ends(outputs, network, Linear(pixels, network.width, bias=network.bias))
        self.initialise(network.init)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """Outputs in float32."""
        x = self.embed(self.cut(images).to(self.compute))
        return self.read(self.body(x.to(self.compute), AttentionMask(False, 0, None)).mean(1))

    def cut(self, images: torch.Tensor) -> torch.Tensor:
        """(batch, channels, height, width) → (batch, patches, channels · patch²), row by row."""
        batch, channels, height, width = images.shape
        p = self.patch
        tiles = images.reshape(batch, channels, height // p, p, width // p, p)
        return tiles.permute(0, 2, 4, 1, 3, 5).reshape(batch, -1, channels * p * p)

    def flops(self, batch: int) -> int:
        """FLOPs of the matrix products of a forward pass (a training step costs three times that)."""
        embedding: Any = self.embedding
        ends = embedding.flops(batch * self.positions) + self.readout.flops(batch)
        return int(self.body_flops(batch, self.positions) + ends)
