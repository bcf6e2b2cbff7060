"""The regime of a run: how far it went, in the terms that decide whether its verdict carries further."""

from __future__ import annotations

import math
from typing import Any

from danlu import spec
from danlu.objectives import HeldOut, Objective
from danlu.objectives.chance import chance
from danlu.spec.durations import length
from danlu.spec.errors import SpecError
from danlu.spec.metrics import loss_of


def regime(
    experiment: spec.Experiment,
    objective: Objective,
    held_out: HeldOut,
    *,
    measured: dict[str, float],
    parameters: int,
    steps: int,
    units: int,
    whole: bool,
) -> dict[str, Any]:
    """``tokens_per_parameter`` (None where the data is no stream of tokens), ``updates``,
    ``bits_below_chance``: of the held-out loss of a term, below ``danlu.objectives.chance`` (None where that
    is not known), ``warmup``: as a share of the run, and ``whole_schedule``: whether the schedule went to its
    end."""
    return {
        "tokens_per_parameter": units / parameters if objective.unit == "token" and parameters else None,
        "updates": steps,
        "bits_below_chance": _below_chance(experiment, objective, held_out, measured),
        "warmup": _warmup(experiment, steps, units),
        "whole_schedule": whole,
    }


def _below_chance(
    experiment: spec.Experiment, objective: Objective, held_out: HeldOut, measured: dict[str, float]
) -> float | None:
    try:
        loss = loss_of(experiment.objective.metrics)
    except SpecError:
        return None
    if not loss.unit.startswith("nats") or not math.isfinite(measured.get(loss.name, math.nan)):
        return None
    nats = chance(objective, held_out)
    return None if nats is None else (nats - measured[loss.name]) / math.log(2)


def _warmup(experiment: spec.Experiment, steps: int, units: int) -> float:
    duration = getattr(experiment.schedule, "warmup", 0.0)
    amount, unit = length(duration)
    if unit == "run":
        return amount
    return amount / max(1, steps if unit == "steps" else units)
