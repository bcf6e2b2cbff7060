"""What operating systems do differently, in one place. Linux has all that danlu asks for, macOS nearly all,
Windows less: no other module asks which of them it is on in order to touch files or processes.

Locks (``lock``) are the kernel's on each of them, by ``filelock``. Nobody asks whether a process lives by
its number, which another may have by now, and which Windows would take for a signal to it: who holds a lock
lives.
"""

from __future__ import annotations

import os
import signal
import sys
import time
from pathlib import Path

WINDOWS = os.name == "nt"
MAC = sys.platform == "darwin"

NO_QUEUE = (
    "on Windows the queue of try, sweep, prove and ladder needs Linux's processes; run danlu in WSL "
    "(https://learn.microsoft.com/windows/wsl)"
)
NO_REFEREE = "the referee ends programs by their session, which Windows has none of; use WSL"
NO_MPS = "a Mac's GPU (MPS) has no float64 and its results cannot be repeated"

_PATIENCE, _AGAIN = 40, 0.05  # looks, and seconds between two, at a file that another process reads


def append_to(path: Path) -> int:
    """A descriptor of a file for reading and appending bytes, which is made where it is missing. It is not
    handed on to children (as Python has it for every descriptor). Raises ``OSError``."""
    flags = os.O_RDWR | os.O_CREAT | os.O_APPEND | getattr(os, "O_BINARY", 0)  # Windows would write \r\n
    return os.open(path, flags, 0o644)


def replace(source: Path, target: Path) -> None:
    """Put ``source`` in the place of ``target``. Windows refuses as long as another process reads either, so
    there it is tried for two seconds. Raises ``OSError``."""
    for _ in range(_PATIENCE if WINDOWS else 0):
        try:
            os.replace(source, target)
            return
        except PermissionError:
            time.sleep(_AGAIN)
    os.replace(source, target)


def signal_self(number: int) -> None:
    """Send this process a signal that it handles itself. Elsewhere the system chooses the main thread, which
    may wait; on Windows ``os.kill`` would end the process instead."""
    if WINDOWS:
        signal.raise_signal(number)
    else:
        os.kill(os.getpid(), number)
