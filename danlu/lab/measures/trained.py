"""A trained run to be measured: its last weights, its held-out text, a model that reads it."""

from __future__ import annotations

from collections.abc import Iterator
from functools import cached_property
from pathlib import Path

import numpy as np
import torch

from danlu import data, objectives, spec
from danlu.files.json import read_object
from danlu.lab.errors import LabError
from danlu.models import Model, build
from danlu.objectives import IGNORED, Example, held_out_keys
from danlu.optim.rounding import to_bfloat16
from danlu.spec.words import resolve
from danlu.train import steps
from danlu.train.errors import RunError
from danlu.train.evaluate import Window, evaluate, held_out, to_device
from danlu.train.folder import RunFolder
from danlu.train.internals import Values, activations
from danlu.train.load import LoadedRun, load_run
from danlu.train.machine import PRECISIONS
from danlu.train.parallel import Processes
from danlu.train.trainer import EVALUATION_TOKENS

ALONE = Processes(0, 1, torch.device("cpu"))


class Trained:
    """The run in ``folder``, read when it is asked for, on the CPU.

    Its model has the weights of the last checkpoint (their average, where the run keeps one), in evaluation
    mode, and computes in the precision of the run. Raises ``RunError`` for what is missing.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    @cached_property
    def run(self) -> LoadedRun:
        step = steps.latest_step(self.folder)
        if step is None:
            raise RunError(f"{self.folder} holds no checkpoint to measure; run the experiment first")
        run = load_run(self.folder, step)
        run.model.compute = self._precision
        return run

    @cached_property
    def _precision(self) -> torch.dtype:
        environment = RunFolder(self.folder).environment
        if not environment.exists():  # an imported model that was never trained here
            return torch.float32
        return PRECISIONS[read_object(environment, {"choices": {"precision": str}})["choices"]["precision"]]

    @property
    def experiment(self) -> spec.Experiment:
        return self.run.experiment

    @cached_property
    def dataset(self) -> data.Dataset:
        return data.prepare(self.experiment.data)

    @cached_property
    def windows(self) -> list[Window]:
        """The held-out windows that the run itself is evaluated on."""
        return held_out(self.run.objective, self.dataset, self.experiment.train.evaluate_tokens)

    @property
    def rows(self) -> int:
        """Windows in one pass, as many as in the run's own evaluation."""
        train = self.experiment.train
        return max(train.microbatch or train.batch, EVALUATION_TOKENS // self.run.objective.context)

    @cached_property
    def metric(self) -> float:
        """The held-out metric, once more."""
        return self.score(self.run.model, self.run.objective, self.windows)

    def score(self, model: Model, objective: objectives.Objective, windows: list[Window]) -> float:
        """Bits a byte of ``model``. Raises ``LabError`` where it cannot read windows so long."""
        try:
            return evaluate(model, objective, windows, ALONE, rows=self.rows).bits_per_byte
        except ValueError as error:
            raise LabError(f"{self.folder} cannot read a context of {objective.context}: {error}") from None

    def laid_over(self, words: list[str]) -> tuple[spec.Experiment, Model]:
        """The experiment with ``words`` laid over it, and its model with the trained weights. Raises
        ``LabError`` where the weights are no longer those that it needs."""
        experiment = resolve([str(RunFolder(self.folder).experiment), *words])
        run = self.run
        model: Model = build(experiment.model, run.objective.vocabulary, max(run.objective.lengths))
        try:
            model.load_state_dict(run.model.state_dict())
        except RuntimeError:
            raise LabError(
                f"{' '.join(words)} needs other weights than {self.folder} has; lay over it only what "
                "adds and changes no weight, such as windows, the scaling of positions, or log_n"
            ) from None
        model.compute = self._precision
        return experiment, model.eval().requires_grad_(False)

    @cached_property
    def initial(self) -> Model:
        """The model as it was before the first update."""
        with torch.random.fork_rng(devices=()):
            torch.manual_seed(self.experiment.train.seed)
            objective = self.run.objective
            model: Model = build(self.experiment.model, objective.vocabulary, max(objective.lengths))
        if self.experiment.train.weights != "float32":
            to_bfloat16(model)
        model.compute = self._precision
        return model.eval().requires_grad_(False)

    def examples(self, rows: int) -> Iterator[Example]:
        """The held-out windows as examples of so many rows, in order."""
        objective = self.run.objective
        for start in range(0, len(self.windows), rows):
            some = self.windows[start : start + rows]
            inputs, targets, mask = (np.stack(part) for part in zip(*some, strict=True))
            keys = held_out_keys(range(start, start + len(some)))
            yield objective.example(inputs, targets, keys, mask)

    @torch.no_grad()
    def logits(self, model: Model, example: Example) -> torch.Tensor:
        """What ``model`` makes of an example: (rows, positions, vocabulary)."""
        objective = self.run.objective
        given = {name: t for name, t in to_device(example, ALONE.device).items() if name != "targets"}
        return model(given.pop("tokens"), **given, **objective.scope)

    @cached_property
    def sample(self) -> Example:
        """The first of the held-out text: some 4,096 tokens, at least one window."""
        return next(self.examples(max(1, EVALUATION_TOKENS // self.run.objective.context)))

    @cached_property
    def activations(self) -> Values:
        """What happens in the model as it reads ``sample``: keys as in ``danlu.train.internals.Look``."""
        return activations(self.run.model, lambda: self.logits(self.run.model, self.sample))

    @cached_property
    def predictions(self) -> list[tuple[Example, np.ndarray]]:
        """The held-out examples, each with the likeliest token at every position."""
        model = self.run.model
        return [(e, self.logits(model, e).argmax(-1).numpy()) for e in self.examples(self.rows)]


def predicted(example: Example) -> np.ndarray:
    """Where an example predicts something: bool, shaped like its targets."""
    return example["targets"] != IGNORED
