"""A folder as transformers writes and reads it: ``config.json``, safetensors, ``tokenizer.json``.

Nothing is unpickled, and transformers is not needed.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from safetensors import SafetensorError
from safetensors.torch import load_file, save_file

from danlu.interop.errors import InteropError
from danlu.interop.tensors import Tensors

CONFIG, WEIGHTS, INDEX = "config.json", "model.safetensors", "model.safetensors.index.json"
TOKENIZER = "tokenizer.json"


def read_config(folder: Path) -> dict[str, Any]:
    """The mapping in ``config.json``. Raises InteropError if there is none."""
    if not folder.is_dir():
        raise InteropError(f"{folder} is no folder; name one that holds {CONFIG} and {WEIGHTS}")
    if not (folder / CONFIG).is_file():
        raise InteropError(f"{folder} has no {CONFIG}; name a folder of transformers' save_pretrained")
    config = _json(folder / CONFIG)
    if not isinstance(config, dict):
        raise InteropError(f"{folder / CONFIG} holds no mapping of fields")
    return config


def read_tensors(folder: Path) -> Tensors:
    """All tensors, of one file or of the several that an index names. Raises InteropError for a folder
    without safetensors, a file missing or broken, a tensor that is not where the index says."""
    if (folder / INDEX).is_file():
        index = _json(folder / INDEX)
        places = index.get("weight_map") if isinstance(index, dict) else None
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


def write(folder: Path, config: Mapping[str, Any], tensors: Tensors, tokenizer: str | None) -> None:
    """Write the folder, made if need be. Raises InteropError if it holds a model already."""
    for name in (CONFIG, WEIGHTS):
        if (folder / name).exists():
            raise InteropError(f"{folder} holds a {name} already; name another folder")
    try:
        folder.mkdir(parents=True, exist_ok=True)
        save_file({name: t.contiguous() for name, t in tensors.items()}, folder / WEIGHTS, {"format": "pt"})
        if tokenizer is not None:
            (folder / TOKENIZER).write_text(tokenizer, encoding="utf-8")
            about = {"tokenizer_class": "PreTrainedTokenizerFast"}
            (folder / "tokenizer_config.json").write_text(
                json.dumps(about, indent=2) + "\n", encoding="utf-8"
            )
        (folder / CONFIG).write_text(json.dumps(config, indent=2) + "\n", encoding="utf-8")
    except OSError as error:
        raise InteropError(f"{folder} cannot be written: {error.strerror or error}") from error


def _json(path: Path) -> Any:
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise InteropError(f"{path} cannot be read as JSON: {error}") from None


def _file(path: Path) -> Tensors:
    try:
        return dict(load_file(path))
    except FileNotFoundError:
        raise InteropError(f"{path} is missing, which {INDEX} names") from None
    except (OSError, SafetensorError) as error:
        raise InteropError(f"{path} is no safetensors file: {error}") from None
