"""A folder is looked into: one pass over held-out examples, and one with gradients."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, NamedTuple

import torch

from danlu import spec
from danlu.files.json import finite
from danlu.inspection import weighing
from danlu.inspection.table import STATISTICS, known
from danlu.inspection.watching import Values, activations, stream_gradients
from danlu.lab.errors import LabError
from danlu.lab.measures.trained import Trained
from danlu.models import Model
from danlu.objectives import Example, Objective
from danlu.train import metrics, store
from danlu.train.evaluate import EVALUATION_UNITS
from danlu.train.folder import RunFolder, is_foreign
from danlu.train.load import load_run
from danlu.train.machine import PRECISIONS
from danlu.train.parallel import ALONE
from danlu.train.update import to_device

CONTEXT = 256  # positions of text that are read, where the run's own context is longer

Say = Callable[[str], None]


def quietly(text: str) -> None:
    """Says nothing."""


class Reads(NamedTuple):
    """What a network reads: so many ``rows`` (None: some 4,096 tokens or images) of held-out examples; of
    text ``context`` positions each (None: the run's own, at most 256), of another ``corpus`` (None: the run's
    own)."""

    rows: int | None = None
    context: int | None = None
    corpus: str | None = None


@dataclass(frozen=True)
class Inspection:
    """What is inside the network in ``folder`` at ``step``: ``values`` by statistic and layer, of ``rows``
    held-out examples of ``size`` positions (tokens, pixels). ``seconds`` that it took."""

    folder: Path
    step: int
    values: Values
    rows: int
    size: int
    objective: str
    precision: str
    parameters: int
    seconds: float

    @property
    def layers(self) -> list[str]:
        """In the order in which they came."""
        return list(dict.fromkeys(key.partition("/")[2] for key in self.values))

    def of(self, name: str) -> Values:
        """One statistic by layer."""
        start = f"{name}/"
        return {key[len(start) :]: value for key, value in self.values.items() if key.startswith(start)}

    def json(self) -> dict[str, Any]:
        """As JSON: what is not finite is none."""
        names = [*dict.fromkeys(key.partition("/")[0] for key in self.values)]
        return {
            "folder": str(self.folder), "step": self.step, "rows": self.rows, "size": self.size,
            "objective": self.objective, "precision": self.precision, "parameters": self.parameters,
            "seconds": round(self.seconds, 3), "statistics": {name: finite(self.of(name)) for name in names},
        }  # fmt: skip


def definitions(names: list[str]) -> dict[str, dict[str, Any]]:
    """What the statistics ``names`` are, for those who read JSON."""
    found = {}
    for name in names:
        if (one := known(name)) is not None:
            found[name] = {"words": one.words, "text": one.text, "position_0": not name.endswith("-rest")}
    return found


def inspect(
    folder: Path,
    step: int | None = None,
    *,
    reads: Reads = Reads(),
    gradients: bool = True,
    say: Say = quietly,
) -> Inspection:
    """What is inside the run in ``folder``, or the model in a folder of transformers'.

    ``step``: of a checkpoint (None: the last). ``gradients``: also those of the loss. Raises ``RunError`` for
    a folder that holds neither, ``LabError`` for a context that the model cannot read.
    """
    began = time.perf_counter()
    say(f"reading {folder}")
    run = _trained(folder, step)
    objective, example = sample(run, reads)
    values = look(run.run.model, objective, example, gradients=gradients, say=say)
    if step is None or step == store.latest_step(folder):
        values |= updates(folder)
    return _told(run, objective, example, values, began)


def over_checkpoints(
    folder: Path,
    *,
    reads: Reads = Reads(),
    gradients: bool = True,
    say: Say = quietly,
) -> Iterator[Inspection]:
    """``inspect`` of each checkpoint that a run keeps, in order, all of the same examples; with ``change``
    since the one before. Raises ``LabError`` where there are fewer than two."""
    if not (foreign := is_foreign(folder)):
        RunFolder(folder).check()
    steps = [] if foreign else store.list_steps(folder)
    if len(steps) < 2:
        raise LabError(
            f"{folder} keeps {len(steps)} checkpoint{'' if len(steps) == 1 else 's'}, and maps over steps "
            "need two or more; train with train.checkpoint_every and train.keep"
        )
    first = Trained(folder, steps[0])
    objective, example = sample(first, reads)
    before: Model | None = None
    for step in steps:
        began = time.perf_counter()
        say(f"step {step} of {steps[-1]}")
        loaded = first.run if step == steps[0] else load_run(folder, step)
        loaded.model.compute = first.run.model.compute
        values = look(loaded.model, objective, example, gradients=gradients)
        if before is not None:
            values |= weighing.changes(before, loaded.model)
        before = loaded.model
        yield replace(_told(first, objective, example, values, began), step=step)


def sample(run: Trained, reads: Reads) -> tuple[Objective, Example]:
    """What is read: examples that the run was not trained on."""
    objective = run.objective if reads.corpus is None else None
    if isinstance(run.experiment.data, spec.Text):
        context = reads.context or min(run.experiment.data.context, CONTEXT)
        if objective is None or context != run.experiment.data.context:
            objective = run.reading(corpus=reads.corpus, context=context)
    elif reads.context is not None or reads.corpus is not None:
        what = f"context = {reads.context}" if reads.corpus is None else f"corpus = {reads.corpus}"
        raise LabError(f"{what} is for text, and {run.folder} reads {run.experiment.data.kind}; leave it out")
    assert objective is not None
    rows = reads.rows or max(1, EVALUATION_UNITS // objective.size)
    held_out = objective.held_out(rows * objective.size)
    return objective, held_out.example(range(min(rows, held_out.count)), None)


def look(
    model: Model, objective: Objective, example: Example, *, gradients: bool = True, say: Say = quietly
) -> Values:
    """All statistics of ``model`` as it reads ``example``. Raises ``LabError`` where it cannot."""
    tensors = to_device(example, ALONE.device)
    model.requires_grad_(True)  # what learns is told by it
    try:
        say("activations and attention")
        try:
            logits = objective.output == "logits"
            values = activations(model, lambda: objective.loss(model, tensors), whole=True, logits=logits)
        except ValueError as error:
            raise LabError(f"the model cannot read a context of {objective.size}: {error}") from None
        say("weights")
        values |= weighing.weights(model)
        if gradients:
            say("gradients")
            values |= stream_gradients(model, lambda: _backward(model, objective, tensors))
            values |= weighing.gradients(model)
    finally:
        model.requires_grad_(False)
        for p in model.parameters():
            p.grad = None
    return values


def _backward(model: Model, objective: Objective, example: dict[str, torch.Tensor]) -> None:
    rows = len(next(iter(example.values())))
    (objective.loss(model, example).minimised / (rows * objective.count)).backward()


def updates(folder: Path) -> Values:
    """The last ``update`` of each part that the run wrote (``train.internals_every``)."""
    rows = [row["inside"] for row in metrics.read(RunFolder(folder).metrics) if "inside" in row]
    return {key: value for key, value in (rows[-1] if rows else {}).items() if key.startswith("update/")}


def _trained(folder: Path, step: int | None) -> Trained:
    if is_foreign(folder) and step is not None:
        raise LabError(f"step = {step}: {folder} holds one model and no checkpoints; leave it out")
    return Trained(folder, step)


def _told(run: Trained, objective: Objective, example: Example, values: Values, began: float) -> Inspection:
    precision = next(name for name, dtype in PRECISIONS.items() if dtype == run.run.model.compute)
    return Inspection(
        run.folder,
        run.run.step,
        _ordered(values),
        len(next(iter(example.values()))),
        objective.size,
        run.experiment.objective.kind,
        precision,
        sum(p.numel() for p in run.run.model.parameters()),
        time.perf_counter() - began,
    )


def _ordered(values: Values) -> Values:
    """In the order of the table, a statistic without position 0 after the one with it; layers from the
    embedding to the readout."""
    places = {name: i for i, name in enumerate(STATISTICS)}
    ends = {"embedding": -1, "readout": 1}

    def place(key: str) -> tuple[int, bool, int]:
        name, _, layer = key.partition("/")
        rest = name.endswith("-rest")
        return places.get(name.removesuffix("-rest"), len(places)), rest, ends.get(layer, 0)

    return {key: values[key] for key in sorted(values, key=place)}
