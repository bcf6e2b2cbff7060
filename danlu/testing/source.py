"""Data, objectives and schedules: what holds of them before anything is trained."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np
import torch

from danlu import data, spec
from danlu.models import build
from danlu.objectives import Draw
from danlu.optim import Progress, factor
from danlu.spec.errors import SpecError
from danlu.testing.alone import ATOL, RTOL
from danlu.testing.report import Report, Told, Wrong


def of_schedule(experiment: spec.Experiment, report: Report) -> None:
    def finite() -> str:
        try:
            rates = [factor(experiment.schedule, Progress(i / 100, i, 32 * i, 32)) for i in range(101)]
        except SpecError as error:
            raise Wrong(str(error)) from None
        return f"{min(rates):.3g} to {max(rates):.3g} of the peak rate"

    report.add("factor of the rate", finite)


def of_data(experiment: spec.Experiment, report: Report) -> None:
    """What holds of the data, and of the objective that reads it."""
    said: Any = experiment.data
    source = data.prepare(said)

    def twice() -> str:
        if not all(map(np.array_equal, source.held_out, data.prepare(said).held_out)):
            raise Wrong("prepared again, the held-out examples are others")
        return "the same held-out examples"

    def images() -> str:
        for name, (pixels, targets) in {"train": source.train, "held_out": source.held_out}.items():
            bright = pixels.size and not 0 <= pixels.min() <= pixels.max() <= 1
            if pixels.shape[1:] != said.shape or pixels.dtype != np.float32 or bright:
                raise Wrong(f"{name}: images are not float32 of {said.shape} from 0 to 1")
            if targets.dtype != np.int64 or not set(np.unique(targets)) <= set(range(said.classes)):
                raise Wrong(f"{name}: classes are not int64 from 0 to {said.classes - 1}")
        return f"{len(source.train[0])} to learn from, {len(source.held_out[0])} held out"

    report.add("prepared twice", twice)
    if getattr(said, "like", "") == "digits":
        report.add("images", images)
    of_objective(experiment, report)


def of_objective(experiment: spec.Experiment, report: Report) -> None:
    objective: Any = build(experiment.objective, data.prepare(experiment.data))
    model, rows = build(experiment.model, *objective.inputs), experiment.train.batch

    def example(start: int, stop: int) -> Mapping[str, Any]:
        made: Mapping[str, Any] = objective.example(Draw(0, 3, 3 * rows, start, stop))
        return made

    def loss(start: int, stop: int) -> torch.Tensor:
        total: torch.Tensor = objective.loss(model.train(), _tensors(example(start, stop))).total
        return total.detach()

    def slices() -> str:
        """A batch is a pure function of (seed, step, rows)."""
        whole, parts = example(0, rows), [example(0, 1), example(1, rows)]
        for name, array in whole.items():
            if not np.array_equal(array, np.concatenate([part[name] for part in parts])):
                raise Wrong(f"{name} of a part of a batch is another")
        return "parts of a batch are the batch"

    def sums() -> str:
        if objective.group is not None:
            raise Told("it says that its terms span several examples")
        whole, apart = loss(0, rows), torch.stack([loss(i, i + 1) for i in range(rows)]).sum()
        if not torch.allclose(whole, apart, RTOL, ATOL):
            raise Wrong(f"{float(whole):.6g}, example by example {float(apart):.6g}")
        return "the sum over examples"

    def metrics() -> str:
        held = objective.held_out()
        first, again = (_tensors(held.example(range(min(held.count, rows)), rows)) for _ in range(2))
        if any(not torch.equal(tensor, again[name]) for name, tensor in first.items()):
            raise Wrong("a held-out example is another the second time")
        with torch.no_grad():
            scores = objective.score(model.eval(), first)
        found = objective.measure({name: float(value) for name, value in scores.items()})
        names = [metric.name for metric in experiment.objective.metrics]
        if set(found) != set(names):
            raise Wrong(f"measure gives {', '.join(found)}, and metrics names {', '.join(names)}")
        if wrong := [name for name, value in found.items() if not math.isfinite(value)]:
            raise Wrong(f"{wrong[0]} is not finite")
        return ", ".join(names)

    report.add("examples", slices)
    report.add("loss", sums)
    report.add("metrics", metrics)


def _tensors(arrays: Mapping[str, Any]) -> dict[str, torch.Tensor]:
    return {name: torch.from_numpy(np.ascontiguousarray(array)) for name, array in arrays.items()}
