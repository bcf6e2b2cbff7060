"""From a folder to a folder in few bits, and to a report on what that costs."""

from __future__ import annotations

import copy
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Protocol

import torch
import torch.nn as nn

from danlu import data, spec
from danlu.interop.opened import opened
from danlu.lab.deployed.folder import check_new, whole, write
from danlu.lab.errors import LabError
from danlu.lab.quantized.prepared import prepare
from danlu.lab.quantized.score import Score, compare
from danlu.lab.quantized.settings import Settings, check_group
from danlu.models import Model
from danlu.objectives import Draw, Objective
from danlu.quantization import MX, NVFP4, Quantized, linear_maps, quantize_blocks, quantize_one_by_one
from danlu.quantization.kept import described, of_tokens
from danlu.spec.words import over
from danlu.train.assemble import objective_of
from danlu.train.evaluate import EVALUATION_UNITS
from danlu.train.parallel import ALONE
from danlu.train.quantized import round_activations
from danlu.train.rounding import format_of, settle
from danlu.train.update import to_device


class Tell(Protocol):
    """Is told what is being done, and how far it is."""

    def __call__(self, what: str, done: int = 0, of: int = 0) -> None: ...


def _nobody(what: str, done: int = 0, of: int = 0) -> None: ...


def quantize_folder(
    path: Path,
    settings: Settings,
    out: Path,
    *,
    words: Sequence[str] = (),
    step: int | None = None,
    sensitivity: bool = False,
    own: bool = False,
    tell: Tell = _nobody,
) -> dict[str, Any]:
    """Write the model of ``path`` (``danlu.interop.opened``) in few bits as a run in ``out``, and report what
    it costs on the run's held-out examples: what ``danlu quantize --json`` prints.

    ``words``: ``data.FIELD=VALUE`` and ``train.evaluate_tokens=N``, over the experiment. ``sensitivity``:
    also each layer alone. ``own``: a run of ``train.quantize`` is written as it was trained, whatever the
    settings. Raises ``LabError``, before anything is written, for what cannot be done.
    """
    check_new(out)
    loaded = opened(path, step)
    if loaded.quantized:
        raise LabError(f"{path} is in few bits already, made of {loaded.quantized['run']}; quantise that one")
    experiment = _laid(loaded.experiment, words)
    objective = objective_of(experiment, data.prepare(experiment.data, progress=tell))
    objective.inputs = loaded.objective.inputs  # of the model as it was trained
    model = copy.deepcopy(loaded.model)
    weights, notes, changed = settle(model), [], loaded.experiment
    own = own and bool(weights)
    if own:
        settings = _as_trained(loaded.experiment)
        if sensitivity:
            raise LabError(f"--sensitivity: {path} was trained in few bits; name a format by --to")
    elif weights:
        notes.append("the weights that the run itself rounds are rounded once more; leave --to out")
    made = Made(changed, model, model, weights)
    if not own:
        if not isinstance(settings.format, MX | NVFP4):  # whose groups are as they are
            check_group(settings.format, _inputs_of(model))
        tell("rounding")
        try:
            made = round_model(changed, model, objective, settings)
        except ValueError as error:
            raise LabError(f"{path}: {error}") from None
    record = {
        "activations": None if settings.activations is None else described(settings.activations),
        "by": settings.by,
        "run": str(path),
        "step": loaded.step,
    }
    train = changed.train.model_copy(update={"quantize": None})  # it is done
    changed = made.experiment.model_copy(update={"train": train})
    with whole(out) as aside:
        file = write(aside, out, path, loaded, changed, made.model.state_dict(), made.weights, record)
        sizes = _sizes(loaded.model, made.model, made.weights, file)
        round_activations(made.model, made.weights, settings.activations)
        score = compare(
            loaded.model, made.model, objective, experiment, lambda n, of: tell("evaluating", n, of)
        )
        layers = None
        if sensitivity:
            layers = _one_by_one(made.exact, loaded.model, objective, experiment, settings, tell)
    return {
        "run": str(path),
        "step": loaded.step,
        "folder": str(out),
        "to": settings.format.name,
        "per": settings.format.per,
        "by": settings.by,
        "activations": None if settings.activations is None else settings.activations.name,
        "metric": experiment.objective.metrics[0].record(),
        **_said(score),
        **sizes,
        "maps": [_map(name, q, made.exact.get_parameter(name)) for name, q in made.weights.items()],
        "sensitivity": layers,
        "notes": [*filter(None, [loaded.warning]), *notes, *made.notes],
    }


