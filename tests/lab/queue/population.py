"""Stands for ``danlu.train.population`` where a test asks about the queue: trains members one by one."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from danlu import spec
from danlu.train.errors import RunError
from danlu.train.interrupt import Interrupt
from danlu.train.run import train
from tests.train import small


class Population:
    """``refuses``: the sentence of a part without a batched form. ``harm``: called with the seeds of a
    population before it is trained; what it raises ends all of it. ``given``: seeds, population by
    population."""

    def __init__(
        self, refuses: str | None = None, harm: Callable[[list[int]], None] = lambda seeds: None
    ) -> None:
        self.refuses, self.harm = refuses, harm
        self.given: list[list[int]] = []

    def refusal(self, experiments: Sequence[spec.Experiment]) -> str | None:
        return self.refuses

    def train_together(
        self, experiments: Sequence[spec.Experiment], folders: Sequence[Path], *, interrupt: Interrupt
    ) -> list[dict[str, Any] | Exception]:
        seeds = [experiment.train.seed for experiment in experiments]
        self.given.append(seeds)
        self.harm(seeds)
        found: list[dict[str, Any] | Exception] = []
        for experiment, folder in zip(experiments, folders, strict=True):
            try:
                with small.quick():
                    summary = train(experiment, folder, small.Told(), interrupt=interrupt, sample=False)
            except RunError as error:
                found.append(error)
            else:
                assert summary is not None
                found.append(summary)
        return found
