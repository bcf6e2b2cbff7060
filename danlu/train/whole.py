"""Checkpoints of one process: safetensors files and JSON, nothing pickled.

One file for each group of tensors (``model.safetensors``, ``optimizer.safetensors``, ...) and
``state.json`` with the size and the SHA-256 of each. ``danlu.train.store`` says in which order
they reach the disk; ``danlu.train.sharded`` is the same for several processes.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
from collections.abc import Collection, Mapping
from contextlib import suppress
from itertools import chain
from pathlib import Path
from typing import Any, BinaryIO

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor

from danlu.files.errors import cannot_write
from danlu.train import store
from danlu.train.errors import RunError
from danlu.train.store import clean, step_folder

Tensors = dict[str, dict[str, Tensor]]

# https://github.com/huggingface/safetensors: the format's names.
_DTYPES = {
    torch.bool: "BOOL", torch.uint8: "U8", torch.int8: "I8", torch.int16: "I16", torch.uint16: "U16",
    torch.int32: "I32", torch.uint32: "U32", torch.int64: "I64", torch.uint64: "U64",
    torch.float16: "F16", torch.bfloat16: "BF16", torch.float32: "F32", torch.float64: "F64",
    torch.complex64: "C64", torch.float8_e4m3fn: "F8_E4M3", torch.float8_e5m2: "F8_E5M2",
}  # fmt: skip


def save(
    folder: Path,
    step: int,
    tensors: Mapping[str, Mapping[str, Tensor]],
    state: Mapping[str, Any],
    *,
    keep: int = 2,
    protect: Collection[int] = (),
) -> Path:
    """Write the checkpoint of ``step`` into the run's ``folder`` and return its own folder.

    ``tensors``: by group, then by name; a group's name is its file's. Names that share one and
    the same tensor (tied weights) are written once and come back sharing it. ``state``: anything
    that is JSON. Afterwards only the newest ``keep`` checkpoints and those of the steps in
    ``protect`` are left. Raises ``RunError`` if the disk is full or cannot be written: the
    checkpoints before are then untouched.
    """
    needed = sum(tensor.nbytes for group in tensors.values() for tensor in group.values())
    try:
        aside = store.begin(folder, step)
        aliases = {group: find_aliases(named) for group, named in tensors.items()}
        files = {}
        for group, named in tensors.items():
            if not re.fullmatch(r"\w[\w.-]*", group):
                raise ValueError(f"a group of tensors is named like a file, found {group!r}")
            once = {name: tensor for name, tensor in named.items() if name not in aliases[group]}
            files[f"{group}.safetensors"] = _write(aside / f"{group}.safetensors", once)
        content = {"layout": "whole", "files": files, "aliases": aliases, "state": dict(state)}
        return store.publish(folder, step, content, keep, protect)
    except OSError as error:
        raise cannot_write(step_folder(folder, step), error, needed) from error
    finally:
        with suppress(OSError):  # undoes a save that failed; finds nothing after one that succeeded
            clean(folder)


def load(folder: Path, step: int, content: Mapping[str, Any], only: Collection[str] | None = None) -> Tensors:
    """The tensors (on the CPU) of the checkpoint of ``step``, made by one process; ``content``: what
    ``store.read_content`` says of it.

    ``only``: the groups to read; all if left out. Raises ``RunError`` if a file is missing, truncated or
    altered.
    """
    tensors: Tensors = {}
    for group, aliases in content["aliases"].items():
        if only is None or group in only:
            name = f"{group}.safetensors"
            if name not in content["files"] or not isinstance(aliases, dict):
                raise store.broken(folder, step, f"{step_folder(folder, step)} does not say what {name} is")
            store.verify(folder, step, [name], content["files"])
            tensors[group] = read_tensors(folder, step, name)
            if lost := [kept for kept in aliases.values() if kept not in tensors[group]]:
                raise store.broken(folder, step, f"{name} has no tensor {lost[0]!r}")
            tensors[group].update({alias: tensors[group][kept] for alias, kept in aliases.items()})
    if only is not None and (missing := sorted(set(only) - tensors.keys())):
        raise RunError(
            f"{step_folder(folder, step)} has no {missing[0]!r}; it has {', '.join(content['aliases'])}"
        )
    return tensors


def read_tensors(folder: Path, step: int, name: str) -> dict[str, Tensor]:
    """A verified file, copied out of its memory map: on a shared disk that would not survive pruning."""
    path = step_folder(folder, step) / name
    try:
        return {name: tensor.clone() for name, tensor in load_file(path).items()}
    except (OSError, SafetensorError) as error:
        raise store.broken(folder, step, f"{path} is not a safetensors file ({error})") from error


def fill(model: torch.nn.Module, named: Mapping[str, Tensor], where: str, *, whole: bool = True) -> None:
    """Give ``model`` the weights that a checkpoint holds; ``whole``: all that it has. Raises ``RunError``,
    naming the tensor, for one that is missing, of another model, or of another shape."""
    compare(model.state_dict(), named, where, whole=whole)
    model.load_state_dict(dict(named), strict=False)


def compare(
    own: Mapping[str, Tensor], named: Mapping[str, Tensor], where: str, *, whole: bool = True
) -> None:
    """Raises ``RunError`` as ``fill``, for tensors ``named`` that are to take the place of ``own``."""
    problems = [f"{name!r} is missing" for name in sorted(own.keys() - named.keys()) if whole]
    for name, tensor in sorted(named.items()):
        if name not in own:
            problems.append(f"{name!r} is not of this model")
        elif tensor.shape != own[name].shape:
            problems.append(f"{name!r} has the shape {tuple(tensor.shape)}, not {tuple(own[name].shape)}")
    if problems:
        raise RunError(f"{where}: {problems[0]}; use the experiment and the tokenizer that saved it")


def find_aliases(named: Mapping[str, Tensor]) -> dict[str, str]:
    """Names of tensors that are the very same memory as an earlier one, with that one's name."""
    seen: dict[tuple[Any, ...], str] = {}
    aliases = {}
    for name, tensor in named.items():
        if tensor.nbytes:
            here = (tensor.device, tensor.data_ptr(), tensor.dtype, tensor.shape, tensor.stride())
            first = seen.setdefault(here, name)
            if first != name:
                aliases[name] = first
    return aliases


