"""A folder as transformers writes and reads it: ``config.json``, safetensors, ``tokenizer.json``.

Nothing is unpickled, and transformers is not needed.
"""

from __future__ import annotations

import os
import secrets
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from safetensors import SafetensorError
from safetensors.torch import load_file, save_file

from danlu.files.errors import cannot_write
from danlu.files.json import parse, read_object, write_json
from danlu.files.read import read_text
from danlu.files.system import replace
from danlu.files.write import clean_aside, write_atomically
from danlu.files.yaml import brief
from danlu.interop.errors import InteropError
from danlu.interop.tensors import Tensors
from danlu.train.folder import THEIRS

CONFIG, WEIGHTS, INDEX = THEIRS, "model.safetensors", "model.safetensors.index.json"
TOKENIZER, TOKENIZER_CONFIG = "tokenizer.json", "tokenizer_config.json"
GENERATION = "generation_config.json"
# Of the tokenizer and of how to write with the model: danlu keeps them as they are.
BESIDE = (
    TOKENIZER_CONFIG, GENERATION, "special_tokens_map.json", "chat_template.jinja", "chat_template.json"
)  # fmt: skip
MODEL = (CONFIG, WEIGHTS, INDEX, TOKENIZER, *BESIDE)  # what must not be of two models


@dataclass(frozen=True)
class Kept:
    """What danlu has no part for and writes again as it was: ``special``, the ids of special tokens in
    ``config.json``, by field; ``files``, the texts of those files of ``BESIDE`` that there are, by name."""

    special: Mapping[str, Any] = field(default_factory=dict)
    files: Mapping[str, str] = field(default_factory=dict)

    @property
    def ends(self) -> list[int]:
        """The ids at which a text ends: of ``generation_config.json``, else of ``config.json``. Raises
        InteropError where they are no ids."""
        found = self.special.get("eos_token_id")
        if GENERATION in self.files:
            try:
                settings = parse(self.files[GENERATION])
            except ValueError as error:
                raise InteropError(f"{GENERATION} is not JSON: {error}") from None
            if isinstance(settings, dict):
                found = settings.get("eos_token_id", found)
        ends = found if isinstance(found, list) else [] if found is None else [found]
        if not all(type(end) is int for end in ends):
            raise InteropError(f"eos_token_id = {brief(found)} is neither an id nor a list of ids")
        return ends


def special_of(config: Mapping[str, Any]) -> dict[str, Any]:
    """The ids of special tokens in a ``config.json``, by field."""
    return {name: value for name, value in config.items() if name.endswith("_token_id")}


def read_kept(folder: Path, config: Mapping[str, Any]) -> Kept:
    """What of the folder is to be written again. Raises FileError for a file that cannot be read."""
    files = {name: read_text(folder / name) for name in BESIDE if (folder / name).is_file()}
    return Kept(special_of(config), files)


def read_config(folder: Path) -> dict[str, Any]:
    """The mapping in ``config.json``. Raises InteropError if there is none, FileError if it is no
    mapping."""
    if not folder.is_dir():
        raise InteropError(f"{folder} is not a folder; name one that holds {CONFIG} and {WEIGHTS}")
    if not (folder / CONFIG).is_file():
        raise InteropError(f"{folder} has no {CONFIG}; name a folder of transformers' save_pretrained")
    return read_object(folder / CONFIG)


def read_tensors(folder: Path) -> Tensors:
    """All tensors, of one file or, where that is not there, of the several that an index names, as
    transformers does. Raises InteropError for a folder without safetensors, a file missing or broken, a
    tensor that is not where the index says, or in two files."""
    if (folder / WEIGHTS).is_file():
        return _file(folder / WEIGHTS)
    if (folder / INDEX).is_file():
        places = read_object(folder / INDEX).get("weight_map")
        if not isinstance(places, dict) or not all(
            isinstance(f, str) and Path(f).name == f for f in places.values()
        ):
            raise InteropError(f"{folder / INDEX} has no weight_map from tensors to files of its folder")
        found: Tensors = {}
        for file in sorted(set(places.values())):
            tensors = _file(folder / file)
            if twice := sorted(found.keys() & tensors.keys()):
                raise InteropError(
                    f"{twice[0]} is in {file} and in another file that {INDEX} names; remove one of the two"
                )
            found |= tensors
        if wrong := set(places) ^ set(found):
            raise InteropError(f"{folder / INDEX} and its files don't agree on {min(wrong)}")
        return found
    pickled = sorted(p.name for end in ("*.bin", "*.pt", "*.pth") for p in folder.glob(end))
    if pickled:
        raise InteropError(
            f"{folder} has its weights only in {pickled[0]}, a pickle, which can run any code when read; "
            "convert it where you trust it, by transformers' save_pretrained, to safetensors"
        )
    raise InteropError(f"{folder} has no {WEIGHTS} and no {INDEX}")


def left_unread(folder: Path) -> tuple[str, ...]:
    """What ``read_tensors`` passes over, in sentences."""
    if (folder / WEIGHTS).is_file() and (folder / INDEX).is_file():
        return (f"{WEIGHTS} is read, as transformers does; {INDEX} and the files that it names are not",)
    return ()


def write(
    folder: Path,
    config: Mapping[str, Any],
    tensors: Tensors,
    tokenizer: str | None,
    files: Mapping[str, str],
    force: bool = False,
) -> None:
    """Write the folder, made if need be, and the ``files`` by name. Raises InteropError if it holds a model
    or a tokenizer, FileError if it cannot be written. ``force``: what it holds of a model goes."""
    there = [name for name in MODEL if os.path.lexists(folder / name)]
    if there and not force:
        raise InteropError(
            f"{folder} holds a {there[0]} already; name another folder, or add --force to overwrite the model"
        )
    try:
        folder.mkdir(parents=True, exist_ok=True)
        clean_aside(folder)
        aside = folder / f".{secrets.token_hex(8)}.writing"
        try:
            save_file({name: t.contiguous() for name, t in tensors.items()}, aside, {"format": "pt"})
            for name in there:
                (folder / name).unlink()
            replace(aside, folder / WEIGHTS)
        finally:
            aside.unlink(missing_ok=True)
    except OSError as error:
        raise cannot_write(folder, error) from error
    if tokenizer is not None:
        write_atomically(folder / TOKENIZER, tokenizer.encode())
    for name, text in files.items():
        write_atomically(folder / name, text.encode())
    write_json(folder / CONFIG, config)


def _file(path: Path) -> Tensors:
    try:
        return dict(load_file(path))
    except FileNotFoundError:
        raise InteropError(f"{path} is missing, which {INDEX} names") from None
    except (OSError, SafetensorError) as error:
        raise InteropError(f"{path} is not a safetensors file: {error}") from None
