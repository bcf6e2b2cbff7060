"""What networks that are no transformers share: initial weights by place, one precision for activations."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from typing import Any

import torch
import torch.nn as nn

from danlu import spec
from danlu.models.initialise import draw, scale_branches, streams
from danlu.nn import Linear
from danlu.nn.convolutions import Conv2d


class Drawn(nn.Module):
    """A base class. A network sets ``readout``, its last map, and ``blocks``, its repeated parts; its
    constructor ends with ``initialise``.

    Parameters are float32; activations have the type of ``compute``; outputs are float32, or float64 where
    ``compute`` is. The network starts from torch's global generator as it stood when it was made, and each
    module from a stream of its own (``danlu.models.initialise``).
    """

    width_multiplier = 1.0  # of μP, which these networks don't know
    readout: nn.Module
    blocks: Iterable[nn.Module]

    def __init__(self) -> None:
        seed = int(torch.randint(2**62, (), device="cpu"))  # before any module draws
        super().__init__()
        self._seed, self.compute = seed, torch.float32

    def initialise(self, init: spec.Init) -> None:
        """Draw every weight."""
        self._init = init
        self.redraw(list(self.modules()))

    @torch.no_grad()
    def redraw(self, modules: Collection[nn.Module]) -> None:
        """Draw the initial weights of ``modules``, whole blocks and modules outside of blocks, once more."""
        init = self._init
        with streams(self, self._seed) as begin:
            for module in modules:
                if isinstance(module, Conv2d):
                    begin(module)
                    _draw(module, init.std)
            draw(modules, init, self.readout, begin)
            if isinstance(self.readout, Linear | Conv2d) and self.readout in modules:
                begin(self.readout)
                _draw(self.readout, init.std if init.readout is None else init.readout)
            self.finish(init, modules)

    def finish(self, init: spec.Init, modules: Collection[nn.Module]) -> None:
        """The initial weights of the branches of blocks among ``modules``, once all weights are drawn."""
        blocks: list[Any] = [block for block in self.blocks if hasattr(block, "branch_ends")]
        if blocks:
            scale_branches([block for block in blocks if block in modules], init, len(blocks))

    def result(self, x: torch.Tensor) -> torch.Tensor:
        """In float32 or float64."""
        return x if x.dtype == torch.float64 else x.float()


def _draw(linear: Linear | Conv2d, std: float | None) -> None:
    """Normal weights, of 1/√fan-in where ``std`` is left out, and biases of 0."""
    nn.init.normal_(linear.weight, std=linear.weight[0].numel() ** -0.5 if std is None else std)
    if linear.bias is not None:
        nn.init.zeros_(linear.bias)
