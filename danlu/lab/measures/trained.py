"""A trained run to be measured: its last weights, its held-out text, a model that reads it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import torch

from danlu import data, spec
from danlu.files.json import read_object
from danlu.inspection.watching import Values, activations
from danlu.interop.opened import opened
from danlu.lab.errors import LabError
from danlu.models import Model
from danlu.objectives import IGNORED, Example, HeldOut, Language, Objective
from danlu.spec.words import over
from danlu.train import store
from danlu.train.admin import measure_omegas
from danlu.train.assemble import initial, network, objective_of
from danlu.train.errors import RunError
from danlu.train.evaluate import EVALUATION_UNITS, evaluate, evaluation_rows
from danlu.train.folder import RunFolder, is_foreign
from danlu.train.load import TOKENIZER, LoadedRun, load_run
from danlu.train.machine import PRECISIONS
from danlu.train.parallel import ALONE
from danlu.train.update import to_device


class Trained:
    """The run in ``folder``, read when it is asked for, on the CPU; or a model in a folder of transformers',
    which is read as an import would.

    Its model has the weights of the checkpoint of ``step`` (None: the last; their average, where the run
    keeps one), in evaluation mode, and computes in the precision of the run. Raises ``RunError`` for what is
    missing.
    """

    def __init__(self, folder: Path, step: int | None = None) -> None:
        self.folder, self.step = folder, step

    @cached_property
    def run(self) -> LoadedRun:
        if is_foreign(self.folder):
            return opened(self.folder)
        RunFolder(self.folder).check()
        step = store.latest_step(self.folder) if self.step is None else self.step
        if step is None:
            raise RunError(f"{self.folder} holds no checkpoint to measure; run the experiment first")
        run = load_run(self.folder, step)
        run.model.compute = PRECISIONS[self._precision]
        return run

    @cached_property
    def _precision(self) -> str:
        environment = RunFolder(self.folder).environment
        if not environment.exists():  # an imported model that was never trained here
            return "float32"
        found = read_object(environment, {"choices": {"precision": str}})
        return str(found["choices"]["precision"])

    @property
    def experiment(self) -> spec.Experiment:
        return self.run.experiment

    @cached_property
    def source(self) -> Any:
        """The data that the run was trained on."""
        return data.prepare(self.experiment.data)

    @cached_property
    def objective(self) -> Objective:
        """The run's objective on its data."""
        return objective_of(self.experiment, self.source)

    def reading(self, *, corpus: str | None = None, context: int | None = None) -> Objective:
        """The objective of a run on text, on the text of another corpus, in the run's own tokens, or at
        another context."""
        text: spec.Text = self.experiment.text
        if corpus is None:
            source = self.source
        else:
            tokenizer = text.tokenizer
            if tokenizer != "bytes" and not is_foreign(self.folder):
                tokenizer = str(self.folder / TOKENIZER)
            text = text.model_copy(update={"corpus": corpus, "tokenizer": tokenizer})
            source = data.prepare(text)
        if context is not None:
            text = text.model_copy(update={"context": context})
            source = replace(source, spec=text)
        return objective_of(self.experiment.model_copy(update={"data": text}), source)

    @property
    def language(self) -> Language:
        """The objective of a run on text. Raises ``LabError`` for others."""
        if not isinstance(self.objective, Language):
            raise LabError(
                f"{self.folder} has the objective {self.experiment.objective.kind}: this is measured of text"
            )
        return self.objective

    @cached_property
    def held_out(self) -> HeldOut:
        """The held-out examples that the run itself is evaluated on."""
        return self.objective.held_out(self.experiment.train.evaluate_tokens)

    @property
    def rows(self) -> int:
        """Examples in one pass, as many as in the run's own evaluation."""
        return evaluation_rows(self.experiment, self.objective)

    @cached_property
    def metric(self) -> float:
        """The primary metric, once more."""
        return self.score(self.run.model, self.objective, self.held_out)

    def score(self, model: Model, objective: Objective, held_out: HeldOut) -> float:
        """The primary metric of ``model``. Raises ``LabError`` where it cannot read examples so long."""
        try:
            found = evaluate(model, objective, held_out, ALONE, rows=self.rows)
        except ValueError as error:
            raise LabError(f"{self.folder} cannot read a context of {objective.size}: {error}") from None
        return found[self.experiment.objective.metrics[0].name]

    def laid_over(self, words: list[str]) -> tuple[spec.Experiment, Model]:
        """The experiment with ``words`` laid over it, and its model with the trained weights. Raises
        ``LabError`` where the weights are no longer those that it needs."""
        experiment = over(self.experiment, words)
        model = network(experiment, self.run.objective, self._precision)
        try:
            model.load_state_dict(self.run.model.state_dict())
        except RuntimeError:
            raise LabError(
                f"{' '.join(words)} needs other weights than {self.folder} has; lay over it only what "
                "adds and changes no weight, such as windows, the scaling of positions, or log_n"
            ) from None
        return experiment, model.eval().requires_grad_(False)

    @cached_property
    def initial(self) -> Model:
        """The model as it was before the first update."""
        with torch.random.fork_rng(devices=()):
            torch.manual_seed(self.experiment.train.seed)
            model = initial(self.experiment, self.run.objective, self._precision)
        measure_omegas(model, self.experiment, self.objective)
        return model.eval().requires_grad_(False)

    def examples(self, rows: int) -> Iterator[Example]:
        """The held-out examples, so many rows at a time, in order."""
        for start in range(0, self.held_out.count, rows):
            yield self.held_out.example(range(start, min(start + rows, self.held_out.count)), None)

    @torch.no_grad()
    def forward(self, model: Model, example: Example) -> None:
        """A pass of ``model`` over an example, in evaluation mode."""
        self.objective.loss(model, to_device(example, ALONE.device))

    @torch.no_grad()
    def logits(self, model: Model, example: Example) -> torch.Tensor:
        """What ``model`` makes of an example of text: (rows, positions, vocabulary)."""
        return self.language.logits(model, to_device(example, ALONE.device))

    @cached_property
    def sample(self) -> Example:
        """The first of the held-out examples: some 4,096 tokens (images), at least one example."""
        return next(self.examples(max(1, EVALUATION_UNITS // self.objective.size)))

    @cached_property
    def activations(self) -> Values:
        """What happens in the model as it reads ``sample``: keys as in ``danlu.inspection.table``."""
        model, logits = self.run.model, self.objective.output == "logits"
        return activations(model, lambda: self.forward(model, self.sample), logits=logits)

    @cached_property
    def predictions(self) -> list[tuple[Example, np.ndarray]]:
        """The held-out examples, each with the likeliest token at every position."""
        model = self.run.model
        return [(e, self.logits(model, e).argmax(-1).numpy()) for e in self.examples(self.rows)]


def predicted(example: Example) -> np.ndarray:
    """Where an example predicts something: bool, shaped like its targets."""
    return example["targets"] != IGNORED
