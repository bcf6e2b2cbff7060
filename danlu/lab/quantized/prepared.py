"""A model rewritten so that rounding costs less: the same function, and the experiment that describes it."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import torch
import torch.nn as nn

from danlu import spec
from danlu.lab.errors import LabError
from danlu.lab.quantized.settings import Settings
from danlu.models import Decoder, Model
from danlu.nn import Attention, LatentAttention
from danlu.objectives import Objective
from danlu.quantization import (
    random_hadamard,
    random_orthogonal,
    rotate,
    rotate_values,
    smooth_blocks,
    untie,
)
from danlu.train.assemble import network

Found = tuple[spec.Experiment, Model, list[str]]


def prepare(
    experiment: spec.Experiment, model: Model, objective: Objective, settings: Settings, inputs: Iterable[Any]
) -> Found:
    """What ``settings.prepare`` asks for, done to ``model``: its experiment, itself, perhaps made anew, and
    what to know of it, in sentences. Raises ValueError where the model cannot be rewritten so."""
    notes: list[str] = []
    if "rotate" in settings.prepare:
        experiment, model, notes = _rotated(experiment, model, objective, settings.seed)
    if "smoothquant" in settings.prepare:
        norm = getattr(experiment.model, "norm", None)
        if norm is not None and not getattr(norm, "gain", True):
            experiment = _changed(experiment, norm=norm.model_copy(update={"gain": True}))
            model = _refitted(experiment, model, objective)
            notes.append("norm.gain = true, where smoothquant puts its scales")
        smooth_blocks(model, inputs, settings.alpha)
    return experiment, model, notes


def _rotated(experiment: spec.Experiment, model: Model, objective: Objective, seed: int) -> Found:
    """The stream turned, and the values of heads where that can be."""
    notes: list[str] = []
    draw = torch.Generator().manual_seed(seed)
    if not isinstance(model, Decoder):
        raise ValueError(f"--by rotate: the model is a {type(model).__name__}; allowed: a decoder")
    if model.readout.weight is model.embedding.weight:
        untie(model)
        experiment = _changed(experiment, tied=False)
        notes.append("model.tied = false: the readout takes in a norm's gain, which the embedding does not")
    rotate(model, _turn(model.blocks[0].width, draw))
    norm = experiment.network.norm
    if isinstance(norm, spec.LayerNorm):
        experiment = _changed(experiment, norm=spec.RMSNorm(eps=norm.eps, gain=False))
        biases = {"readout_bias": True} if model.readout.bias is not None else {}
        if norm.bias:
            experiment = _changed(experiment, bias=True, **biases)
    mixer = next((block.mixer for block in model.blocks if block.mixes), None)
    try:
        if isinstance(mixer, Attention):
            rotate_values(model, _turn(mixer.size, draw))
        elif isinstance(mixer, LatentAttention):
            rotate_values(model, _turn(mixer.value_size, draw))
    except ValueError as error:
        notes.append(f"values of heads are not turned: {error}")
    return experiment, _refitted(experiment, model, objective), notes


def _turn(size: int, draw: torch.Generator) -> torch.Tensor:
    try:
        return random_hadamard(size, draw)
    except ValueError:
        return random_orthogonal(size, draw)


def _changed(experiment: spec.Experiment, **fields: Any) -> spec.Experiment:
    return experiment.model_copy(update={"model": experiment.model.model_copy(update=fields)})


def _refitted(experiment: spec.Experiment, model: nn.Module, objective: Objective) -> Model:
    """The network that ``experiment`` describes with the weights of ``model``; biases that it has besides are
    0, gains of norms 1. Raises ``LabError`` where it has other tensors besides, or lacks some."""
    with torch.random.fork_rng(devices=[]):
        made = network(experiment, objective).eval().requires_grad_(False)
    missing, unexpected = made.load_state_dict(model.state_dict(), strict=False)
    if wrong := [*unexpected, *(name for name in missing if not name.endswith((".bias", ".gain")))]:
        raise LabError(
            f"the rewritten model has {wrong[0]} where its specification has no place for it; set "
            "model.norm.bias=false, or leave rotate out"
        )
    for name in missing:
        if name.endswith(".bias"):
            made.get_parameter(name).zero_()
    return made
