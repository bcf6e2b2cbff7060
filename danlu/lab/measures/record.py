"""Measures read off a run's files: its summary and its metrics. No torch here.

Where a run keeps an average of its weights, held-out scores are the average's.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from functools import cached_property
from pathlib import Path
from typing import Any

from danlu.files.json import read_object
from danlu.lab.errors import LabError
from danlu.spec import Causal, Metric
from danlu.spec.metrics import loss_of
from danlu.spec.words import resolve
from danlu.train import metrics, shapes
from danlu.train.folder import RunFolder
from danlu.train.spikes import flagged


class Record:
    """What the run in ``folder`` wrote down. Raises ``FileError`` where that is missing."""

    def __init__(self, folder: Path) -> None:
        self.folder = RunFolder(folder)

    @cached_property
    def summary(self) -> dict[str, Any]:
        return read_object(self.folder.summary, shapes.SUMMARY)

    @cached_property
    def rows(self) -> list[metrics.Row]:
        return metrics.read(self.folder.metrics)

    def column(self, name: str) -> list[tuple[int, Any]]:
        """The rows that have ``name``, as (step, value)."""
        return [(row["step"], row[name]) for row in self.rows if name in row]

    @property
    def counted(self) -> str:
        """What the run is counted in: tokens, images."""
        return f"{self.summary.get('unit') or 'token'}s"

    @cached_property
    def metrics(self) -> tuple[Metric, ...]:
        """Those of the run's objective, the first of which decides."""
        if self.folder.experiment.exists() and not self.folder.summary.exists():  # imported, never trained
            return resolve([str(self.folder.experiment)]).objective.metrics
        found = self.summary.get("metrics")
        if found is None:  # a run of before danlu 0.4, of text
            return Causal().metrics
        first = Metric.read(self.summary["metric"])
        others = (Metric.read({"name": name, **about}) for name, about in found.items())
        return first, *(other for other in others if other.name != first.name)

    def scores(self, against: str = "step", of: str | None = None) -> list[tuple[int, Any]]:
        """The evaluations: (step or tokens, value of the first metric, or of the one called ``of``)."""
        name = of or self.metrics[0].name
        rows = (row for row in self.rows if name in row)
        return [(row[against], row.get(f"{name}_average", row[name])) for row in rows]

    def last_tenth(self, name: str) -> list[Any]:
        """The values of ``name`` in the last tenth of the steps; the last one where there is none in it."""
        column = self.column(name)
        late = [value for step, value in column if step > 0.9 * self.summary["steps"]]
        return late or [value for _, value in column[-1:]]


def metric(record: Record) -> float:
    """The last held-out value of the first metric."""
    return float(record.summary["metric"]["value"])


def held_out(record: Record, name: str) -> float:
    """The last held-out value of the metric ``name``."""
    if name == record.metrics[0].name:
        return metric(record)
    found = record.scores(of=name)
    if not found:
        raise LabError(f"{record.folder.path} holds no {name} in its metrics: let the run finish")
    return float(found[-1][1])


def best(record: Record) -> float:
    """The best held-out value of the first metric."""
    return float(record.summary["best"]["value"])


def last_weights(record: Record) -> float:
    """The last held-out value of the weights themselves where an average of them is kept."""
    return _last(record, record.metrics[0].name)


def at_step(record: Record, step: int) -> float:
    """The held-out value at ``step``. Raises ``LabError`` where the run was not evaluated there."""
    found = dict(record.scores())
    if step not in found:
        at = ", ".join(map(str, found)) or "no step"
        raise LabError(
            f"{record.folder.path} was evaluated at {at}, not at step {step}; set train.evaluate_every"
        )
    return float(found[step])


def steps_to(record: Record, wanted: float) -> float:
    """The step at which the held-out value first is ``wanted`` or better, infinity if never: log(step) is
    taken as linear in the value between the evaluation before and the first that is as good."""
    return first_reached(record.scores(), wanted, record.metrics[0].sign)


def tokens_to(record: Record, wanted: float) -> float:
    """``steps_to`` in tokens (images, …) trained on."""
    return first_reached(record.scores(record.counted), wanted, record.metrics[0].sign)


def flops_to(record: Record, wanted: float) -> float:
    """``steps_to`` in FLOPs of the matrix products."""
    return tokens_to(record, wanted) * record.summary["flops"] / tokens(record)


def first_reached(scores: Iterable[tuple[int, float]], wanted: float, sign: int = 1) -> float:
    """Where ``sign``·value first is ``sign``·``wanted`` or less, interpolated as ``steps_to`` says; infinity
    if nowhere."""
    before: tuple[int, float] | None = None
    for place, score in scores:
        if sign * score <= sign * wanted:
            if before is None:
                return float(place)
            share = (before[1] - wanted) / (before[1] - score)
            return math.exp((1 - share) * math.log(before[0]) + share * math.log(place))
        before = place, score
    return math.inf


def loss(record: Record) -> float:
    """The training loss: the mean of the rows in the last tenth of the steps."""
    return _mean(record.last_tenth("loss"))


def gap(record: Record) -> float:
    """Held-out loss (of the weights, not of their average) minus training loss."""
    return _last(record, loss_of(record.metrics).name) - loss(record)


def bits_below_unigram(record: Record) -> float:
    """How far the held-out loss of a term (a token, an image) lies below that of who knows only how frequent
    each is in the training data (``danlu.objectives.chance``). Raises ``LabError`` where none knows it."""
    found = (record.summary.get("regime") or {}).get("bits_below_chance")
    if found is None:
        raise LabError(f"{record.folder.path} does not say what token frequencies alone give; run it again")
    return float(found)


