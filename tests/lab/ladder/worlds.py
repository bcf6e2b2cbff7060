"""Worlds whose law is known, and a queue that answers from one instead of training."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from contextlib import AbstractContextManager, nullcontext
from functools import cache
from pathlib import Path
from types import TracebackType
from typing import Any

import numpy as np
import torch

from danlu.files.json import read_json, write_json
from danlu.files.write import write_atomically
from danlu.lab.ladder.shapes import Shapes
from danlu.lab.queue import Job, Outcome
from danlu.models import build
from danlu.spec import Experiment, resolve
from danlu.spec.replay import to_yaml
from danlu.train.metrics import MetricsFile
from tests.lab.summaries import summary

IDS = 257  # of the tokenizer of bytes
PER_BYTE = 1 / math.log(2)  # bits of a nat, a token being a byte
LossOf = Callable[[float, float, float], float]  # of parameters, tokens, FLOP


@cache
def shapes(*words: str) -> Shapes:
    """The shapes of a recipe with bytes; what matters here is said, so that retuning it changes no test."""
    pinned = ["optimizer.lr=6e-3", "train.steps=300", "train.batch=16"]
    return Shapes(resolve(["nano", *pinned, *words]), IDS)


@cache
def counted(model: Any, context: int) -> tuple[int, int]:
    """The parameters of a built model, and its FLOPs of training for each token, as a run counts them."""
    with torch.device("meta"):
        built = build(model, IDS, context)
    return sum(p.numel() for p in built.parameters()), 3 * built.flops(1, context) // context


def flops_of(experiment: Experiment) -> int:
    """FLOPs of the whole run."""
    train = experiment.train
    assert train.steps is not None
    context = experiment.data.context
    return counted(experiment.model, context)[1] * train.steps * train.batch * context


class World:
    """A queue (``World(…)(studies)`` makes one, as ``Queue`` does) whose runs end at once with the loss of a
    law, times exp(noise·N(0, 1)), drawn from the seed of the world and the run."""

    def __init__(
        self,
        loss: LossOf,
        noise: float = 0.0,
        seed: int = 0,
        wrong: Callable[[Job], str | None] | None = None,
        metrics: Callable[[float], dict[str, float]] | None = None,
    ) -> None:
        self.loss, self.noise, self.seed = loss, noise, seed
        self.wrong = wrong or (lambda job: None)
        self.metrics = metrics or (lambda loss: {"bits_per_byte": loss * PER_BYTE, "held_out_loss": loss})
        self.carried_out: list[str] = []
        self.runs = Path()

    def __call__(self, studies: Path) -> Any:
        self.runs = studies / "runs"
        return self

    def say(self, text: str) -> None: ...

    def __enter__(self) -> World:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        pass

    def alone(self, folder: Path) -> AbstractContextManager[None]:
        return nullcontext()

    def run(self, jobs: Iterable[Job]) -> list[Outcome]:
        return [self._outcome(job) for job in jobs]

    def _outcome(self, job: Job) -> Outcome:
        folder = self.runs / job.id
        if error := self.wrong(job):
            return Outcome(job, folder, None, error=error, diverged=True)
        if not (folder / "summary.json").exists():
            self._carry_out(job.experiment, folder)
            self.carried_out.append(job.id)
        return Outcome(job, folder, read_json(folder / "summary.json"))

    def _carry_out(self, experiment: Experiment, folder: Path) -> None:
        """What a run leaves behind: 2 ms an update, and 1 ps a FLOP."""
        train = experiment.train
        assert train.steps is not None
        size, each = counted(experiment.model, experiment.data.context)
        update = train.batch * experiment.data.context
        tokens = train.steps * update
        number = [self.seed, train.seed, size, tokens]
        luck = np.random.default_rng(number).standard_normal()
        loss = self.loss(size, tokens, each * tokens) * math.exp(self.noise * luck)
        folder.mkdir(parents=True, exist_ok=True)
        write_atomically(folder / "experiment.yaml", to_yaml(experiment).encode())
        with MetricsFile(folder / "metrics.jsonl") as metrics:
            for step in range(train.log_every, train.steps + 1, train.log_every):
                done = step * update
                row = {"step": step, "tokens": done, "seconds": step * (2e-3 + 1e-12 * each * update)}
                metrics.append(row | {"flops": each * done, "loss": loss})
            score = self.metrics(loss)
            metrics.append({"step": train.steps, "tokens": tokens, "seconds": 1.0, **score})
        found = {m.name: m.record(score[m.name]) for m in experiment.objective.metrics}
        counts = {"parameters": size, "tokens": tokens, "flops": each * tokens, "steps": train.steps}
        write_json(
            folder / "summary.json", summary(metric=next(iter(found.values())), metrics=found, **counts)
        )
