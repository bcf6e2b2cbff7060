"""A folder as transformers writes and reads it: ``config.json``, safetensors, ``tokenizer.json``.

Nothing is unpickled, and transformers is not needed.
"""

from __future__ import annotations

import os
import secrets
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from safetensors import SafetensorError
from safetensors.torch import load_file, save_file

from danlu.files.errors import cannot_write
from danlu.files.json import read_object, write_json
from danlu.files.write import write_atomically
from danlu.interop.errors import InteropError
from danlu.interop.tensors import Tensors

CONFIG, WEIGHTS, INDEX = "config.json", "model.safetensors", "model.safetensors.index.json"
TOKENIZER, TOKENIZER_CONFIG = "tokenizer.json", "tokenizer_config.json"
MODEL = (CONFIG, WEIGHTS, INDEX, TOKENIZER, TOKENIZER_CONFIG)  # what must not be of two models


def read_config(folder: Path) -> dict[str, Any]:
    """The mapping in ``config.json``. Raises InteropError if there is none, FileError if it is no
    mapping."""
    if not folder.is_dir():
        raise InteropError(f"{folder} is no folder; name one that holds {CONFIG} and {WEIGHTS}")
    if not (folder / CONFIG).is_file():
        raise InteropError(f"{folder} has no {CONFIG}; name a folder of transformers' save_pretrained")
    return read_object(folder / CONFIG)


def read_tensors(folder: Path) -> Tensors:
    """All tensors, of one file or of the several that an index names. Raises InteropError for a folder
    without safetensors, a file missing or broken, a tensor that is not where the index says."""
    if (folder / INDEX).is_file():
        places = read_object(folder / INDEX).get("weight_map")
        if not isinstance(places, dict) or not all(
            isinstance(f, str) and Path(f).name == f for f in places.values()
        ):
            raise InteropError(f"{folder / INDEX} has no weight_map from tensors to files of its folder")
        found: Tensors = {}
        for file in sorted(set(places.values())):
            found |= _file(folder / file)
        if wrong := set(places) ^ set(found):
            raise InteropError(f"{folder / INDEX} and its files don't agree on {min(wrong)}")
        return found
    if (folder / WEIGHTS).is_file():
        return _file(folder / WEIGHTS)
    pickled = sorted(p.name for end in ("*.bin", "*.pt", "*.pth") for p in folder.glob(end))
    if pickled:
        raise InteropError(
            f"{folder} has its weights only in {pickled[0]}, a pickle, which can run any code when read; "
            "convert it where you trust it, by transformers' save_pretrained, to safetensors"
        )
    raise InteropError(f"{folder} has no {WEIGHTS} and no {INDEX}")


def write(
    folder: Path, config: Mapping[str, Any], tensors: Tensors, tokenizer: str | None, force: bool = False
) -> None:
    """Write the folder, made if need be. Raises InteropError if it holds a model or a tokenizer, FileError if
    it cannot be written. ``force``: what it holds goes, an index too, which would be read first."""
    there = [name for name in MODEL if os.path.lexists(folder / name)]
    if there and not force:
        raise InteropError(
            f"{folder} holds a {there[0]} already; name another folder, or add --force to overwrite the model"
        )
    try:
        folder.mkdir(parents=True, exist_ok=True)
        aside = folder / f".{secrets.token_hex(8)}.writing"
        try:
            save_file({name: t.contiguous() for name, t in tensors.items()}, aside, {"format": "pt"})
            for name in there:
                (folder / name).unlink()
            os.replace(aside, folder / WEIGHTS)
        finally:
            aside.unlink(missing_ok=True)
    except OSError as error:
        raise cannot_write(folder, error) from error
    if tokenizer is not None:
        write_atomically(folder / TOKENIZER, tokenizer.encode())
        write_json(folder / TOKENIZER_CONFIG, {"tokenizer_class": "PreTrainedTokenizerFast"})
    write_json(folder / CONFIG, config)


def _file(path: Path) -> Tensors:
    try:
        return dict(load_file(path))
    except FileNotFoundError:
        raise InteropError(f"{path} is missing, which {INDEX} names") from None
    except (OSError, SafetensorError) as error:
        raise InteropError(f"{path} is no safetensors file: {error}") from None
