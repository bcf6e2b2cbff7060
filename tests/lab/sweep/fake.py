"""A queue that trains nothing: each run's score is a function of its experiment."""

from __future__ import annotations

import math
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path

from danlu.files.json import write_json
from danlu.lab.queue import Job, Outcome
from danlu.lab.queue.job import failed_outcome, outcome, write_failure
from danlu.lab.sweep.trials import Entry, Spent, Trial
from danlu.spec import Experiment
from tests.lab.summaries import summary

Objective = Callable[[Experiment], float]
FLOPS = 1000.0  # of an update


class FakeQueue:
    """Answers in the order of submission. An objective that is infinite has diverged, NaN has failed; after
    ``stop`` runs it is interrupted. ``ran``: the experiments carried out, not those found."""

    def __init__(self, studies: Path, objective: Objective, stop: float = math.inf) -> None:
        self.runs = studies / "runs"
        self.ran: list[Experiment] = []
        self._objective, self._stop = objective, stop
        self._waiting: list[Job] = []

    def folder(self, job: Job) -> Path:
        return self.runs / job.id

    def submit(self, job: Job) -> None:
        self._waiting.append(job)

    def alone(self, folder: Path) -> AbstractContextManager[None]:
        return nullcontext()

    def next(self) -> Outcome:
        job = self._waiting.pop(0)
        folder = self.folder(job)
        if found := outcome(job, folder, 0):
            return found
        if len(self.ran) >= self._stop:
            raise KeyboardInterrupt
        self.ran.append(job.experiment)
        return self._carry_out(job, folder)

    def _carry_out(self, job: Job, folder: Path) -> Outcome:
        folder.mkdir(parents=True, exist_ok=True)
        score, steps = self._objective(job.experiment), job.experiment.train.steps or 0
        if not math.isfinite(score):
            write_failure(folder, "it broke", "diverged" if math.isinf(score) else "failed", 1)
            return outcome(job, folder, 1) or failed_outcome(job, folder, 1)
        (folder / "failed.json").unlink(missing_ok=True)
        metric = {"name": "bits_per_byte", "value": score}
        write_json(folder / "measures.json", dict.fromkeys(job.measures, score))
        write_json(folder / "summary.json", summary(metric=metric, steps=steps, flops=FLOPS * steps))
        found = outcome(job, folder, 1)
        assert found is not None
        return found


def trial(
    number: int, point: dict[str, str], cost: float, *, by: str = "grid", steps: int | None = None
) -> Trial:
    """A trial as it would have come back; NaN failed, infinite diverged."""
    state = "failed" if math.isnan(cost) else "diverged" if math.isinf(cost) else "finished"
    values = (cost,) if state == "finished" else ()
    return Trial(Entry(number, point, by, steps), ["nano"], state, values, cost, Spent(1))  # type: ignore[arg-type]


def bowl(experiment: Experiment) -> float:
    """Lowest, 1.5, at a rate of 1e-2; each layer above two costs 0.1."""
    layers, lr = experiment.model.layers, experiment.optimizer.lr  # type: ignore[union-attr]
    return 1.5 + (math.log10(lr) + 2) ** 2 + 0.1 * (layers - 2)
