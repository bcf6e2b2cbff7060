"""The coordinate check of muP (Yang et al. 2022, appendix D.1): how far activations move, by width."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import torch
import torch.nn as nn

from danlu import data, spec
from danlu.nn import Block
from danlu.objectives import Draw
from danlu.train.assemble import assemble, objective_of, outlined
from danlu.train.update import Update

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
    train = experiment.train
    rows = train.rows
    once = {"seed": seed, "clip": 0.0, "batch": rows, "microbatch": None, "ramp": (), "weights": "float32"}
    experiment = experiment.model_copy(update={"train": train.model_copy(update=once)})
    objective = objective_of(experiment, noise(experiment, rows, seed))
    made = assemble(experiment, objective)
    update = Update(made)
    example = update.example(Draw(seed, 0, 0, 0, rows))
    before = _activations(made.model, lambda: objective.loss(made.model, example))
    for _ in range(steps):
        update.apply(0, update.gradients(0, 0, rows))
        update.clear()
    after = _activations(made.model, lambda: objective.loss(made.model, example))
    return {name: float((after[name] - x).square().mean().sqrt()) for name, x in before.items()}


def noise(experiment: spec.Experiment, rows: int, seed: int) -> Any:
    """The experiment's data with random tokens in place of its text, enough for ``rows`` rows; images as they
    are."""
    source = outlined(experiment)
    if not isinstance(source, data.Dataset):
        return source
    ids, context = source.tokenizer.vocabulary, source.spec.context
    text = np.random.default_rng(seed).integers(0, ids - 1, 2 * rows * context + 1)
    return replace(source, train=data.Tokens(source.folder, ids, "", text))


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