def _write(path: Path, named: Mapping[str, Tensor]) -> dict[str, Any]:
    """A safetensors file, on the disk on return, with its size and sum.

    Not ``safetensors.save_file``, which would hold a second copy of all tensors in memory when
    they come from a GPU, refuses shared storages, and would need another pass for the sum.
    """
    for name, tensor in named.items():
        if tensor.dtype not in _DTYPES:
            raise TypeError(f"{name}: safetensors has no {tensor.dtype}")
    # Wide elements first, so that every tensor is aligned to its element.
    order = sorted(named, key=lambda name: (-named[name].element_size(), name))
    header, offset = {}, 0
    for name in order:
        tensor = named[name]
        header[name] = {
            "dtype": _DTYPES[tensor.dtype],
            "shape": list(tensor.shape),
            "data_offsets": [offset, offset + tensor.nbytes],
        }
        offset += tensor.nbytes
    text = json.dumps({"__metadata__": {"format": "pt"}, **header}, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    total = hashlib.sha256()
    file: BinaryIO
    with open(path, "wb", buffering=0) as file:
        pieces = (as_bytes(named[name]) for name in order)  # one at a time comes from the device
        for piece in chain([len(text).to_bytes(8, "little") + text], pieces):
            data = memoryview(piece)
            total.update(data)
            while data:  # the kernel may take less than all, 2 GiB at most
                data = data[file.write(data) :]
        os.fsync(file.fileno())
        size = os.fstat(file.fileno()).st_size
    return {"size": size, "sha256": total.hexdigest()}


def as_bytes(tensor: Tensor) -> Any:
    """The bytes of a tensor, uint8 of one dimension, on the CPU."""
    plain = tensor.detach().cpu().resolve_conj().resolve_neg().contiguous()
    return plain.reshape(-1).view(torch.uint8).numpy()
