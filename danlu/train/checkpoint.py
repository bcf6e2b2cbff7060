"""Checkpoints, of whichever layout: of one process (``danlu.train.whole``) or of several
(``danlu.train.sharded``), which both lie over ``danlu.train.store``."""

from __future__ import annotations

from collections.abc import Collection
from pathlib import Path
from typing import Any

from danlu.train import store, whole
from danlu.train.whole import Tensors, compare, fill, save

__all__ = ["compare", "fill", "load", "save"]


def load(
    folder: Path, step: int | None = None, only: Collection[str] | None = None
) -> tuple[Tensors, dict[str, Any]]:
    """The tensors (on the CPU) and the state of a checkpoint: of ``step``, or the latest.

    ``only``: the groups to read; all if left out. A checkpoint of several processes is read whole; its names
    must have been made by ``danlu.train.sharded.flatten``. Raises ``RunError`` if there is none, or if a file
    is missing, truncated or altered.
    """
    step = store.choose(folder, step)
    content = store.read_content(folder, step)
    if content["layout"] != "sharded":
        return whole.load(folder, step, content, only), content["state"]
    from danlu.train.sharded import load_full, unflatten  # imports torch.distributed

    prefixes = None if only is None else tuple(f"{group}/" for group in only)
    flat, state = load_full(folder, step, prefixes)
    return unflatten(flat), state
