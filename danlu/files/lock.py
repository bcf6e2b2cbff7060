"""Locks between processes, on every system, by ``filelock``: freed by the kernel however a process ends.

A lock is an empty file that stays. Who holds it stands in a file beside it, NAME.holder, since a locked file
cannot be read on Windows.
"""

from __future__ import annotations

import errno
import math
import os
import socket
import time
import warnings
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any, Self

from danlu.files.errors import FileError, cannot_write

LOOK_EVERY = 0.05  # seconds, at a lock that another process holds
PROBES = 20  # looks even where no patience is asked for: ``is_held`` takes a lock for a moment
NO_LOCKS = (errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP, errno.EINVAL)  # of a file system without them


class Held(FileError):
    """Another process holds the lock."""


class Lock:
    """An exclusive lock on the file ``path``, held from its making until ``release`` or the process's end.

    ``wait``: seconds to wait for whoever holds it (None: as long as it takes); then ``Held`` is raised.
    ``stop`` is called meanwhile and may raise. ``named``: write down who holds it, for others to read.
    ``of``: the folder that it guards, where it does not lie in it. Raises ``FileError`` where the file cannot
    be made; warns and goes on where the file system knows no locks.
    """

    def __init__(
        self,
        path: str | os.PathLike[str],
        *,
        wait: float | None = None,
        stop: Callable[[], None] = lambda: None,
        named: bool = False,
        of: str | os.PathLike[str] | None = None,
    ) -> None:
        self.path = Path(path)
        self._named = named
        self._lock = _filelock(self.path)
        until, looks = math.inf if wait is None else time.monotonic() + wait, 1
        while not self._take():
            stop()
            if time.monotonic() >= until and looks >= PROBES:  # a clock alone goes on where a process stands
                raise Held(
                    f"{of or self.path.parent} is in use by {holder(self.path) or 'another process'}; "
                    "wait until it ends, stop it, or name another folder"
                )
            looks += 1
            time.sleep(LOOK_EVERY)
        if named:
            _holder_file(self.path).write_bytes(f"process {os.getpid()} on {socket.gethostname()}\n".encode())

    def _take(self) -> bool:
        from filelock import Timeout

        try:
            self._lock.acquire(timeout=0)
        except Timeout:
            return False
        except (OSError, NotImplementedError) as error:
            number = getattr(error, "errno", errno.ENOSYS)
            if number not in NO_LOCKS:
                assert isinstance(error, OSError)
                raise cannot_write(self.path, error) from error
            said = f"{self.path} cannot be locked ({error}): run one process in its folder at a time"
            warnings.warn(said, stacklevel=4)
        return True

    def release(self) -> None:
        """Let others have it; nothing happens the second time."""
        if self._named:
            self._named = False
            with suppress(OSError):
                _holder_file(self.path).unlink()
        self._lock.release()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.release()


def is_held(path: str | os.PathLike[str]) -> bool | None:
    """Whether a process on this machine holds the lock; None where that cannot be found out (a file that may
    not be written to). It is taken for a moment, for which ``Lock`` has patience."""
    from filelock import Timeout

    if not os.path.exists(path):
        return False
    lock = _filelock(Path(path))
    try:
        lock.acquire(timeout=0)
    except Timeout:
        return True
    except (OSError, NotImplementedError):
        return None
    lock.release()
    return False


def holder(path: str | os.PathLike[str]) -> str:
    """Who holds, or last held, a lock that was taken by name: ``process 123 on host``; "" if nobody."""
    try:
        return _holder_file(Path(path)).read_bytes()[:200].decode(errors="replace").strip()
    except OSError:
        return ""


def _holder_file(path: Path) -> Path:
    return path.with_name(f"{path.name}.holder")


def _filelock(path: Path) -> Any:
    from filelock import FileLock

    return FileLock(path, thread_local=False)  # a study's thread may release what another took
