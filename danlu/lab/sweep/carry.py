"""Trials carried out by a queue: the runs of a point's seeds, and what they come to."""

from __future__ import annotations

import math
from collections.abc import Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from statistics import fmean
from typing import Protocol

from danlu.lab.errors import LabError
from danlu.lab.measures import Measure, value
from danlu.lab.queue import Job, Outcome
from danlu.lab.queue.job import failed_outcome, failure, outcome
from danlu.lab.sweep.experiments import Experiments
from danlu.lab.sweep.space import Space, said
from danlu.lab.sweep.trials import Entry, Spent, State, Trial
from danlu.train import metrics
from danlu.train.folder import RunFolder


class Queue(Protocol):
    """What is asked of ``danlu.lab.queue.Queue``."""

    def folder(self, job: Job) -> Path: ...

    def submit(self, job: Job) -> None: ...

    def next(self) -> Outcome: ...

    def alone(self, folder: Path) -> AbstractContextManager[None]: ...


class Carrier:
    """Carries out trials of a space, ``seeds`` runs each, and tells what came of them by a ``measure``.

    ``retry``: runs that failed before are tried again; else they count as failed.
    """

    def __init__(
        self, experiments: Experiments, queue: Queue, *, seeds: int, measure: Measure, retry: bool
    ) -> None:
        self.space, self.metric = experiments.space, measure.metric
        self._queue, self._seeds, self._retry = queue, seeds, retry
        self._measures = () if measure.reads else (measure.name,)
        self._experiments = experiments
        self._jobs: dict[int, list[Job]] = {}  # of an entry, by its number: a job's hash takes a while
        self._ended: dict[str, Outcome] = {}  # by the experiment's hash
        self._submitted: set[str] = set()

    def jobs(self, entry: Entry) -> list[Job]:
        """The runs of an entry, one a seed, the seeds counted up from that of the experiment."""
        if entry.number not in self._jobs:
            found = self._experiments(entry.point, entry.steps)
            name = f"{_base(self.space)} {said(entry.point)}"
            seeds = range(found.train.seed, found.train.seed + self._seeds)
            self._jobs[entry.number] = [Job(found.seeded(seed), self._measures, name) for seed in seeds]
        return self._jobs[entry.number]

    def submit(self, entry: Entry) -> None:
        """Have an entry's runs carried out, those that are not yet."""
        for job in self.jobs(entry):
            if job.hash in self._submitted:
                continue
            self._submitted.add(job.hash)
            if not self._retry:
                folder = self._queue.folder(job)
                before = failure(folder)
                if before is not None and before["kind"] == "failed":
                    self._ended[job.hash] = failed_outcome(job, folder, before["tries"])
                    continue
            self._queue.submit(job)

    def ended(self, entry: Entry) -> bool:
        """Whether all of its runs have ended before: what came of it is told without carrying out any."""
        for job in self.jobs(entry):
            folder = self._queue.folder(job)
            failed = not self._retry and failure(folder) is not None
            if not failed and outcome(job, folder, 0) is None:
                return False
        return True

    def wait(self, entry: Entry) -> Trial:
        """What came of an entry, once all of its runs have ended."""
        self.submit(entry)
        while missing := [job for job in self.jobs(entry) if job.hash not in self._ended]:
            ended = self._queue.next()
            if ended.job.hash not in self._submitted:
                raise LabError(f"{missing[0].id} is not what the queue came back with: {ended.job.id}")
            self._ended[ended.job.hash] = ended
        return self._trial(entry, [self._ended[job.hash] for job in self.jobs(entry)])

    def all(self, entries: Sequence[Entry]) -> list[Trial]:
        """What came of all of these, which are carried out side by side."""
        for entry in entries:
            self.submit(entry)
        return [self.wait(entry) for entry in entries]

    def _trial(self, entry: Entry, outcomes: Sequence[Outcome]) -> Trial:
        found = [value(one, self.metric.name) for one in outcomes if one.error is None]
        values = tuple(v for v in found if math.isfinite(v))
        state: State = "finished"
        if any(one.error is not None and not one.diverged for one in outcomes):
            state, cost = "failed", math.nan
        elif len(values) < len(outcomes):
            state, cost = "diverged" if any(one.diverged for one in outcomes) else "unscored", math.inf
        else:
            cost = self.metric.sign * fmean(values)
        return Trial(
            entry,
            self.space.words(entry.point),
            state,
            values,
            cost,
            sum((_spent(one) for one in outcomes), Spent()),
            next((one.error for one in outcomes if one.error is not None), None),
            tuple(one.folder for one in outcomes),
        )


def _spent(outcome: Outcome) -> Spent:
    """What a run took; of one that came to no end what its metrics say."""
    if outcome.summary is not None:
        said = outcome.summary
        return Spent(1, said["steps"], sum(said["active_seconds"].values()), said["flops"])
    rows = [row for row in metrics.read(RunFolder(outcome.folder).metrics) if "flops" in row]
    return Spent(1, rows[-1]["step"], rows[-1]["seconds"], rows[-1]["flops"]) if rows else Spent(1)


def _base(space: Space) -> str:
    """The recipe's name, or what stands for it."""
    first = space.parts[0]
    return Path(first).stem if isinstance(first, str) and "=" not in first and first[0] != "+" else "tiny"
