"""A trained network without its batch norms: each becomes part of the linear maps beside it."""

from __future__ import annotations

from typing import Any

import torch.nn as nn

from danlu import spec
from danlu.models.encoder import Encoder
from danlu.models.patches import Patches
from danlu.nn import BatchNorm, Block, Linear, NoNorm, fold, fold_before

# What is other in the specification of a folded network.
FIELDS: dict[str, Any] = {"norm": spec.NoNorm(), "bias": True, "readout_bias": True, "tied": False}


def fold_norms(model: Encoder | Patches) -> None:
    """Fold every batch norm of ``model``, in evaluation mode, into the linear maps that read it, or into the
    one before it where it is the branch's output; ``NoNorm`` takes its place. A readout tied to the embedding
    becomes one of its own. ``FIELDS`` are those of its
    specification that are others then.

    Raises ValueError, with the network as it was, where a norm stands elsewhere: after a sum, after the
    embedding, before a part that reads its input in other ways than by linear maps.
    """
    if model.width_multiplier != 1:
        raise ValueError("base_width divides the stream before the readout, which no fold takes into account")
    steps = _steps(model)
    left = [name for name, m in model.named_modules() if isinstance(m, BatchNorm) and m not in steps]
    if left:
        raise ValueError(
            f"{left[0]} stands where no linear map alone reads it (after a sum or an embedding, before a "
            "gate of slices) and cannot be folded; use model.placement = pre, double or output"
        )
    if not steps:
        raise ValueError("the network has no batch norm; nothing is to be folded")
    for norm, (owner, name, before, readers) in steps.items():
        if before is not None:
            _take(before, fold(norm, before))
        for reader in readers:
            _take(reader, fold_before(norm, reader))
        setattr(owner, name, NoNorm(len(norm.mean)))


Step = tuple[nn.Module, str, Linear | None, list[Linear]]  # owner, name, the map before or those that read


def _steps(model: Encoder | Patches) -> dict[BatchNorm, Step]:
    found: dict[BatchNorm, Step] = {}

    def add(owner: Any, name: str, before: Linear | None, readers: list[Linear] | None) -> None:
        norm = getattr(owner, name, None)
        if isinstance(norm, BatchNorm) and (before is not None or readers):
            found[norm] = owner, name, before, readers or []

    for block in model.blocks:
        _of_block(block, add)
    readout = model.readout_projection or model.readout
    add(model, "norm", None, [model.transform or readout])
    add(model, "transform_norm", None, [readout])
    return found


def _of_block(block: Block, add: Any) -> None:
    names = ("mixer", "feed_forward") if block.mixes else ("feed_forward",)
    parts = {name: getattr(block, name) for name in names}
    reading = {name: part.readers() for name, part in parts.items()}
    if block.placement == "parallel":
        every = None if None in reading.values() else [linear for some in reading.values() for linear in some]
        add(block, "mixer_norm", None, every)
        return
    for name, part in parts.items():
        if block.placement == "output":
            add(block, f"{name}_norm", part.out, None)
        elif block.placement != "post":
            add(block, f"{name}_norm", None, reading[name])
            add(block, f"{name}_out_norm", part.out, None)


def _take(linear: Linear, made: nn.Module) -> None:
    """``linear`` with the numbers of ``made``; a weight that another module shares is left to that one."""
    assert isinstance(made, Linear)
    linear.weight, linear.bias = made.weight, made.bias
