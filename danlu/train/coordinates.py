"""The coordinate check of muP (Yang et al. 2022, appendix D.1): how far activations move, by width."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from types import SimpleNamespace
from typing import Any

import numpy as np
import torch
import torch.nn as nn

from danlu import objectives, optim, spec
from danlu.models import Model, build
from danlu.nn import Block
from danlu.train.costs import vocabulary_of
from danlu.train.evaluate import to_device
from danlu.train.plan import updates_of

Changes = dict[str, dict[int, float]]


def at_width(experiment: spec.Experiment, width: int) -> spec.Experiment:
    """The experiment with a model of this width; sizes that the model leaves out follow it. Raises
    pydantic's error where the model's parts cannot have it."""
    model = type(experiment.model)(**experiment.model.settings() | {"width": width})
    return experiment.model_copy(update={"model": model})


def coordinate_check(
    experiment: spec.Experiment, widths: Sequence[int], steps: int = 3, *, seeds: int = 1
) -> Changes:
    """How much ``steps`` updates change the activations of the experiment's model, by ``widths``.

    Returns, by the name of a part (``embedding``, each block and its mixer and feed-forward layer,
    ``logits``), the root mean square of what its output changed, on the batch of random tokens that all
    updates learn from; the mean over ``seeds``. Rates are at their peak; float32, on the CPU.
    """
    found: Changes = {}
    for width in widths:
        runs = [_changes(at_width(experiment, width), steps, seed) for seed in range(seeds)]
        for name in runs[0]:
            found.setdefault(name, {})[width] = float(np.mean([run[name] for run in runs]))
    return found


def slopes(changes: Changes) -> dict[str, float]:
    """The power of the width by which each part's change grows: the slope of log RMS over log width, by least
    squares. In muP it is about 0; nothing grows, nothing vanishes."""
    return {
        name: float(
            np.polyfit([math.log(width) for width in by], [math.log(rms) for rms in by.values()], 1)[0]
        )
        for name, by in changes.items()
    }


def _changes(experiment: spec.Experiment, steps: int, seed: int) -> dict[str, float]:
    ids = vocabulary_of(experiment.data)[0]
    tokenizer = SimpleNamespace(vocabulary=ids, separator=ids - 1, token_bytes=np.ones(ids, np.int32))
    objective: objectives.Objective = objectives.build(experiment.objective, tokenizer, experiment.data)
    torch.manual_seed(seed)
    model: Model = build(experiment.model, objective.vocabulary, max(objective.lengths))
    optimizers = optim.build(experiment.optimizer, model, updates_of(experiment))
    rows = experiment.train.microbatch or experiment.train.batch
    text = np.random.default_rng(seed).integers(0, ids - 1, (rows, objective.context + 1))
    arrays = objective.example(text[:, :-1], text[:, 1:], objectives.training_keys(0, 0, 0, rows))
    example = to_device(arrays, torch.device("cpu"))
    before = _activations(model, lambda: objective.loss(model, example))
    for _ in range(steps):
        nats, penalty = objective.loss(model, example)
        loss = nats if penalty is None else nats + penalty
        (loss / (rows * objective.count)).backward()
        for optimizer in optimizers:
            optimizer.step()
            optimizer.zero_grad()
    after = _activations(model, lambda: objective.loss(model, example))
    return {name: float((after[name] - x).square().mean().sqrt()) for name, x in before.items()}


def _parts(model: nn.Module) -> Iterator[tuple[str, nn.Module]]:
    for name, module in model.named_modules():
        if name == "embedding":
            yield name, module
        elif isinstance(module, Block):
            yield from ((f"{name}.{part}", getattr(module, part)) for part in ("mixer", "feed_forward"))
            yield name, module
    yield "logits", model


@torch.no_grad()
def _activations(model: nn.Module, forward: Callable[[], Any]) -> dict[str, torch.Tensor]:
    """The outputs of the parts in a forward pass."""
    found: dict[str, torch.Tensor] = {}

    def keep(name: str) -> Callable[..., None]:
        return lambda module, given, output: found.__setitem__(name, output)

    hooks = [module.register_forward_hook(keep(name)) for name, module in _parts(model)]
    try:
        forward()
    finally:
        for hook in hooks:
            hook.remove()
    return found
