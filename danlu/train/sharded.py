"""Checkpoints of several processes: each writes its own shards, any other number reads them.

The shards are written and read by PyTorch's distributed checkpoint through its safetensors
storage; its default storage would leave a pickled ``.metadata``. What is added here: the order of
``danlu.train.store`` over all processes, sums, and names checked before anything is read.
Processes talk through the default group, which needs a CPU backend (``gloo`` or ``cpu:gloo,cuda:nccl``).
"""

from __future__ import annotations

import hashlib
import os
import warnings
from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, TypeVar

import torch
import torch.distributed as dist
from torch import Tensor
from torch.distributed.checkpoint.api import CheckpointException
from torch.distributed.checkpoint.hf_storage import HuggingFaceStorageReader, HuggingFaceStorageWriter
from torch.distributed.checkpoint.state_dict_loader import load
from torch.distributed.checkpoint.state_dict_saver import save
from torch.distributed.tensor import DTensor, distribute_tensor

from danlu.files.errors import cannot_write
from danlu.train import store, whole
from danlu.train.errors import RunError
from danlu.train.store import step_folder

__all__ = ["flatten", "load_full", "load_sharded", "save_sharded", "unflatten"]

T = TypeVar("T")


def flatten(tensors: Mapping[str, Mapping[str, Tensor]]) -> dict[str, Tensor]:
    """Tensors by group and name as tensors by ``group/name``."""
    return {f"{group}/{name}": tensor for group, named in tensors.items() for name, tensor in named.items()}


def unflatten(tensors: Mapping[str, Tensor]) -> dict[str, dict[str, Tensor]]:
    """The inverse of ``flatten``, but for groups without tensors."""
    groups: dict[str, dict[str, Tensor]] = {}
    for name, tensor in tensors.items():
        group, _, inner = name.partition("/")
        groups.setdefault(group, {})[inner] = tensor
    return groups


def save_sharded(
    folder: Path,
    step: int,
    tensors: Mapping[str, Tensor],
    state: Mapping[str, Any],
    *,
    keep: int = 2,
    protect: Collection[int] = (),
) -> Path:
    """Write the checkpoint of ``step``; called by all processes.

    ``tensors``: by name, plain (the same on all processes that have the name) or ``DTensor``; the processes
    of a pipeline have different names. ``state`` is that of rank 0. Otherwise as
    ``danlu.train.whole.save``. Raises ``RunError`` on every process if one of them cannot write; the
    checkpoints before are then untouched.
    """
    aside = step_folder(folder, step).with_name(f".writing-step-{step}")
    needed = sum(_local(tensor).nbytes for tensor in tensors.values())
    try:
        _on_first(lambda: store.begin(folder, step))
        # A process may hold no row of a small tensor, and see no alias there; another one has rows of it.
        aliases = _union(lambda: whole.find_aliases({n: _local(t) for n, t in tensors.items()}))
        once: dict[str, Any] = {name: _own(tensor) for name, tensor in tensors.items() if name not in aliases}
        _everywhere(lambda: _write_shards(aside, once, needed))
        files = _union(lambda: _sums(aside))
        content = {
            "layout": "sharded", "processes": _size(), "files": files,
            "tensors": _union(lambda: _shapes(tensors)), "aliases": aliases, "state": dict(state),
        }  # fmt: skip
        return _on_first(lambda: store.publish(folder, step, content, keep, protect))
    finally:
        if _rank() == 0:
            with suppress(OSError):
                store.clean(folder)


def load_sharded(folder: Path, template: Mapping[str, Tensor], step: int | None = None) -> dict[str, Any]:
    """Fill the tensors of ``template`` in place and return the state; called by all processes, of which
    those of a pipeline have different names.

    The number of processes and the sharding may differ from those that saved. Raises
    ``RunError`` on every process if there is no checkpoint, if a file is missing, truncated or
    altered, or if the names, shapes or dtypes are not those of the template.
    """
    step = _on_first(lambda: store.choose(folder, step))
    content = _on_first(lambda: store.read_content(folder, step))
    needed = _union(lambda: _shapes(template))
    if content["layout"] == "whole":  # of one process
        _everywhere(lambda: _fill(template, needed, flatten(whole.load(folder, step, content)), folder, step))
        return _state(content)
    names = sorted(content["files"])
    # Each process sums some of the files, so that all are read once.
    _everywhere(lambda: store.verify(folder, step, names[_rank() :: _size()], content["files"]))
    _everywhere(lambda: _compare(needed, content["tensors"], folder, step))
    aliases = {name: kept for name, kept in content["aliases"].items() if name in template}
    once: dict[str, Any] = {name: tensor for name, tensor in template.items() if name not in aliases}
    if once:
        _read_shards(once, step_folder(folder, step), together=True)
    with torch.no_grad():
        for alias, kept in aliases.items():
            template[alias].copy_(template[kept])  # the same memory, as a rule
    return _state(content)


def load_full(
    folder: Path, step: int | None = None, prefixes: tuple[str, ...] | None = None
) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """All tensors of such a checkpoint, whole and on the CPU, and the state; by any one process, without a
    process group.

    ``prefixes``: only names that start with one of them. Raises ``RunError`` as ``checkpoint.load``.
    """
    step = store.choose(folder, step)
    content = store.read_content(folder, step)
    store.verify(folder, step, sorted(content["files"]), content["files"])
    aliases = content["aliases"]
    wanted = [name for name in content["tensors"] if prefixes is None or name.startswith(prefixes)]
    once: dict[str, Any] = {}
    for name in dict.fromkeys(aliases.get(name, name) for name in wanted):
        dtype, shape = content["tensors"][name]
        once[name] = torch.empty(shape, dtype=getattr(torch, dtype))
    if once:
        _read_shards(once, step_folder(folder, step), together=False)
    return {name: once[aliases.get(name, name)] for name in wanted}, content["state"]


