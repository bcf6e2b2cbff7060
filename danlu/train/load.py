"""A finished or interrupted run, read back: its experiment, model and tokenizer."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import torch

from danlu import spec
from danlu.data import Tokenizer, load_tokenizer
from danlu.models import Decoder, build
from danlu.spec.words import resolve
from danlu.train import checkpoint, steps
from danlu.train.errors import RunError
from danlu.train.folder import RunFolder

TOKENIZER = "tokenizer.json"


@dataclass(frozen=True)
class LoadedRun:
    """What a run left: ``model`` holds the weights of ``step``, in evaluation mode."""

    experiment: spec.Experiment
    model: Decoder
    tokenizer: Tokenizer
    step: int


def load_run(path: Path, step: int | None = None) -> LoadedRun:
    """Read the run in ``path``: of ``step``, or of its best checkpoint by the metric.

    Raises ``RunError`` if the folder is no run, has no checkpoint, or holds a damaged one.
    """
    folder = RunFolder(path)
    if not folder.experiment.is_file():
        raise RunError(f"{path} is no run's folder: it has no {folder.experiment.name}; `danlu runs` lists runs")
    experiment = resolve([str(folder.experiment)])
    tokenizer = load_tokenizer(path / TOKENIZER)
    if step is None:
        position = steps.read_content(path, steps.choose(path, None))["state"]["position"]
        best = int(position["best_step"])
        step = best if steps.step_folder(path, best).is_dir() else int(position["step"])
    tensors, _ = checkpoint.load(path, step, only={"model"})
    model: Decoder = build(experiment.model, tokenizer.vocabulary, experiment.data.context)
    model.load_state_dict(tensors["model"])
    return LoadedRun(experiment, model.eval().requires_grad_(False), tokenizer, step)


def generate_text(
    run: LoadedRun,
    prompt: str,
    *,
    count: int,
    temperature: float = 1.0,
    top_k: int | None = None,
    top_p: float | None = None,
    seed: int = 0,
) -> str:
    """The continuation of ``prompt`` by ``count`` tokens (of a fresh document if the prompt is empty)."""
    from danlu.models import generate

    ids = [run.tokenizer.separator, *(int(i) for i in run.tokenizer.encode(prompt))]
    tokens = generate(
        run.model,
        torch.tensor([ids]),
        count=count,
        context=run.experiment.data.context,
        temperature=temperature,
        top_k=top_k,
        top_p=top_p,
        seed=seed,
    )
    return run.tokenizer.decode([int(token) for token in tokens])
