"""A folder with a model in it, whoever wrote it."""

from __future__ import annotations

from pathlib import Path

from danlu.data import Dataset
from danlu.interop import folder as folders
from danlu.interop.errors import InteropError
from danlu.interop.folder import Kept
from danlu.interop.huggingface import from_huggingface, read_kept
from danlu.train.assemble import objective_of
from danlu.train.folder import is_foreign
from danlu.train.load import LoadedRun, load_run


def opened(path: Path, step: int | None = None) -> LoadedRun:
    """The model in ``path``: a run's folder (of ``step``, or its best checkpoint), or one that transformers
    or ``danlu export`` wrote, as a run that stands before its first step.

    Raises ``RunError`` and ``InteropError`` for what cannot be read, and for a folder of transformers without
    a tokenizer.
    """
    if not is_foreign(path):
        return load_run(path, step)
    if step is not None:
        raise InteropError(f"step = {step}, and {path} is no run: it has one model; leave step out")
    imported = from_huggingface(path)
    tokenizer = imported.reads_by()
    objective = objective_of(imported.experiment, Dataset.outline(imported.experiment.text, tokenizer))
    model = imported.model.requires_grad_(False)
    return LoadedRun(imported.experiment, objective, model, 0, "; ".join(imported.notes))


def kept_of(path: Path) -> Kept:
    """What danlu has no part for in the folder, and writes again as it was."""
    return folders.read_kept(path, folders.read_config(path)) if is_foreign(path) else read_kept(path)
