"""A run with batch norms made ready for use: precise statistics, norms folded away, and what each step did to
the metric."""

from __future__ import annotations

import copy
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import torch
import torch.nn as nn

from danlu import data
from danlu.lab.deployed.folder import check_new, whole, write
from danlu.lab.errors import LabError
from danlu.models import Encoder, Model, Patches
from danlu.models.folded import FIELDS, fold_norms
from danlu.nn import BatchNorm
from danlu.objectives import Objective
from danlu.train.assemble import network, objective_of
from danlu.train.evaluate import evaluate, evaluation_rows
from danlu.train.load import LoadedRun, load_run
from danlu.train.parallel import ALONE
from danlu.train.precise import precise_statistics, training_passes

Tell = Callable[[str], None]


def deploy(
    path: Path,
    to: Path,
    *,
    fold: bool = False,
    precise: int = 0,
    step: int | None = None,
    tell: Tell = lambda text: None,
) -> dict[str, Any]:
    """Write the run in ``path`` as a run in ``to``, with the statistics of ``precise`` training batches (0:
    its running averages), and with its batch norms folded into its linear maps.

    Returns ``metric``, its name, and ``values``: held out, by the statistics of each ``batch`` of the size of
    training, by the ``running`` averages, by the ``precise`` statistics, and of the ``folded`` network.
    Raises ``LabError`` for a run without batch norms, or with norms that cannot be folded.
    """
    check_new(to)
    run = load_run(path, step)
    if not any(isinstance(module, BatchNorm) for module in run.model.modules()):
        raise LabError(f"{path} has no batch norm (model.norm.kind); --fold and --precise-bn are about them")
    objective = objective_of(run.experiment, data.prepare(run.experiment.data))
    score = _Score(run, objective)
    tell("evaluating")
    values = {"batch": score(_by_batch(run.model), score.training_rows), "running": score(run.model)}
    experiment, model = run.experiment, run.model
    try:
        if precise:
            tell(f"statistics of {precise} batches")
            precise_statistics(model, training_passes(model, experiment, objective, precise))
            values["precise"] = score(model)
        if fold:
            assert isinstance(model, Encoder | Patches)
            fold_norms(model)
            changed = experiment.model.model_copy(update=FIELDS)
            experiment = experiment.model_copy(update={"model": changed})
            model = _described(network(experiment, objective), model)
            values["folded"] = score(model)
    except ValueError as error:
        raise LabError(f"{path}: {error}") from None
    with whole(to) as aside:
        write(aside, to, path, run, experiment, dict(model.state_dict()), {}, {})
    return {"run": str(to), "metric": experiment.objective.metrics[0].name, "values": values}


class _Score:
    """The first metric of a run's held-out data."""

    def __init__(self, run: LoadedRun, objective: Objective) -> None:
        train = run.experiment.train
        self.objective = objective
        self.training_rows = train.rows
        self.rows = evaluation_rows(run.experiment, objective)
        self.held_out = objective.held_out(train.evaluate_tokens)
        self.name = run.experiment.objective.metrics[0].name

    def __call__(self, model: nn.Module, rows: int | None = None) -> float:
        found = evaluate(model, self.objective, self.held_out, ALONE, rows=rows or self.rows)
        return float(found[self.name])


def _by_batch(model: nn.Module) -> nn.Module:
    """A copy whose batch norms take the statistics of their batch in evaluation too, and keep none."""
    found = copy.deepcopy(model)
    for module in found.modules():
        if isinstance(module, BatchNorm):
            module.standardise = partial(_of_batch, module)  # type: ignore[method-assign]
    return found


def _of_batch(norm: BatchNorm, x: torch.Tensor) -> torch.Tensor:
    x = x.to(torch.promote_types(x.dtype, torch.float32))
    variance, mean = torch.var_mean(x, dim=tuple(range(x.ndim - 1)), correction=0)
    return norm.by_batch(x, mean, variance)


def _described(empty: Model, folded: nn.Module) -> Model:
    """The network of the new specification with the folded one's numbers; what it has no bias for has 0."""
    state = dict(folded.state_dict())
    for name, tensor in empty.state_dict().items():
        if name.endswith("bias"):
            state.setdefault(name, torch.zeros_like(tensor))
    try:
        empty.load_state_dict(state)
    except RuntimeError as error:
        raise ValueError(f"the folded network has no specification: {error}") from None
    return empty.eval().requires_grad_(False)
