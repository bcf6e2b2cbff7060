"""Training with weights in few bits (``train.quantize``)."""

from __future__ import annotations

from typing import Any

import torch
import torch.nn as nn

from danlu import spec
from danlu.nn import Block
from danlu.optim import Progress
from danlu.quantization import LSQ, Format, Integers, ParetoQ, Quantized, kept, linear_maps, named, rows_of
from danlu.quantization.rounded import Rounded, rounded, unrounded
from danlu.train.errors import RunError


def prepare(model: nn.Module, s: spec.Quantize) -> None:
    """Let the linear maps in the blocks of ``model`` round their weights by ``s``, once ``begin`` is called.
    Names of parameters stay; learned scales come in addition. Raises ``RunError`` where that cannot be."""
    if not maps_of(model):
        raise RunError(
            f"train.quantize: the model is a {type(model).__name__}, which has no blocks of a transformer; "
            "leave it out"
        )
    try:
        where, inputs = "activations", None if s.activations is None else kept.of_tokens(s.activations)
        for name, linear in maps_of(model).items():
            where = name
            rounded(linear, _rounding(s, linear.weight), inputs, active=False)
    except ValueError as error:
        raise RunError(f"train.quantize: {where}: {error}") from None


def format_of(s: spec.Quantize) -> Format:
    """The format of the weights. Raises ValueError for a group that it cannot have."""
    return named(s.format, s.group, kept.SCALE_TYPES[s.scale])


def _rounding(s: spec.Quantize, weight: torch.Tensor) -> Format | nn.Module:
    format = format_of(s)
    rows_of(weight, format.per)  # refuses groups that do not divide
    if s.method == "lsq":
        assert isinstance(format, Integers)
        return LSQ(format, weight)
    if s.method == "paretoq":
        return ParetoQ(_PARETO[s.format], weight, format.per)
    return format


_PARETO: dict[str, Any] = {
    "int4-full": 4, "int3-full": 3, "int2-stretched": 2, "ternary-stretched": "ternary"
}  # fmt: skip


def begins(experiment: spec.Experiment, now: Progress) -> float:
    """The share of the run after which weights are rounded."""
    s, schedule = experiment.train.quantize, experiment.schedule
    assert s is not None
    if s.start is not None:
        return s.start
    return now.last(schedule.decay) if isinstance(schedule, spec.WSD) else 0.9


def begin(model: nn.Module) -> None:
    """Weights are rounded from now on; learned scales start from the weights as they are."""
    for linear in maps_of(model).values():
        if isinstance(linear, Rounded) and isinstance(linear.rounding, nn.Module):
            linear.rounding.restart(linear.weight)  # type: ignore[operator]
    activate(model)


def activate(model: nn.Module) -> None:
    """Weights are rounded from now on, by the scales that there are."""
    for module in model.modules():
        if isinstance(module, Rounded):
            module.active = True


def settle(model: nn.Module) -> dict[str, Quantized]:
    """``prepare`` undone: the model holds what its weights were rounded to. Gives these in few bits by name;
    none if rounding had not begun."""
    found = {f"{name}.weight": unrounded(linear) for name, linear in maps_of(model).items()}
    return {name: q for name, q in found.items() if q is not None}


def maps_of(model: nn.Module) -> dict[str, nn.Linear]:
    """The linear maps of all blocks by name, without those of gates on heads."""
    return {
        f"{place}.{name}": linear
        for place, block in model.named_modules()
        if isinstance(block, Block)
        for name, linear in linear_maps(block).items()
    }
