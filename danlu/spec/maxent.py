"""Specification of the model of maximum entropy, built by ``danlu.models``, and what goes with it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from danlu.spec.architecture import Architecture
from danlu.spec.base import NonNegativeFloat
from danlu.spec.durations import length
from danlu.spec.optim import Solver

if TYPE_CHECKING:
    from danlu.spec.experiment import Experiment


class Maxent(Architecture):
    """One weight for each column together with each class: p(y|x) ∝ exp(Σ_j x_j w_jy). The data say how many
    there are, and how they are called. ``spread``: the standard deviation of the initial weights; from other
    ones the optimum is the same, so that seeds tell how much the way to it depends on its beginning."""

    kind: Literal["maxent"] = "maxent"
    spread: NonNegativeFloat = 0.0


def check_maxent(experiment: Experiment) -> None:
    """Raises ValueError where training does not suit this model, or an optimizer solves for it alone."""
    model, train, optimizer = experiment.model, experiment.train, experiment.optimizer
    if isinstance(model, Maxent):
        if train.batch != 1 or train.ramp:
            raise ValueError(
                f"train.batch = {train.batch}, and of model.kind = maxent one example is the whole training "
                "set; set train.batch = 1 and no train.ramp"
            )
        if train.weights != "float32":
            raise ValueError(
                f"train.weights = {train.weights} is too coarse for model.kind = maxent, whose weights are "
                "float64; set train.weights = float32, which leaves them so"
            )
    if not isinstance(optimizer, Solver):
        return
    kind = f"optimizer.kind = {optimizer.kind}"
    if not isinstance(model, Maxent):
        raise ValueError(
            f"{kind} solves for the weights of model.kind = maxent, and model.kind = {model.kind}; "
            "use another optimizer, such as muon or adamw"
        )
    if train.clip:
        raise ValueError(f"train.clip = {train.clip} would change the steps of {kind}; set train.clip = 0")
    schedule = experiment.schedule
    if schedule.kind != "constant" or length(schedule.warmup).amount:
        raise ValueError(
            f"schedule.kind = {schedule.kind} with schedule.warmup = {getattr(schedule, 'warmup', 0)} would "
            f"shorten the steps of {kind}, which knows how long they are; set "
            "schedule = {kind: constant, warmup: 0}"
        )
