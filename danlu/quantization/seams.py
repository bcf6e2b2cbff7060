"""Places of a block where channels can be rescaled without changing its function."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
import torch.nn as nn
from torch import Tensor

from danlu.nn import (
    GLU,
    MLP,
    Attention,
    BatchNorm,
    Block,
    GroupNorm,
    InstanceNorm,
    LayerNorm,
    Linear,
    RMSNorm,
)
from danlu.nn.feed_forwards import ACTIVATIONS

NORMS = (RMSNorm, LayerNorm, GroupNorm, InstanceNorm, BatchNorm)


@dataclass(frozen=True)
class Seam:
    """Channels that ``readers`` alone read.

    ``name``: of what makes them, in the block. ``divide``: makes each channel so many times smaller,
    (channels,). ``inside``: the modules whose output a change of the readers reaches first.
    """

    name: str
    divide: Callable[[Tensor], None]
    readers: list[Linear]
    inside: list[nn.Module]

    @torch.no_grad()
    def rescale(self, s: Tensor) -> None:
        """Divide the channels by ``s`` > 0 and multiply the readers' columns: the same function."""
        self.divide(s)
        for reader in self.readers:
            reader.weight.mul_(s.to(reader.weight))


def norm_seams(block: Block) -> list[Seam]:
    """Norms with a learned gain whose output only linear maps read."""
    names = ("mixer", "feed_forward") if block.mixes else ("feed_forward",)
    if block.placement in ("post", "output"):
        return []
    groups = [names] if block.placement == "parallel" else [(name,) for name in names]
    found = []
    for group in groups:
        norm = getattr(block, f"{group[0]}_norm")
        inside = [getattr(block, name) for name in group]
        readers = [part.readers() for part in inside]
        if isinstance(norm, NORMS) and norm.gain is not None and None not in readers:
            together = [reader for some in readers for reader in some]
            found.append(Seam(f"{group[0]}_norm", _of_norm(norm), together, inside))
    return found


def inner_seams(block: Block) -> list[Seam]:
    """Between the maps of a part: the gated feed-forward layer's second factor, the hidden units of one with
    ReLU, and values of attention with as many key-value heads as heads."""
    found, layer, mixer = [], block.feed_forward, block.mixer
    if isinstance(layer, GLU) or (isinstance(layer, MLP) and layer.activation is ACTIVATIONS["relu"]):
        found.append(Seam("feed_forward.up", _of_rows(layer.up, slice(None)), [layer.down], [layer.down]))
    if type(mixer) is Attention and mixer.heads == mixer.kv_heads:
        values = slice(-mixer.heads * mixer.size, None)
        found.append(Seam("mixer.qkv", _of_rows(mixer.qkv, values), [mixer.out], [mixer.out]))
    return found


def _of_norm(norm: nn.Module) -> Callable[[Tensor], None]:
    def divide(s: Tensor) -> None:
        assert isinstance(norm, NORMS) and norm.gain is not None
        gain = norm.gain.double()
        norm.gain.copy_((1 + gain) / s - 1 if norm.around_one else gain / s)
        if norm.bias is not None:
            norm.bias.div_(s)

    return divide


def _of_rows(linear: Linear, rows: slice) -> Callable[[Tensor], None]:
    def divide(s: Tensor) -> None:
        linear.weight[rows].div_(s.to(linear.weight)[:, None])
        if linear.bias is not None:
            linear.bias[rows].div_(s.to(linear.bias))

    return divide