def _write_shards(aside: Path, tensors: dict[str, Any], needed: int) -> None:
    writer = HuggingFaceStorageWriter(str(aside), save_distributed=True)
    try:
        with _quiet():
            save(tensors, storage_writer=writer)  # flushes its files to the disk
    except CheckpointException as error:
        for trouble, _ in error.failures.values():
            if isinstance(trouble, OSError):
                raise cannot_write(aside, trouble, needed) from error
        raise RunError(f"cannot write {aside}: {error}") from error


def _read_shards(tensors: dict[str, Any], path: Path, together: bool) -> None:
    reader = HuggingFaceStorageReader(str(path))
    with _quiet():
        load(tensors, storage_reader=reader, no_dist=not (together and dist.is_initialized()))


@contextmanager
def _quiet() -> Iterator[None]:
    """Without PyTorch's warning that a process without a group is on its own: here it is meant to be."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="torch.distributed is disabled")
        warnings.filterwarnings("ignore", message="Detected mismatched keys")  # of the stages of a pipeline
        yield


def _sums(aside: Path) -> dict[str, dict[str, Any]]:
    """Size and sum of the files of this process, which PyTorch names by rank, counting from 1."""
    found = {}
    for path in sorted(aside.glob(f"shard-{_rank() + 1:05d}-*.safetensors")):
        with open(path, "rb") as file:
            total = hashlib.file_digest(file, "sha256").hexdigest()
            found[path.name] = {"size": os.fstat(file.fileno()).st_size, "sha256": total}
    return found


def _shapes(tensors: Mapping[str, Tensor]) -> dict[str, Any]:
    """Type and shape by name, as a checkpoint says them."""
    return {n: [str(t.dtype).removeprefix("torch."), list(t.shape)] for n, t in tensors.items()}


def _compare(needed: dict[str, Any], saved: dict[str, Any], folder: Path, step: int) -> None:
    where = step_folder(folder, step)
    for name in sorted(saved.keys() | needed.keys()):
        wanted = needed.get(name)
        if wanted is None or name not in saved:
            lacks = f"{where} lacks {name!r}" if wanted is not None else f"{where} has {name!r} too"
            raise RunError(
                f"{lacks}, so it is of another model or optimizer; use the experiment that saved it"
            )
        found, need = ((of[0], tuple(of[1])) for of in (saved[name], wanted))
        if found != need:  # PyTorch would convert the dtype without a word
            raise RunError(f"{where}: {name!r} is {found}, {need} expected; use the experiment that saved it")


def _fill(
    template: Mapping[str, Tensor], needed: dict[str, Any], whole: dict[str, Tensor], folder: Path, step: int
) -> None:
    _compare(needed, _shapes(whole), folder, step)
    with torch.no_grad():
        for name, target in template.items():
            source = whole[name].to(target.device)
            if isinstance(target, DTensor):  # each process has read the whole: nothing to send
                source = distribute_tensor(source, target.device_mesh, target.placements, src_data_rank=None)
            target.copy_(source)


def _own(tensor: Tensor) -> Tensor:
    """The tensor alone and contiguous in its memory, as safetensors wants it: itself, as a rule."""
    local, tensor = _local(tensor), tensor.detach()
    if isinstance(tensor, DTensor):
        return tensor if local.is_contiguous() else tensor.contiguous()
    alone = local.untyped_storage().nbytes() == local.nbytes
    return tensor if alone and local.is_contiguous() else tensor.clone(memory_format=torch.contiguous_format)


def _local(tensor: Tensor) -> Tensor:
    return tensor.to_local() if isinstance(tensor, DTensor) else tensor


def _state(content: dict[str, Any]) -> dict[str, Any]:
    state: dict[str, Any] = content["state"]
    return state


def _rank() -> int:
    return dist.get_rank() if dist.is_initialized() else 0


def _size() -> int:
    return dist.get_world_size() if dist.is_initialized() else 1


def _everywhere(work: Callable[[], T]) -> list[T]:
    """The results of all processes; if the work fails on one, all raise, and none waits for it forever."""
    result: Any = None
    trouble: Exception | None = None
    try:
        result = work()
    except OSError as error:
        trouble = cannot_write(Path(error.filename or "the checkpoint"), error)
    except Exception as error:
        trouble = error
    outcomes = [(result, str(trouble) if trouble else None)]
    if _size() > 1:
        outcomes *= _size()
        dist.all_gather_object(outcomes, (result, str(trouble) if trouble else None))
    if trouble:
        raise trouble
    for _, said in outcomes:
        if said is not None:
            raise RunError(said)
    return [each for each, _ in outcomes]


def _union(work: Callable[[], dict[str, Any]]) -> dict[str, Any]:
    """The results of all processes as one."""
    return {name: value for found in _everywhere(work) for name, value in found.items()}


def _on_first(work: Callable[[], T]) -> T:
    """The result of rank 0, on all."""
    return _everywhere(lambda: work() if _rank() == 0 else None)[0]  # type: ignore[return-value]
