"""The run that is written: the same experiment or near it, the same weights or these in few bits."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch

from danlu import spec
from danlu.files.errors import cannot_write
from danlu.files.lock import Lock
from danlu.files.write import flush
from danlu.interop.huggingface import write_kept
from danlu.interop.opened import kept_of
from danlu.lab.errors import LabError
from danlu.objectives import Language
from danlu.quantization import Quantized
from danlu.quantization.kept import apart
from danlu.spec import to_yaml
from danlu.spec.families import PARTS
from danlu.train import checkpoint
from danlu.train.folder import RunFolder
from danlu.train.load import TOKENIZER, LoadedRun
from danlu.train.precision import LossScale
from danlu.train.state import TrainerState


def check_new(path: Path) -> None:
    """Raises ``LabError`` unless nothing is there, or an empty folder."""
    if os.path.lexists(path) and not (path.is_dir() and not any(path.iterdir())):
        raise LabError(f"{path} is there already, and is not overwritten; name another folder")


@contextmanager
def whole(path: Path) -> Iterator[Path]:
    """A new folder beside ``path``, to be filled, which takes that place at the end of the block: a process
    that is killed leaves nothing at ``path``, and what it left beside it goes when this is next called.
    Where the block raises, the folder goes. Its lock lies beside it, an empty file that stays, and is held
    until the folder is in its place or gone, so that nobody else clears it before.

    Raises ``LabError`` where something is at ``path``, ``Held`` where another process fills it, ``FileError``
    where it cannot be written.
    """
    check_new(path)
    place = path.resolve()
    aside = place.with_name(f".{place.name}.writing")
    try:
        place.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise cannot_write(path, error) from error
    with Lock(place.with_name(f".{place.name}.lock"), wait=0, of=path):
        try:
            try:
                if aside.is_dir():
                    shutil.rmtree(aside)
                aside.mkdir()
            except OSError as error:
                raise cannot_write(path, error) from error
            yield aside
            check_new(path)
            try:
                if place.is_dir():
                    place.rmdir()
                os.rename(aside, place)
                flush(place.parent)
            except OSError as error:
                raise cannot_write(path, error) from error
        finally:
            shutil.rmtree(aside, ignore_errors=True)


def write(
    path: Path,
    place: Path,
    source: Path,
    loaded: LoadedRun,
    experiment: spec.Experiment,
    tensors: Mapping[str, torch.Tensor],
    weights: Mapping[str, Quantized],
    about: Mapping[str, Any],
) -> Path:
    """Write the folder ``path``, which ``whole`` made and which will be at ``place``, and give the file with
    the weights. ``tensors``: all of the model's, of which those of ``weights`` are written in few bits;
    ``about``: what else is recorded of it.

    Raises ``FileError`` where it cannot be written.
    """
    if isinstance(loaded.objective, Language) and experiment.text.tokenizer.endswith(TOKENIZER):
        own = {"tokenizer": str((place / TOKENIZER).resolve())}
        experiment = experiment.model_copy(update={"data": experiment.text.model_copy(update=own)})
    packed, record = apart(weights)
    others = {name: t for name, t in tensors.items() if name not in weights}
    with RunFolder.create_or_open(path, to_yaml(experiment)) as folder:
        try:
            if isinstance(loaded.objective, Language):
                loaded.tokenizer.save(folder.path / TOKENIZER)
            before = RunFolder(source)
            if before.environment.is_file():  # which data, which own parts: what a run is loaded by
                shutil.copyfile(before.environment, folder.environment)
            if (source / PARTS).is_dir():
                shutil.copytree(source / PARTS, folder.path / PARTS)
        except OSError as error:
            raise cannot_write(path, error) from error
        write_kept(folder.path, kept_of(source))
        state = {
            "position": asdict(TrainerState(step=loaded.step, saved=loaded.step)),
            "scale": LossScale().state(),
            "clock": {},
            "processes": 1,
            "average": 0,
        }
        if weights:
            state["quantized"] = {"weights": record, **about}
        return (
            checkpoint.save(folder.path, loaded.step, {"model": others | packed}, state) / "model.safetensors"
        )
