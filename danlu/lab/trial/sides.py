"""The two sides of a pair: an experiment that is run at several seeds, and at the same cost as another."""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from danlu import spec
from danlu.lab.budget import bounded, flops, looked_into
from danlu.lab.queue import Job, Outcome, Queue
from danlu.spec.metrics import Metric


@dataclass(frozen=True)
class Side:
    """An experiment of a known number of updates; ``name``: of its runs."""

    name: str
    experiment: spec.Experiment

    @classmethod
    def of(cls, name: str, experiment: spec.Experiment, steps: int) -> Side:
        """The same for ``steps`` updates, keeping statistics of its insides."""
        return cls(name, looked_into(bounded(experiment, steps, internals_every=None)))

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


Value = Callable[[Side, int], float]  # of a side's run with a seed


class Runs:
    """The runs of a study as far as they have ended; ``queue`` carries out what is missing."""

    def __init__(self, queue: Queue) -> None:
        self.queue = queue
        self._ended: dict[str, Outcome] = {}

    def run(self, jobs: Iterable[Job]) -> list[Outcome]:
        """As the queue does; the outcomes are kept."""
        outcomes = self.queue.run(jobs)
        self._ended |= {outcome.job.hash: outcome for outcome in outcomes}
        return outcomes

    def carry_out(self, wanted: Iterable[tuple[Side, int]]) -> None:
        """Each side with its seed, in this order. Raises ``LabError`` where a run failed, but for divergence,
        which is a result."""
        jobs = {job.hash: job for side, seed in wanted for job in [side.job(seed)]}
        for outcome in self.run([job for hash, job in jobs.items() if hash not in self._ended]):
            outcome.check()

    def pairs(self, baseline: Side, variant: Side, seeds: Sequence[int]) -> dict[int, tuple[Path, Path]]:
        """The folders of both sides, by seed, where both runs ended."""
        both = {seed: (self.outcome(baseline, seed), self.outcome(variant, seed)) for seed in seeds}
        return {seed: (b.folder, v.folder) for seed, (b, v) in both.items() if b.summary and v.summary}

    def folder(self, side: Side, seed: int) -> Path:
        """Where the run of a pair is, or will be."""
        job = side.job(seed)
        ended = self._ended.get(job.hash)
        return self.queue.folder(job) if ended is None else ended.folder

    def outcome(self, side: Side, seed: int) -> Outcome:
        """Of a run that was carried out."""
        return self._ended[side.job(seed).hash]

    def of(self, names: Collection[str]) -> list[Outcome]:
        """Of all runs so called."""
        return [outcome for outcome in self.ended if outcome.job.name in names]

    @property
    def ended(self) -> list[Outcome]:
        """All that were asked for, each once."""
        return list(self._ended.values())

    def metric(self, side: Side, seed: int) -> float:
        """The held-out metric after the last update; nan where the run diverged."""
        return self.outcome(side, seed).metric

    def other_values(self, metrics: Sequence[Metric]) -> dict[str, tuple[Metric, Value]]:
        """What else one might compare runs by, in words: their best evaluation, the weights without their
        average, each of the other metrics."""
        first, *others = metrics
        return {
            "by the best evaluation of each run": (first, lambda side, seed: self._said(side, seed, "best")),
            "by the weights that are not averaged": (first, self._at_end(first)),
            **{f"by {metric.words}": (metric, self._at_end(metric)) for metric in others if metric.judges},
        }

    def _at_end(self, metric: Metric) -> Value:
        return lambda side, seed: self._said(side, seed, "metrics", metric.name)

    def _said(self, side: Side, seed: int, *names: str) -> float:
        """A value of a run's summary; nan where there is none, as where the run diverged."""
        found: Any = self.outcome(side, seed).summary
        for name in names:
            found = (found or {}).get(name)
        return float((found or {}).get("value", math.nan))