@dataclass(frozen=True)
class Made:
    """``model``, rounded, that ``experiment`` describes, and its ``weights`` in few bits; ``exact``, the same
    before it was rounded; ``notes`` on what was rewritten."""

    experiment: spec.Experiment
    model: Model
    exact: Model
    weights: Mapping[str, Quantized]
    notes: Sequence[str] = ()


def round_model(experiment: spec.Experiment, model: Model, objective: Objective, settings: Settings) -> Made:
    """The ``model`` of an experiment in few bits, perhaps changed in place; activations are not rounded yet.
    Raises ValueError where that cannot be, ``LabError`` where no specification has what came out."""
    inputs = _inputs(objective, settings)
    experiment, model, notes = prepare(experiment, model, objective, settings, inputs)
    exact = copy.deepcopy(model)
    weights = quantize_blocks(model, settings.format, settings.method, inputs)
    return Made(experiment, model, exact, weights, notes)


def _inputs(objective: Objective, settings: Settings) -> Iterable[Any]:
    return Examples(objective, settings) if settings.looks else ()


@dataclass(frozen=True)
class Examples:
    """Training examples of the run, a pass at a time: each calls a model with some of them."""

    objective: Objective
    settings: Settings

    def __iter__(self) -> Any:
        size = self.objective.size
        count, rows = max(1, self.settings.units // size), max(1, EVALUATION_UNITS // size)
        for start in range(0, count, rows):
            draw = Draw(self.settings.seed, 0, 0, start, min(start + rows, count))
            example = to_device(self.objective.example(draw), ALONE.device)
            yield lambda model, example=example: self.objective.loss(model, example)


def _inputs_of(model: nn.Module) -> list[int]:
    """Of the maps that are rounded, how many numbers come in."""
    blocks: Iterable[nn.Module] = model.blocks  # type: ignore[assignment]
    return [map.in_features for block in blocks for map in linear_maps(block).values()]


def _laid(experiment: spec.Experiment, words: Sequence[str]) -> spec.Experiment:
    """The experiment with other held-out data, or more or less of it."""
    if not words:
        return experiment
    found = over(experiment, words)
    train = experiment.train.model_copy(update={"evaluate_tokens": found.train.evaluate_tokens})
    if experiment.model_copy(update={"data": found.data, "train": train}) != found:
        raise LabError(
            f"{' '.join(words)} changes what was trained; allowed here: data.FIELD=VALUE and "
            "train.evaluate_tokens=N"
        )
    return found


def _as_trained(experiment: spec.Experiment) -> Settings:
    """What a run of ``train.quantize`` was trained for."""
    s = experiment.train.quantize
    assert s is not None
    inputs = None if s.activations is None else of_tokens(s.activations)
    return Settings(format_of(s), activations=inputs, round="trained")


def _one_by_one(
    model: nn.Module,
    reference: nn.Module,
    objective: Objective,
    experiment: spec.Experiment,
    settings: Settings,
    tell: Tell,
) -> list[dict[str, Any]]:
    """What each block alone costs, activations as they are."""
    rows, count = [], len(model.blocks)  # type: ignore[arg-type]
    inputs = _inputs(objective, settings)
    for i, _ in enumerate(quantize_one_by_one(model, settings.format, settings.method, inputs)):
        tell("one layer at a time", i + 1, count)
        rows.append({"layer": i, **_said(compare(reference, model, objective, experiment))})
    return rows


def _said(score: Score) -> dict[str, Any]:
    found = asdict(score)
    return found | {"error": None if math.isnan(score.error) else score.error}


def _map(name: str, q: Quantized, exact: torch.Tensor) -> dict[str, Any]:
    """One weight: bits a number, and the signal's power over that of the error, in decibels."""
    weight = exact.double()
    error = (q.dequantize().double() - weight).square().sum()
    ratio = float(weight.square().sum() / error) if error else math.inf
    return {"name": name, "bits": q.bits, "snr_db": 10 * math.log10(ratio) if math.isfinite(ratio) else None}


def _sizes(
    before: nn.Module, after: nn.Module, weights: Mapping[str, Quantized], file: Path
) -> dict[str, Any]:
    """Numbers and bytes."""
    rounded = sum(math.prod(q.shape) for q in weights.values())
    return {
        "parameters": sum(p.numel() for p in after.parameters()),
        "rounded": rounded,
        "bits": 8 * sum(q.bytes for q in weights.values()) / max(rounded, 1),
        "bytes": {
            "before": sum(p.numel() * p.element_size() for p in before.parameters()),
            "rounded": sum(q.bytes for q in weights.values()),
            "file": file.stat().st_size,
        },
    }
