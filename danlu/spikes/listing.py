"""The spikes of a run, read off its metrics. No torch here."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

from danlu.spec.words import resolve
from danlu.train import metrics
from danlu.train.errors import RunError
from danlu.train.folder import RunFolder
from danlu.train.spikes import Spike, find


class Listing(NamedTuple):
    """The ``spikes`` of the run in ``folder``, its ``losses`` by step, and how many updates a row of metrics
    is the mean of: ``every``."""

    folder: Path
    spikes: list[Spike]
    losses: list[tuple[int, float]]
    every: int

    def json(self, explained: dict[str, Any] | None = None) -> dict[str, Any]:
        """As JSON, with what was ``explained`` of one of them."""
        return {
            "run": str(self.folder), "rows": len(self.losses), "every": self.every,
            "losses": [list(row) for row in self.losses], "spikes": [vars(one) for one in self.spikes],
            "explained": explained,
        }  # fmt: skip


def listed(folder: Path) -> Listing:
    """The spikes of a run, none of them explained. Raises ``RunError`` where there are no losses."""
    run = RunFolder(folder)
    run.check()
    every = resolve([str(run.experiment)]).train.log_every
    losses = [
        (row["step"], float(row["loss"]) if "loss" in row else math.inf)
        for row in metrics.read(run.metrics)
        if "loss" in row or "diverged" in row
    ]
    if not losses:
        raise RunError(f"{run.metrics} holds no losses; let the run train first")
    return Listing(folder, find(losses), losses, every)


def choose(spikes: Sequence[Spike], at: int | None) -> Spike | None:
    """The spike at step ``at``, or the highest."""
    if at is None:
        return max(spikes, key=lambda one: one.z, default=None)
    for spike in spikes:
        if spike.first <= at <= spike.last:
            return spike
    return Spike(at, at, at, at, math.nan, math.nan, math.nan)
