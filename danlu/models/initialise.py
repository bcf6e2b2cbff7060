"""Initial weights."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
import torch.nn as nn

from danlu import spec
from danlu.nn import Block, Linear
from danlu.nn.positions import Learned


@torch.no_grad()
def draw(model: nn.Module, init: spec.Init, readout: nn.Module | None, multiplier: float = 1.0) -> None:
    """Draw the weights of every linear map but the ``readout``, and of every embedding, from torch's global
    generator, in the order of the modules; then parts with weights of their own kind draw those.

    ``multiplier``: how many times as wide as the model for which ``init.std`` is said (μP: ∝ 1/√fan-in)."""
    std = None if init.std is None else init.std * multiplier**-0.5
    for module in model.modules():
        if isinstance(module, Linear) and module is not readout:
            nn.init.normal_(module.weight, std=std or module.in_features**-0.5)
            if module.bias is not None:
                nn.init.zeros_(module.bias)
        elif isinstance(module, nn.Embedding | Learned):
            nn.init.normal_(module.weight, std=init.embedding)
    _draw_own(model)


def _draw_own(model: nn.Module) -> None:
    for module in model.modules():
        own = getattr(module, "initialise_own", None)
        if callable(own):
            own()


@torch.no_grad()
def scale_branches(blocks: Sequence[Block], init: spec.Init) -> None:
    """Multiply the last map of every branch by what ``init.branch`` says."""
    factor = {"same": 1.0, "depth": 1 / math.sqrt(2 * len(blocks)), "zero": 0.0}[init.branch]
    for block in blocks:
        for end in block.branch_ends():
            end.weight.mul_(factor)


@torch.no_grad()
def draw_deepnorm(blocks: Sequence[Block], beta: float) -> None:
    """Xavier's normal weights with gain β where values flow, 1 elsewhere (Wang et al. 2022, figure 2)."""
    for block in blocks:
        for module in block.modules():
            if isinstance(module, Linear):
                for matrix in module.weight.split(module.rows):
                    nn.init.xavier_normal_(matrix)
        _draw_own(block)
        for matrix in block.value_path():
            matrix.mul_(beta)
