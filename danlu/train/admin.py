"""Numbers that a network takes from a first batch, before it learns anything: ω of Admin."""

from __future__ import annotations

from typing import Any

import torch
import torch.nn as nn

from danlu import spec
from danlu.nn import Admin
from danlu.objectives import Draw, Objective
from danlu.objectives.base import beside

ROWS = 16  # of the first batch that are looked at, so that every process can look at the same ones


@torch.no_grad()
def measure_omegas(model: nn.Module, experiment: spec.Experiment, objective: Objective) -> None:
    """Set ω of every ``Admin`` of ``model`` from the first rows of the run's first batch.

    In the order in which they run, ω = 1 for the first of a stack, then ω² = Var(ω′x′) + Var f(x′), of the
    one before: the stream that comes in and all that branches have added to it, unnormed (Liu et al. 2020,
    arXiv:2004.08249, section 4.2, as their code does it). Nothing happens where there is no ``Admin``.
    """
    joins = {module: name for name, module in model.named_modules() if isinstance(module, Admin)}
    if not joins:
        return
    following: dict[str, float] = {}  # ω of the next sum, by stack

    def take(module: nn.Module, given: tuple[Any, ...]) -> None:
        x, branch = (one.float() for one in given)
        assert isinstance(module, Admin)
        stack = joins[module].partition("blocks.")[0]
        omega = following.get(stack, 1.0)
        module.gain.fill_(omega)
        following[stack] = float(omega**2 * x.var() + branch.var()) ** 0.5

    train = experiment.train
    rows = min(train.rows, ROWS)
    example = objective.example(Draw(train.seed, 0, 0, 0, rows))
    hooks = [module.register_forward_pre_hook(take) for module in joins]
    training = model.training
    model.eval()
    try:
        objective.loss(model, {name: beside(model, part) for name, part in example.items()})
    finally:
        model.train(training)
        for hook in hooks:
            hook.remove()
