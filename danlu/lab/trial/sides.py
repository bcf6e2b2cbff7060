"""The two sides of a pair: an experiment that is run at several seeds, at the same cost as another, at the
best of several rates."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from statistics import fmean
from typing import Any

from danlu import spec
from danlu.lab.budget import bounded, flops
from danlu.lab.errors import LabError
from danlu.lab.queue import Job, Outcome, Queue

ROWS = 10  # of internal statistics in a run
RATES = (0.25, 0.5, 1.0, 2.0, 4.0)  # times a side's own, when they are tuned
TUNING_SEEDS = (1_000_001, 1_000_002)  # far from those of the comparison


@dataclass(frozen=True)
class Side:
    """An experiment of a known number of updates; ``name``: of its runs."""

    name: str
    experiment: spec.Experiment

    @classmethod
    def of(cls, name: str, experiment: spec.Experiment, steps: int) -> Side:
        """The same for ``steps`` updates, keeping statistics of its insides."""
        return cls(name, bounded(experiment, steps, internals_every=max(1, steps // ROWS)))

    @property
    def steps(self) -> int:
        assert self.experiment.train.steps is not None
        return self.experiment.train.steps

    def job(self, seed: int) -> Job:
        """The run of this side in the pair ``seed``."""
        train = self.experiment.train.model_copy(update={"seed": seed})
        return Job(self.experiment.model_copy(update={"train": train}), name=self.name)

    def longer(self, factor: float) -> Side:
        """With so many times the updates, to the nearest, its schedule stretched to them."""
        return Side.of(self.name, self.experiment, max(1, round(self.steps * factor)))

    def at_cost_of(self, other: Side) -> tuple[Side, float]:
        """As many updates as cost what the ``other`` side does in FLOPs, and the ratio of the two costs
        before."""
        ratio = flops(self.experiment) / flops(other.experiment)
        return self.longer(1 / ratio), ratio

    def at_rate(self, factor: float) -> Side:
        """With every rate of the optimizer multiplied. Raises ``LabError`` where it has none."""
        optimizer = self.experiment.optimizer.model_dump()
        if not _scale(optimizer, factor):
            raise LabError(f"{optimizer['kind']} sets its own rate: nothing to tune; set optimizer.lr")
        said = self.experiment.model_dump() | {"optimizer": optimizer}
        return replace(self, experiment=spec.validate(said))


def _scale(optimizer: dict[str, Any], factor: float) -> bool:
    """Multiply the rates in place, those of a rule within it too; whether there is any."""
    rates = [key for key in ("lr", "adamw_lr") if optimizer.get(key) is not None]
    for key in rates:
        optimizer[key] *= factor
    if isinstance(optimizer.get("embeddings"), dict):
        _scale(optimizer["embeddings"], factor)
    return bool(rates)


class Runs:
    """The runs of a study as far as they have ended; ``queue`` carries out what is missing."""

    def __init__(self, queue: Queue) -> None:
        self.queue = queue
        self._ended: dict[str, Outcome] = {}

    def carry_out(self, wanted: Iterable[tuple[Side, int]]) -> None:
        """Each side with its seed, in this order. Raises ``LabError`` where a run failed, but for divergence,
        which is a result."""
        jobs = {job.hash: job for side, seed in wanted for job in [side.job(seed)]}
        for outcome in self.queue.run(job for hash, job in jobs.items() if hash not in self._ended):
            if outcome.summary is None and not outcome.diverged:
                raise LabError(
                    f"{outcome.folder}: {outcome.error}; finished runs are kept; the same command continues"
                )
            self._ended[outcome.job.hash] = outcome

    def outcome(self, side: Side, seed: int) -> Outcome:
        """Of a run that was carried out."""
        return self._ended[side.job(seed).hash]

    def metric(self, side: Side, seed: int) -> float:
        """The held-out metric after the last update; nan where the run diverged."""
        summary = self.outcome(side, seed).summary
        return math.nan if summary is None else float(summary["metric"]["value"])

    def tune(self, sides: Sequence[Side]) -> list[tuple[Side, dict[str, Any]]]:
        """Each side at the best of its rates, and what was seen: ``factor`` of its own rates, ``border``
        whether that is at the grid's end, and the ``curve``, the mean metric by factor (none: diverged)."""
        grids = [{factor: side.at_rate(factor) for factor in RATES} for side in sides]
        self.carry_out((at, seed) for grid in grids for at in grid.values() for seed in TUNING_SEEDS)
        return [self._best(grid) for grid in grids]

    def _best(self, grid: Mapping[float, Side]) -> tuple[Side, dict[str, Any]]:
        curve = {factor: fmean(self.metric(at, seed) for seed in TUNING_SEEDS) for factor, at in grid.items()}
        ended = {factor: value for factor, value in curve.items() if math.isfinite(value)}
        if not ended:
            raise LabError(
                f"{grid[1.0].name} diverged at every rate tried; lower optimizer.lr, or leave out --tune"
            )
        sign = grid[1.0].experiment.objective.metrics[0].sign
        best = min(ended, key=lambda factor: sign * ended[factor])
        return grid[best], {
            "factor": best,
            "border": best in (RATES[0], RATES[-1]),
            "curve": {f"{factor:g}": ended.get(factor) for factor in RATES},
        }
