"""Precise statistics of batch norms (Wu & Johnson 2021, "Rethinking Batch in BatchNorm", arXiv:2105.07576,
section 3): of many batches by the weights as they are, in place of running averages over past weights."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any

import torch
import torch.nn as nn
from torch import Tensor

from danlu import spec
from danlu.nn import BatchNorm
from danlu.objectives import Draw, Objective
from danlu.train.parallel import ALONE
from danlu.train.update import to_device

USUAL = 200  # batches


@torch.no_grad()
def precise_statistics(model: nn.Module, passes: Iterable[Callable[[], Any]]) -> int:
    """Set the running averages of every batch norm of ``model`` to the moments over all ``passes``, batches
    of one size that ``model`` is run on: μ = E m and σ² = E(v + m²) − μ² of a batch's mean m and biased
    variance v. A mean of the v alone would leave out how far the means lie apart.

    Norms before take the statistics of their batch meanwhile, as in training; the rest of the model is in
    evaluation mode. Returns the number of passes. Raises ValueError where there is no batch norm, or no pass.
    """
    norms = [norm for _, norm in _norms(model)]
    if not norms:
        raise ValueError("the network has no batch norm; nothing is to be measured anew")
    sums = {norm: norm.mean.new_zeros((2, len(norm.mean)), dtype=torch.float64) for norm in norms}

    def add(norm: nn.Module, given: tuple[Tensor, ...]) -> None:
        x = given[0].double()
        variance, mean = torch.var_mean(x, dim=tuple(range(x.ndim - 1)), correction=0)
        sums[norm] += torch.stack([mean, variance + mean.square()])  # type: ignore[index]

    training, count = model.training, 0
    model.eval()
    hooks = [norm.register_forward_pre_hook(add) for norm in norms]
    for norm in norms:
        norm.train()
    try:
        for run in passes:
            run()
            count += 1
    finally:
        model.train(training)
        for hook in hooks:
            hook.remove()
    if not count:
        raise ValueError("no batch was given to measure batch norms on")
    for norm, (first, second) in sums.items():
        mean = first / count
        norm.mean.copy_(mean)
        norm.variance.copy_(second / count - mean.square())
    return count


def training_passes(
    model: nn.Module,
    experiment: spec.Experiment,
    objective: Objective,
    count: int = USUAL,
    device: torch.device = ALONE.device,
) -> Iterator[Callable[[], Any]]:
    """Passes over batches of the size of training: those of the first ``count`` updates, on ``device``."""
    train = experiment.train
    rows = train.rows
    for i in range(count):
        example = to_device(objective.example(Draw(train.seed, i, i * rows, 0, rows)), device)
        yield partial(objective.loss, model, example)


def statistics(model: nn.Module) -> dict[str, Tensor]:
    """The running averages of all batch norms by name, as they lie there."""
    found: dict[str, Tensor] = {}
    for name, norm in _norms(model):
        found |= {f"{name}.mean": norm.mean, f"{name}.variance": norm.variance}
    return found


@contextmanager
def precisely(model: nn.Module, passes: Iterable[Callable[[], Any]]) -> Iterator[dict[str, Tensor]]:
    """Within, the running averages of ``model`` are the precise statistics of ``passes``, which are given;
    then they are as they were, to the last bit."""
    now = statistics(model)
    own = {name: tensor.clone() for name, tensor in now.items()}
    try:
        with torch.compiler.set_stance("force_eager"):  # a compiled block may not call what watches its norms
            precise_statistics(model, passes)
        yield now
    finally:
        for name, tensor in own.items():
            now[name].copy_(tensor)


def _norms(model: nn.Module) -> list[tuple[str, BatchNorm]]:
    return [(name, module) for name, module in model.named_modules() if isinstance(module, BatchNorm)]
