"""Averages of the weights in a run: where evaluation meets them, and what they are worth against averages of
outputs."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import torch
import torch.nn as nn

from danlu import data, spec
from danlu.nn.registry import build
from danlu.objectives import Objective
from danlu.optim.averages import SWA, Average, Ensemble
from danlu.optim.base import Rule
from danlu.train import checkpoint, store
from danlu.train.errors import RunError
from danlu.train.evaluate import evaluate
from danlu.train.load import load_run
from danlu.train.parallel import ALONE


class WeightsAverage:
    """The average that a run keeps of its weights, if it keeps one.

    ``s``: what ``train.average`` says; ``named``, the parameters of ``model``.
    """

    def __init__(
        self, s: spec.Average | None, model: nn.Module, named: Sequence[tuple[str, nn.Parameter]]
    ) -> None:
        self.model = model
        self.average: Average | None = None if s is None else build(s, named)

    @property
    def seen(self) -> int:
        """Updates since the average began; 0: there is none."""
        return self.average.seen if self.average is not None else 0

    @seen.setter
    def seen(self, count: int) -> None:
        if self.average is not None:
            self.average.seen = count

    def update(self, progress: float) -> None:
        """After an update at ``progress`` of the run."""
        if self.average is not None:
            self.average.update(progress)

    def scores(self, score: Callable[[], dict[str, float]], metric: str) -> dict[str, float]:
        """The metrics that ``score`` finds of the weights; with ``metric`` of their average, where there is
        one, as ``METRIC_average``, and its error where it has one, as ``METRIC_average_error``."""
        found = score()
        if self.average is not None and self.average.seen:
            with self.in_place():
                its = score()
            names = [end for end in ("", "_error") if f"{metric}{end}" in its]
            found |= {f"{metric}_average{end}": its[f"{metric}{end}"] for end in names}
        return found

    @contextmanager
    def in_place(self) -> Iterator[None]:
        """Within, the weights are their average, where there is one."""
        if self.average is None or not self.average.seen:
            yield
            return
        try:
            with self.average.in_place():
                _gather_anew(self.model)
                yield
        finally:
            _gather_anew(self.model)

    def tensors(self) -> dict[str, dict[str, torch.Tensor]]:
        """What a checkpoint keeps of it, by file and name."""
        return {} if self.average is None else {"average": self.average.tensors}

    def load(self, tensors: Mapping[str, Mapping[str, torch.Tensor]]) -> None:
        """Take over what ``tensors`` gave."""
        if self.average is not None:
            found = tensors.get("average", {})
            checkpoint.compare(self.average.tensors, found, "the average in the checkpoint")
            self.average.load(found)


@contextmanager
def averaged(optimizers: Sequence[Rule], model: nn.Module) -> Iterator[None]:
    """Within, the weights are those to evaluate and to save by a rule with an average of its own
    (Schedule-Free), and its state has what is needed to go on."""
    with ExitStack() as stack:
        stack.callback(_gather_anew, model)  # the last to be called
        for optimizer in optimizers:
            stack.enter_context(optimizer.averaged())
        _gather_anew(model)
        yield


def _gather_anew(model: nn.Module) -> None:
    """Let go of weights that FSDP2 keeps gathered after a forward pass: they are those of before."""
    for module in model.modules():
        if hasattr(module, "reshard"):
            module.reshard()  # type: ignore[operator]


@torch.no_grad()
def evaluate_averages(run: Path, last: int | None = None) -> dict[str, Any]:
    """What averaging is worth at the end of a run: its metric, on its held-out examples, of the ``last``
    checkpoints that it kept (left out: all), and of their averages.

    Returns ``steps``; ``each``, the checkpoints' own; ``weights``, of one model with the mean weights;
    ``probabilities`` and ``logits``, of all models together (``danlu.optim.Ensemble``). Computed in float32
    on the CPU. Raises ``RunError`` if the run has no checkpoint, ``DataError`` if its corpus has gone.
    """
    kept = store.list_steps(run)[-(last or 0) :]
    if not kept:
        raise RunError(f"{run} holds no checkpoint to average; run the experiment first")
    loaded = [load_run(run, step, averaged=False) for step in kept]
    experiment = loaded[0].experiment
    objective: Objective = build(experiment.objective, data.prepare(experiment.data))
    held_out = objective.held_out(experiment.train.evaluate_tokens)

    def score(model: nn.Module) -> float:
        found = evaluate(model, objective, held_out, ALONE, rows=experiment.train.batch)
        return found[experiment.objective.metrics[0].name]

    models = [each.model for each in loaded]
    found = {
        "steps": kept,
        "each": [score(model) for model in models],
        "probabilities": score(Ensemble(models)),
        "logits": score(Ensemble(models, of="logits")),
    }
    first = models[0]
    mean = SWA(first.named_parameters(), start=0, every=1)
    for model in models:
        first.load_state_dict(model.state_dict())  # the first time: its own
        mean.update()
    with mean.in_place():
        found["weights"] = score(first)
    return found
