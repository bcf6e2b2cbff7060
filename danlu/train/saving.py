"""How a run writes its checkpoints: all at once, or beside its updates.

On a GPU the tensors are copied to the host, and a thread hashes and writes them and puts the checkpoint in
place, in the order of ``danlu.train.store``. The files are the same bit for bit, and a process that dies at
any moment leaves the checkpoint before. One is written at a time: the next save waits for it, and so does the
run's end.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import suppress
from threading import Thread
from typing import TYPE_CHECKING, Any

import torch

from danlu.train import checkpoint
from danlu.train.whole import find_aliases

if TYPE_CHECKING:
    from danlu.train.callbacks import Tensors
    from danlu.train.trainer import Trainer


def beside(device: torch.device) -> bool:
    """Whether checkpoints are written while updates go on: on a CPU the copy would take its memory, and the
    thread its core."""
    return device.type == "cuda"


class Saver:
    """Saves ``run``; of several processes the first writes, or each its shards, which is not done beside."""

    def __init__(self, run: Trainer) -> None:
        self._run = run
        self._beside = beside(run.group.device)
        self._first = True
        self._thread: _Thread | None = None

    def save(self, state: Mapping[str, Any]) -> None:
        """Write where the run stands, and ``state``. Raises ``RunError`` where this or the checkpoint before
        cannot be written."""
        run = self._run
        path, step, tensors = run.folder.path, run.state.step, run.tensors()
        settings: dict[str, Any] = {"keep": run.experiment.train.keep, "protect": run.protected()}
        if run.update.sharded:
            from danlu.train import sharded  # imports torch.distributed

            sharded.save_sharded(path, step, sharded.flatten(tensors), state, **settings)
            return

        def write() -> None:
            self._join()
            if not self._beside or self._first:  # what runs the first time is recorded, in this thread
                checkpoint.save(path, step, tensors, state, **settings)
                self._first = False
                return
            held = copied(tensors)
            self._thread = _Thread(lambda: checkpoint.save(path, step, held, state, **settings))

        run.group.on_first(write)

    def finish(self) -> None:
        """Wait for what is being written; called by all processes. Raises ``RunError`` where it cannot be."""
        if self._beside and not self._run.update.sharded:
            self._run.group.on_first(self._join)

    def rest(self) -> None:
        """Wait for what is being written, whatever comes of it: the run has ended otherwise."""
        with suppress(Exception):
            self._join()

    def _join(self) -> None:
        thread, self._thread = self._thread, None
        if thread is not None:
            thread.result()


class _Thread:
    """Does ``work`` beside the caller."""

    def __init__(self, work: Callable[[], object]) -> None:
        self._error: BaseException | None = None
        self._work = work
        self._thread = Thread(target=self._do, name="checkpoint", daemon=True)
        self._thread.start()

    def _do(self) -> None:
        try:
            self._work()
        except BaseException as error:
            self._error = error

    def result(self) -> None:
        """Wait for its end. Raises what it raised."""
        self._thread.join()
        if self._error is not None:
            raise self._error


def copied(tensors: Mapping[str, Mapping[str, torch.Tensor]]) -> Tensors:
    """Copies on the host, which no update changes; names that are one tensor are one copy."""
    held: Tensors = {}
    for group, named in tensors.items():
        aliases = find_aliases(named)
        held[group] = {
            name: tensor.detach().to("cpu", copy=True)
            for name, tensor in named.items()
            if name not in aliases
        }
        once = held[group]
        held[group] = {name: once[aliases.get(name, name)] for name in named}
    return held
