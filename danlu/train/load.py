"""A finished or interrupted run, read back: its experiment, objective and model."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from danlu import data, parts, spec
from danlu.data import Tokenizer, load_tokenizer
from danlu.data.tokenizers import Ids
from danlu.files.json import read_object
from danlu.models import Model
from danlu.objectives import Language, MaskedDiffusion, Objective, Sample
from danlu.objectives.hidden import without_maps
from danlu.spec.words import resolve
from danlu.train import checkpoint, store
from danlu.train.assemble import network, objective_of
from danlu.train.errors import RunError
from danlu.train.folder import RunFolder

TOKENIZER = "tokenizer.json"


@dataclass(frozen=True)
class LoadedRun:
    """What a run left: ``model`` holds the weights of ``step``, in evaluation mode. ``warning``: that it was
    trained with other code of an own part; empty where it was not. ``quantized``: of a folder in few bits,
    what ``danlu.train.quantized.RECORD`` has of it; the model holds the rounded weights."""

    experiment: spec.Experiment
    objective: Objective
    model: Model
    step: int
    warning: str = ""
    quantized: Mapping[str, Any] = field(default_factory=dict)

    @property
    def tokenizer(self) -> Tokenizer:
        """Of a run on text."""
        assert isinstance(self.objective, Language)
        return self.objective.tokenizer


def load_run(path: Path, step: int | None = None, *, averaged: bool = True) -> LoadedRun:
    """Read the run in ``path``: of ``step``, or of its best checkpoint by the metric. The model has the
    average of the weights if the run keeps one, and ``averaged``; and the statistics of batch norms that
    ``train.precise_bn`` measured for these weights.

    Raises ``RunError`` if the folder is no run, has no checkpoint, or holds a damaged one.
    """
    folder = RunFolder(path)
    folder.check()
    experiment = resolve([str(folder.experiment)])
    if step is None:
        step = store.best_step(path)
    tensors, state = checkpoint.load(path, step, only={"model"})
    objective = objective_of(experiment, _source(folder, experiment))
    model = network(experiment, objective)
    where, weights = str(store.step_folder(path, step)), without_maps(tensors["model"])
    if quantized := state.get("quantized") or {}:
        from danlu.quantization import kept  # a folder of danlu quantize
        from danlu.train.quantized import read, round_activations

        held, inputs = read(weights, quantized, where)
        weights = kept.plain(weights, held)
        round_activations(model, held, inputs)
    checkpoint.fill(model, weights, where)
    if state.get("quantize"):
        from danlu.train.rounding import activate  # train.quantize has begun

        activate(model)
    if averaged and state.get("average"):  # of learned parameters alone, tied ones once
        tensors, _ = checkpoint.load(path, step, only={"average"})
        checkpoint.fill(model, without_maps(tensors["average"]), where, whole=False)
    if state.get("precise") and (averaged or not state.get("average")):
        tensors, _ = checkpoint.load(path, step, only={"precise"})
        checkpoint.fill(model, tensors["precise"], where, whole=False)
    model = model.eval().requires_grad_(False)
    return LoadedRun(experiment, objective, model, step, parts.changed(experiment, Path(path)), quantized)


def _source(folder: RunFolder, experiment: spec.Experiment) -> Any:
    """What the objective reads; of text the tokenizer alone, which the run's folder holds."""
    if isinstance(experiment.data, spec.Text):
        return data.Dataset.outline(experiment.data, load_tokenizer(folder.path / TOKENIZER))
    source = data.prepare(experiment.data)
    if folder.environment.exists():
        check_data(folder, read_object(folder.environment, {"data": dict})["data"], source.record, experiment)
    return source


def check_data(
    folder: RunFolder, trained_on: dict[str, Any], now: dict[str, Any], experiment: spec.Experiment
) -> None:
    """Raises ``RunError`` where the data of a run are others ``now``, by their records. Content counts, not
    where it lies."""
    if any(trained_on.get(part) != now.get(part) for part in ("tokenizer", "splits")):
        raise RunError(
            f"{folder.path} was trained on other data: {experiment.data.name} or its split "
            "changed since then; name another folder, or bring the data back"
        )


def unknown_characters(run: LoadedRun, text: str) -> list[str]:
    """The characters of ``text`` that the run's tokenizer cannot tell from one another."""
    known = run.tokenizer
    return [c for c in dict.fromkeys(text) if c != "\ufffd" and "\ufffd" in known.decode(known.encode(c))]


def shown(run: LoadedRun, folder: Path) -> Sample:
    """What the model of a run that is not on text shows. Raises ``RunError`` where it shows nothing."""
    found = run.objective.sample(run.model)
    if found is None:
        raise RunError(f"{folder} has the objective {run.experiment.objective.kind}, which shows no sample")
    return found


def generate_text(
    run: LoadedRun,
    prompt: str | Ids,
    *,
    count: int,
    temperature: float = 1.0,
    top_k: int | None = None,
    top_p: float | None = None,
    seed: int = 0,
    steps: int | None = None,
) -> str:
    """The continuation of ``prompt`` by ``count`` tokens (of a fresh document if the prompt is empty; of just
    the ids, where it is ids).

    An imported model ends where its texts end, an encoder-decoder where the span ends that it fills in after
    the prompt. ``steps``: of masked diffusion, in how many a window of text is unmasked (None: token by
    token). Raises ``RunError`` for a run whose model continues no text, a prompt that is no text, a
    ``top_p``, a ``seed`` or ``steps`` out of range.
    """
    objective = run.objective
    if not isinstance(objective, Language):
        raise RunError(f"the run's objective is {run.experiment.objective.kind}: its model writes no text")
    if not objective.continues:
        raise RunError(
            f"the run's objective is {run.experiment.objective.kind} and its model an encoder, which fills "
            "gaps in a text and does not continue one; danlu sample takes a run of a decoder, of an "
            "encoder-decoder, or of masked diffusion"
        )
    if steps is not None and not isinstance(objective, MaskedDiffusion):
        raise RunError(
            f"steps = {steps}, and the run's objective is {run.experiment.objective.kind}, which writes one "
            "token after another; leave steps out"
        )
    if steps is not None and steps < 1:
        raise RunError(f"steps = {steps} unmask nothing; allowed: 1 or more")
    if not 0 <= temperature < math.inf:
        raise RunError(f"temperature = {temperature}; allowed: 0 or any number above it")
    if count < 0:
        raise RunError(f"count = {count} tokens cannot be written; allowed: 0 or more")
    if top_p is not None and not 0 < top_p <= 1:
        raise RunError(f"top_p = {top_p} keeps no token; allowed: above 0, at most 1")
    if not -(2**63) <= seed < 2**63:
        raise RunError(f"seed = {seed} does not fit 64 bits")
    try:
        if isinstance(prompt, str):
            prompt.encode()
    except UnicodeEncodeError as error:
        raise RunError(f"the prompt is not UTF-8 at character {error.start}") from None
    how = {"temperature": temperature, "top_k": top_k, "top_p": top_p, "seed": seed}
    if steps is not None:
        how["steps"] = steps
    return objective.write(run.model, prompt, count=count, **how)
