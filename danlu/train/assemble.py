"""From an experiment to what is trained: objective, network, update rules. Everything that needs one of these
takes it from here."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
import torch.nn as nn

from danlu import data, objectives, optim, spec
from danlu.data import vocabulary_of
from danlu.models import Decoder, Model, build
from danlu.nn import Linear, float8
from danlu.nn.outline import outlines
from danlu.objectives import Objective
from danlu.optim.base import Rule
from danlu.optim.rounding import to_bfloat16
from danlu.train.admin import measure_omegas
from danlu.train.divide import divide_network
from danlu.train.errors import RunError
from danlu.train.machine import PRECISIONS, pick_device, pick_precision
from danlu.train.parallel import ALONE, Processes, distribute
from danlu.train.plan import updates_of

if TYPE_CHECKING:
    from danlu.train.pipeline import Pipeline

SMALLER = "make it smaller (model.width, model.layers, --shrink)"


@dataclass(frozen=True)
class Assembly:
    """An experiment put together: ``model``, and ``wrapped``, the same as every one of several processes runs
    it; ``rules``, one for each kind of update; ``precision`` of the activations; ``group`` of processes;
    ``pipeline``, where ``model`` is a stage."""

    experiment: spec.Experiment
    objective: Objective
    model: Model
    wrapped: nn.Module
    rules: list[Rule]
    precision: str
    group: Processes
    pipeline: Pipeline | None = None

    @property
    def named(self) -> list[tuple[str, nn.Parameter]]:
        """The parameters that learn, with their names."""
        return [(name, p) for name, p in self.model.named_parameters() if p.requires_grad]

    @cached_property
    def whole(self) -> Model:
        """The network; where this process has a stage alone, all of it on the meta device."""
        return self.model if self.pipeline is None else on_meta(self.experiment, self.objective)

    @property
    def score(self) -> Callable[[Any, Any], dict[str, torch.Tensor]]:
        """The objective's ``score``, through all stages."""
        return self.objective.score if self.pipeline is None else self.pipeline.score

    @cached_property
    def flops_per_unit(self) -> int:
        """FLOPs of training for one token of text (one image)."""
        return int(training_flops(self.objective, self.whole) // self.objective.size)


def training_flops(objective: Objective, model: Model) -> float:
    """FLOPs of an update for one example: three times the forward pass, and what the objective computes
    beside it, such as a teacher's."""
    return 3 * objective.flops(model) + objective.beside(model)


def objective_of(experiment: spec.Experiment, source: Any) -> Objective:
    """The experiment's objective on ``source``, which ``danlu.data.prepare`` gave. Raises ``RunError`` where
    its shape, which of own arrays is known now, does not fit the network."""
    try:
        experiment.model.check_shape(tuple(getattr(source, "shape", ())))
    except ValueError as error:
        raise RunError(f"data.kind = {experiment.data.kind}: {error}") from None
    found: Objective = objectives.build(experiment.objective, source)
    bottleneck = getattr(experiment.model, "bottleneck", None)
    if bottleneck is not None:
        with outlines():
            if not build(bottleneck).additive:
                found.group = "batch"
    return found


def network(experiment: spec.Experiment, objective: Objective, precision: str = "float32") -> Model:
    """The experiment's network in float32, with initial weights that follow from torch's generator;
    ``precision`` is that of its activations."""
    model: Model = build(experiment.model, *objective.inputs)
    model.compute = PRECISIONS[precision]
    if (quantize := experiment.train.quantize) is not None:
        from danlu.train.rounding import prepare

        prepare(model, quantize)
    return model


def initial(experiment: spec.Experiment, objective: Objective, precision: str) -> Model:
    """``network`` with weights of the type that training keeps (``train.weights``)."""
    model = network(experiment, objective, precision)
    if experiment.train.weights != "float32":
        to_bfloat16(model)
    return model


def assemble(
    experiment: spec.Experiment, objective: Objective, precision: str = "float32", group: Processes = ALONE
) -> Assembly:
    """Network and rules of ``experiment`` at its own seed, on the group's device. What is drawn does not
    depend on the number of processes. Raises ``SpecError`` where rules and network do not fit."""
    torch.manual_seed(experiment.train.seed)
    quantize = experiment.train.quantize
    if group.count > 1 and quantize is not None and quantize.method != "straight-through":
        raise group.once(
            RunError(
                f"train.quantize.method = {quantize.method} learns scales from its start on, and "
                f"{group.count} processes need every gradient from the first update; use straight-through"
            )
        )

    def make() -> Model:
        model = initial(experiment, objective, precision)
        if experiment.train.products == "float8":
            multiply_in_float8(model, group.device)
        model.recompute = experiment.train.recompute
        objective.attach(model, experiment.train.seed)
        divide_network(model, objective, group)
        return model

    # Workers that train apart exchange nothing but what changed in a round (danlu.train.apart).
    parallel = experiment.train.parallel if experiment.train.outer is None else None
    pipeline, whole = None, None
    model, wrapped = distribute(make, parallel, group, precision)
    measure_omegas(model, experiment, objective)
    objective.begin(model)  # copied weights have the last word
    if group.axes is not None and group.pipeline.count > 1:
        from danlu.train.pipeline import Pipeline  # imports torch.distributed

        assert isinstance(model, Decoder)
        pipeline = Pipeline(model, objective, group.axes, group.device)
        whole = on_meta(experiment, objective)
    rules = optim.build(experiment.optimizer, model, updates_of(experiment), whole=whole)
    return Assembly(experiment, objective, model, wrapped, rules, precision, group, pipeline)


def multiply_in_float8(model: Model, device: torch.device) -> None:
    """Let the linear maps of the blocks multiply in eight bits. Raises ``RunError`` where that cannot be."""
    if why := float8.missing(device):
        raise RunError(
            f"train.products = float8, and {device.type} cannot multiply in it: {why}; leave it out, or "
            "train on another device"
        )
    for block in model.blocks:
        for module in block.modules():
            if isinstance(module, Linear):
                module.float8 = True


def outline(experiment: spec.Experiment, source: Any = None) -> tuple[Objective, Model, str, str]:
    """Objective and network on the meta device, where nothing is allocated; device and precision that a run
    would have here. ``source``: the data (None: as far as it is known without reading a text)."""
    device, precision = place(experiment.train)
    objective = objective_of(experiment, source or outlined(experiment))
    return objective, on_meta(experiment, objective, precision), device, precision


def on_meta(experiment: spec.Experiment, objective: Objective, precision: str = "float32") -> Model:
    """``initial`` on the meta device. Raises ``RunError`` for a network larger than can be counted."""
    try:
        with outlines():
            return initial(experiment, objective, precision)
    except RuntimeError as error:  # sizes of tensors are 64-bit numbers
        if "overflow" not in str(error):
            raise
        raise RunError(f"the network has more numbers than 64 bits can count; {SMALLER}") from None


def outlined(experiment: spec.Experiment, ids: int | None = None) -> Any:
    """The experiment's data without its text, if it is text, with a tokenizer of ``ids`` ids (None: as many
    as are known)."""
    if not isinstance(experiment.data, spec.Text):
        return data.prepare(experiment.data)
    ids = vocabulary_of(experiment.data)[0] if ids is None else ids
    tokenizer = SimpleNamespace(vocabulary=ids, separator=ids - 1, token_bytes=np.ones(ids, np.int32))
    return data.Dataset.outline(experiment.data, tokenizer)


def place(train: spec.Train) -> tuple[str, str]:
    """Device and precision that the run would have on this machine; a GPU that is asked for and not there is
    taken to compute in bfloat16."""
    if train.device == "cuda" and not torch.cuda.is_available():
        return "cuda", "bfloat16" if train.precision == "auto" else train.precision
    device = pick_device(train.device)
    return device.type, pick_precision(train.precision, device)
