"""Minute studies: a queue that works in this process, and pairs without runs."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import replace
from pathlib import Path
from typing import Any

from danlu.code import loaded
from danlu.lab.queue.carry_out import carry_out, to_task
from danlu.lab.queue.job import Job, Outcome, outcome
from danlu.lab.trial.findings import At, Pairs
from danlu.spec import Experiment, Metric, resolve
from danlu.spec.replay import to_yaml
from danlu.train import metrics
from tests.train import small

RUN = ["train.evaluate_tokens=400", "train.log_every=2", "train.steps=6"]


class InProcess:
    """Stands for ``danlu.lab.queue.Queue``: carries out what is not there, one after another. ``law``: where
    there is one only the first run is carried out, and all end as it did but for what the law changes.
    ``said``: what a person is told."""

    def __init__(self, studies: Path, **_: Any) -> None:
        self.runs = Path(studies) / "runs"
        self.started: list[Job] = []
        self.said: list[str] = []
        self.law: Callable[[Outcome], Outcome] | None = None
        self.first: Outcome | None = None

    def __enter__(self) -> InProcess:
        return self

    def __exit__(self, *_: object) -> None: ...

    def alone(self, folder: Path) -> AbstractContextManager[None]:
        return nullcontext()

    def say(self, text: str) -> None:
        self.said.append(text)

    def check(self) -> None: ...

    def faster(self, experiment: Experiment) -> float:
        return 1.0

    def run(self, jobs: Iterable[Job]) -> list[Outcome]:
        return [self._one(job) if self.law is None else self.law(self._like_the_first(job)) for job in jobs]

    def folder(self, job: Job) -> Path:
        return self.runs / job.id

    def rows(self, job: Job) -> list[dict[str, Any]]:
        return metrics.read(self.runs / job.id / "metrics.jsonl")

    def _like_the_first(self, job: Job) -> Outcome:
        if self.first is None:
            self.first = self._one(job)
        else:
            self.started.append(job)
        return replace(self.first, job=job)

    def _one(self, job: Job) -> Outcome:
        folder = self.folder(job)
        if (found := outcome(job, folder, tries=0)) is not None:
            return found
        self.started.append(job)
        with small.quick():
            carry_out(to_task(job, folder, 1, loaded().tier_a))
        found = outcome(job, folder, tries=1)
        assert found is not None
        return found


def baseline(folder: Path) -> str:
    """The file of a minute baseline on a text of its own, as a person names it after ``--on``."""
    path = folder / "small.yaml"
    path.write_text(to_yaml(resolve([*small.words(small.corpus(folder)), *RUN])))
    return str(path)


def came_to(ended: Outcome, value: float, **regime: Any) -> Outcome:
    """As if the run had come to this value of its metric, with another regime."""
    assert ended.summary is not None
    summary = ended.summary | {"metric": ended.summary["metric"] | {"value": value}}
    return replace(ended, summary=summary | {"regime": summary["regime"] | regime})


BITS, ACCURACY = Metric("bits_per_byte", "bits/byte", "lower"), Metric("accuracy", "", "higher")


def pairs(
    differences: Sequence[float], idea: str = "+idea", at: At = "steps", metric: Metric = BITS
) -> Pairs:
    """Pairs with these differences; nan: the variant diverged; infinite: the baseline did."""
    before = tuple(math.nan if math.isinf(x) else 2.0 for x in differences)
    after = tuple(2.0 if math.isinf(x) else 2.0 + x for x in differences)
    return Pairs(idea, at, metric, tuple(range(len(differences))), before, after)