def spikes(record: Record) -> float:
    """How many rows have a training loss more than six robust deviations of its logarithm above those before
    (``danlu.train.spikes.Detector``); the first sixteen cannot. With ``train.log_every=1`` a row is one
    update."""
    return float(flagged([value for _, value in record.column("loss")]))


def share_clipped(record: Record) -> float:
    """The share of the logged updates whose gradient was longer than ``train.clip``; with
    ``train.log_every=1`` of all updates. Raises ``LabError`` where the run clips nothing."""
    clip = resolve([str(record.folder.experiment)]).train.clip
    if not clip:
        raise LabError(f"{record.folder.path} clips no gradient: set train.clip")
    return _mean(norm > clip for _, norm in record.column("grad_norm"))


def lost_updates(record: Record) -> float:
    """The share of the weights that an update would have moved and rounding left in place: mean of the rows;
    0 where weights are kept in float32, which loses none that are counted."""
    return (
        _mean(value for _, value in record.column("lost_updates")) if record.column("lost_updates") else 0.0
    )


def lost_in_part(record: Record, part: str) -> float:
    """``lost_updates`` of a part of the model, such as ``blocks.0.mixer``. Raises ``LabError`` for none."""
    rows = [row for _, row in record.column("lost_by_part")]
    if not rows or part not in rows[-1]:
        there = ", ".join(rows[-1]) if rows else "none, since its weights are not kept in bfloat16"
        raise LabError(f"{record.folder.path} counted no lost updates of {part!r}; there are {there}")
    return _mean(row[part] for row in rows)


def seconds(record: Record) -> float:
    """Active seconds of all parts, start and evaluation too."""
    return float(sum(record.summary["active_seconds"].values()))


def seconds_per_step(record: Record) -> float:
    """Seconds of an update: data, forward and backward, optimizer."""
    spent = record.summary["active_seconds"]
    return float(sum(spent[part] for part in ("data", "train", "optimizer")) / record.summary["steps"])


def flops(record: Record) -> float:
    """FLOPs of the matrix products of all updates."""
    return float(record.summary["flops"])


def flops_with_teacher(record: Record) -> float:
    """FLOPs of all updates, with a teacher's passes, and those of the teacher's own training."""
    return flops(record) + _of_teacher(record, "training_flops")


def seconds_with_teacher(record: Record) -> float:
    """Active seconds of the run and of its teacher's."""
    return seconds(record) + _of_teacher(record, "training_seconds")


def _of_teacher(record: Record, what: str) -> float:
    """A cost of the teacher's training; 0 where there is no teacher."""
    teacher = read_object(record.folder.environment).get("teacher")
    if teacher is None:
        return 0.0
    if teacher.get(what) is None:
        raise LabError(
            f"{record.folder.path}: nobody knows what the training of {teacher['run']} cost; take flops or "
            "seconds, which count its passes"
        )
    return float(teacher[what])


def parameters(record: Record) -> float:
    """Parameters of the model."""
    return float(record.summary["parameters"])


def tokens(record: Record) -> float:
    """Tokens (images, …) that were trained on."""
    return float(record.summary[record.counted])


def steps(record: Record) -> float:
    """Updates that were made."""
    return float(record.summary["steps"])


def noise_scale(record: Record) -> float:
    """tr Σ/|G|² of the gradient in examples (McCandlish et al. 2018, eq. 2.9), over the second half of the
    steps: the ratio of the means of what ``train.noise_every`` wrote; infinity where only noise is left.
    Raises ``LabError`` where there is none."""
    half = record.summary["steps"] / 2
    rows = [row for step, row in record.column("noise") if step > half]
    if not rows:
        raise LabError(
            f"{record.folder.path} did not measure the noise of its gradients: add train.noise_every=1, and "
            "a train.microbatch below train.batch"
        )
    squared = _mean(row["squared"] for row in rows)
    return _mean(row["trace"] for row in rows) / squared if squared > 0 else math.inf


def update_to_weight(record: Record) -> float:
    """‖Δw‖/‖w‖ of an update, mean over the parts of the model and the rows in the last tenth of the steps
    that ``train.internals_every`` wrote. Raises ``LabError`` where there is none."""
    rows = _inside(record, record.last_tenth("inside"))
    return _mean(value for row in rows for key, value in row.items() if key.startswith("update/"))


def inside(record: Record, key: str) -> float:
    """The last value of ``key``, such as ``kurtosis/blocks.0``, among what ``train.internals_every`` wrote.
    Raises ``LabError`` where there is none."""
    row = _inside(record, [value for _, value in record.column("inside")])[-1]
    if key not in row:
        raise LabError(
            f"{record.folder.path} wrote no {key!r} among its internals; there are {', '.join(row)}"
        )
    return float(row[key])


def _inside(record: Record, rows: list[dict[str, float]]) -> list[dict[str, float]]:
    if not rows:
        raise LabError(f"{record.folder.path} did not look inside its updates: add train.internals_every=10")
    return rows


def _last(record: Record, name: str) -> float:
    column = record.column(name)
    if not column:
        raise LabError(f"{record.folder.path} holds no {name} in its metrics: let the run finish")
    return float(column[-1][1])


def _mean(values: Iterable[float]) -> float:
    values = list(values)
    return sum(values) / len(values) if values else math.nan
