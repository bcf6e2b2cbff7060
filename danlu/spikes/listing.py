"""The spikes of a run, read off its metrics. No torch here."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from danlu.spec.words import resolve
from danlu.train import metrics
from danlu.train.errors import RunError
from danlu.train.folder import RunFolder
from danlu.train.spikes import Spike, find


def found(folder: Path) -> tuple[list[Spike], list[tuple[int, float]], int]:
    """The spikes of the run in ``folder``, its losses by step, and the updates in a row of metrics. No torch
    is needed. Raises ``RunError`` where there are no losses."""
    run = RunFolder(folder)
    if not run.experiment.is_file():
        raise RunError(f"{folder} is not a run's folder; danlu runs lists those there are")
    every = resolve([str(run.experiment)]).train.log_every
    losses = [
        (row["step"], float(row["loss"]) if "loss" in row else math.inf)
        for row in metrics.read(run.metrics)
        if "loss" in row or "diverged" in row
    ]
    if not losses:
        raise RunError(f"{run.metrics} holds no losses; let the run train first")
    return find(losses), losses, every


def choose(spikes: Sequence[Spike], at: int | None) -> Spike | None:
    """The spike at step ``at``, or the highest."""
    if at is None:
        return max(spikes, key=lambda one: one.z, default=None)
    for spike in spikes:
        if spike.first <= at <= spike.last:
            return spike
    return Spike(at, at, at, at, math.nan, math.nan, math.nan)


def listed(folder: Path) -> dict[str, Any]:
    """The spikes of the run in ``folder``, none of them explained."""
    spikes, losses, every = found(folder)
    return {
        "run": str(folder), "rows": len(losses), "every": every,
        "losses": [list(row) for row in losses], "spikes": [vars(one) for one in spikes],
        "explained": None,
    }  # fmt: skip
