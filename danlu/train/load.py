"""A finished or interrupted run, read back: its experiment, model and tokenizer."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import takewhile
from pathlib import Path

import torch

from danlu import objectives, spec
from danlu.data import Tokenizer, load_tokenizer
from danlu.models import Model, build
from danlu.spec.words import resolve
from danlu.train import checkpoint, steps
from danlu.train.errors import RunError
from danlu.train.folder import RunFolder

TOKENIZER = "tokenizer.json"


@dataclass(frozen=True)
class LoadedRun:
    """What a run left: ``model`` holds the weights of ``step``, in evaluation mode."""

    experiment: spec.Experiment
    objective: objectives.Objective
    model: Model
    tokenizer: Tokenizer
    step: int


def load_run(path: Path, step: int | None = None, *, averaged: bool = True) -> LoadedRun:
    """Read the run in ``path``: of ``step``, or of its best checkpoint by the metric. The model has the
    average of the weights if the run keeps one, and ``averaged``.

    Raises ``RunError`` if the folder is no run, has no checkpoint, or holds a damaged one.
    """
    folder = RunFolder(path)
    if not folder.experiment.is_file():
        raise RunError(f"{path} is no run's folder (it has no {folder.experiment.name}); danlu train printed")
    experiment = resolve([str(folder.experiment)])
    tokenizer = load_tokenizer(path / TOKENIZER)
    if step is None:
        position = steps.read_content(path, steps.choose(path, None))["state"]["position"]
        best = int(position["best_step"])
        step = best if steps.step_folder(path, best).is_dir() else int(position["step"])
    tensors, state = checkpoint.load(path, step, only={"model"})
    objective: objectives.Objective = objectives.build(experiment.objective, tokenizer, experiment.data)
    model: Model = build(experiment.model, objective.vocabulary, max(objective.lengths))
    model.load_state_dict(tensors["model"])
    if averaged and state.get("average"):  # of learned parameters alone, tied ones once
        tensors, _ = checkpoint.load(path, step, only={"average"})
        model.load_state_dict(tensors["average"], strict=False)
    return LoadedRun(experiment, objective, model.eval().requires_grad_(False), tokenizer, step)


def unknown_characters(run: LoadedRun, text: str) -> list[str]:
    """The characters of ``text`` that the run's tokenizer cannot tell from one another."""
    known = run.tokenizer
    return [c for c in dict.fromkeys(text) if c != "\ufffd" and "\ufffd" in known.decode(known.encode(c))]


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
    """The continuation of ``prompt`` by ``count`` tokens (of a fresh document if the prompt is empty).

    An imported model ends where its texts end, an encoder-decoder where the span ends that it fills in after
    the prompt. Raises ``RunError`` for a run whose model continues no text, a prompt that is no text, a
    ``top_p`` or a ``seed`` out of range.
    """
    from danlu.models import Encoder, EncoderDecoder, generate

    if isinstance(run.model, Encoder) or not run.objective.continues:
        raise RunError(
            f"the run's objective is {run.experiment.objective.kind} and its model an encoder, which fills "
            "gaps in a text and does not continue one; danlu sample takes a run of a decoder or an "
            "encoder-decoder"
        )
    if top_p is not None and not 0 < top_p <= 1:
        raise RunError(f"top_p = {top_p} keeps no token; allowed: above 0, at most 1")
    if not -(2**63) <= seed < 2**63:
        raise RunError(f"seed = {seed} does not fit 64 bits")
    try:
        prompt.encode()
    except UnicodeEncodeError as error:
        raise RunError(f"the prompt is not UTF-8 at character {error.start}") from None
    given = run.objective.prompt(run.tokenizer.encode(prompt).tolist())
    begin, context, memory = torch.from_numpy(given["tokens"]), run.objective.lengths[0], None
    if isinstance(run.model, EncoderDecoder):
        memory = run.model.encode(torch.from_numpy(given["encoder_tokens"]))
        count = min(count, context - begin.shape[1])  # further than this it has never written
    tokens = generate(
        run.model,
        begin,
        count=count,
        context=context,
        memory=memory,
        temperature=temperature,
        top_k=top_k,
        top_p=top_p,
        seed=seed,
    )
    known = run.tokenizer
    ids = takewhile(lambda token: token < known.vocabulary and token not in known.ends, map(int, tokens))
    return known.decode(list(ids))
