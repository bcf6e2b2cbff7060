"""Runs make way for whoever measures time on this machine, whatever study they are of.

A run of the lab is carried out ``at_work``, and time is measured while it is ``quiet``. Who measures holds a
gate that every run goes through before it begins, and waits for the runs that are under way. Both are locks
in danlu's cache, so that a process that dies leaves nothing behind.
"""

from __future__ import annotations

import os
import platform
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from danlu.files.errors import cannot_write
from danlu.files.lock import LOOK_EVERY, Lock, is_held
from danlu.files.paths import cache_folder
from danlu.lab.study import folder_name

PATIENCE = 60.0  # seconds that runs under way are waited for; all that begin meanwhile wait, too
GATE, RUN = "gate.lock", ".run"


@contextmanager
def at_work(stop: Callable[[], None]) -> Iterator[None]:
    """While this process carries out a run. Waits for whoever measures time; ``stop`` is called meanwhile,
    and may raise."""
    folder = _folder()
    mine = folder / f"{os.getpid()}{RUN}"
    with Lock(folder / GATE, stop=stop):
        run = Lock(mine)
    try:
        yield
    finally:
        run.release()
        mine.unlink(missing_ok=True)


@contextmanager
def quiet(stop: Callable[[], None], patience: float = PATIENCE) -> Iterator[int]:
    """While time is measured: no run begins. Gives the number of those that are still under way after
    ``patience`` seconds. ``stop`` is called while it waits, and may raise."""
    folder = _folder()
    with Lock(folder / GATE, stop=stop):
        until = time.monotonic() + patience
        while (others := _under_way(folder)) and time.monotonic() < until:
            stop()
            time.sleep(LOOK_EVERY)
        yield others


def _under_way(folder: Path) -> int:
    return sum(is_held(path) is True for path in folder.glob(f"*{RUN}"))


def _folder() -> Path:
    """Of this machine: a home may be shared by many."""
    folder = cache_folder() / "machines" / folder_name(platform.node())
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise cannot_write(folder, error) from error
    return folder
