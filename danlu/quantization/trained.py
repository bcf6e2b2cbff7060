"""Trained networks in few bits, block after block: each sees what the rounded blocks before it make."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import torch
import torch.nn as nn
from torch import Tensor

from danlu.nn import Block, ElementGate
from danlu.quantization.calls import Call, blocks_of, first_calls, next_calls, watch
from danlu.quantization.formats import Format, Ranges
from danlu.quantization.gptq import Moments, gptq
from danlu.quantization.quantized import Quantized, quantize
from danlu.quantization.ranges import LeastOutputError
from danlu.quantization.seams import inner_seams, norm_seams
from danlu.quantization.smooth import awq, smooth


class Method(Protocol):
    """A way to round a block's weights. ``looks``: whether it has to see what comes into them."""

    @property
    def looks(self) -> bool: ...

    def prepare(self, block: Block, calls: Sequence[Call], format: Format) -> None:
        """Change ``block`` in ways that keep its function."""

    def round(self, block: Block, linear: nn.Linear, moments: Moments | None, format: Format) -> Quantized:
        """The weight of a map of ``block``; ``moments`` of its inputs, None where it was not called as a
        module."""


@dataclass(frozen=True)
class RTN:
    """To the nearest, whatever the inputs are."""

    ranges: Ranges | None = None
    looks = False

    def prepare(self, block: Block, calls: Sequence[Call], format: Format) -> None:
        pass

    def round(self, block: Block, linear: nn.Linear, moments: Moments | None, format: Format) -> Quantized:
        return quantize(linear.weight.detach(), format, self.ranges)


@dataclass(frozen=True)
class GPTQ(RTN):
    """GPTQ with the arguments of ``gptq``; to the nearest where the inputs are not known."""

    damp: float = 0.01
    order: bool = False
    looks = True

    def round(self, block: Block, linear: nn.Linear, moments: Moments | None, format: Format) -> Quantized:
        if moments is None:
            return super().round(block, linear, moments, format)
        settings: dict[str, Any] = {"damp": self.damp, "order": self.order, "ranges": self.ranges}
        return gptq(linear.weight.detach(), moments.hessian, format, **settings).quantized


@dataclass(frozen=True)
class AWQ:
    """AWQ: channels rescaled by search, then to the nearest, with ranges clipped for the least error of the
    outputs (``clip``) but in maps that make queries and keys."""

    clip: bool = True
    looks = True

    def prepare(self, block: Block, calls: Sequence[Call], format: Format) -> None:
        awq([*norm_seams(block), *inner_seams(block)], calls, block, format)

    def round(self, block: Block, linear: nn.Linear, moments: Moments | None, format: Format) -> Quantized:
        keys = block.mixes and linear in (block.mixer.readers() or [])
        if moments is None or keys or not self.clip or format.per == "tensor":
            return quantize(linear.weight.detach(), format)
        size = format.per if isinstance(format.per, int) else linear.in_features
        blocks = moments.hessian.unflatten(0, (-1, size)).unflatten(2, (-1, size))
        groups = blocks.diagonal(dim1=0, dim2=2).movedim(-1, 0)
        return quantize(linear.weight.detach(), format, LeastOutputError(groups))


@torch.no_grad()
def quantize_blocks(
    model: nn.Module, format: Format, by: Method, inputs: Iterable[Tensor] = ()
) -> dict[str, Quantized]:
    """Round the weights of all linear maps in the blocks of ``model`` in place, by name; the embedding, the
    readout, norms, biases and gates of heads stay as they are.

    ``model``: a decoder, an encoder or patches. ``inputs``: what it is called with, batches to take the maps'
    inputs from; not needed for ``RTN``. Each block sees the stream that the rounded blocks before it make;
    the maps of one block see it as if the others of that block were exact. The model is in ``eval`` mode
    after. Gives the weights in few bits: ``dequantize()`` is what the model now holds.

    Raises ValueError for other models, and what ``quantize`` and ``gptq`` raise, with the map's name; blocks
    before it are then rounded already.
    """
    model.eval()
    calls = first_calls(model, inputs) if by.looks else []
    found: dict[str, Quantized] = {}
    for i, block in enumerate(blocks_of(model)):
        found |= _round(block, calls, format, by, f"blocks.{i}")
        calls = next_calls(block, calls)
    return found


@torch.no_grad()
def quantize_one_by_one(
    model: nn.Module, format: Format, by: Method, inputs: Iterable[Tensor] = ()
) -> Iterator[dict[str, Quantized]]:
    """``quantize_blocks`` for each block alone: while the iterator stands at one, the model has that block
    rounded and all others as they were. Afterwards it is as it was, in ``eval`` mode."""
    model.eval()
    calls = first_calls(model, inputs) if by.looks else []
    for i, block in enumerate(blocks_of(model)):
        exact = {name: t.clone() for name, t in block.state_dict().items()}
        after = next_calls(block, calls)
        try:
            yield _round(block, calls, format, by, f"blocks.{i}")
        finally:
            block.load_state_dict(exact)
        calls = after


def _round(
    block: Block, calls: Sequence[Call], format: Format, by: Method, prefix: str
) -> dict[str, Quantized]:
    """Round the maps of one block in place."""
    if calls:
        by.prepare(block, calls, format)
    maps = linear_maps(block)
    moments: dict[nn.Module, Moments] = {}
    watch(block, calls, maps.values(), lambda m, x: moments.setdefault(m, Moments(x.shape[-1])).add(x))
    found = {}
    for name, linear in maps.items():
        full = f"{prefix}.{name}.weight"
        try:
            found[full] = by.round(block, linear, moments.get(linear), format)
        except ValueError as error:
            raise ValueError(f"{full}: {error}") from error
    for name, linear in maps.items():
        linear.weight.copy_(found[f"{prefix}.{name}.weight"].dequantize())
    return found


@torch.no_grad()
def smooth_blocks(model: nn.Module, inputs: Iterable[Tensor], alpha: float = 0.5) -> None:
    """SmoothQuant (``smooth``) at the norms of every block of ``model``, in place, for activations to be
    rounded afterwards. The model has the same function, and is in ``eval`` mode after. Raises ValueError
    where a block has no norm with a gain that linear maps alone read."""
    model.eval()
    calls = first_calls(model, inputs)
    for i, block in enumerate(blocks_of(model)):
        seams = norm_seams(block)
        if not seams:
            raise ValueError(
                f"blocks.{i} has no norm with a learned gain that linear maps alone read (placement = "
                f"{block.placement}); SmoothQuant has nowhere to put its scales"
            )
        smooth(seams, calls, block, alpha)
        calls = next_calls(block, calls)


def linear_maps(block: nn.Module) -> dict[str, nn.Linear]:
    """The linear maps of a block by name, without those of gates on heads."""
    gates = {m for gate in block.modules() if isinstance(gate, ElementGate) for m in gate.modules()}
    return {
        name: module
        for name, module in block.named_modules()
        if isinstance(module, nn.Linear) and module not in gates
    }
