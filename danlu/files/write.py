"""Small files written whole or not at all, whoever else writes them at the same time."""

from __future__ import annotations

import os
import secrets
import time
from contextlib import suppress
from pathlib import Path

from danlu.files import system
from danlu.files.errors import cannot_write

_ASIDE = ".writing"  # the suffix of a small file that is not yet whole
_OLD = 60.0  # seconds after which a file aside has no writer any more


def write_atomically(path: Path, data: bytes) -> None:
    """Write a small file aside, flush it to the disk, and put it in place: whole or not at all.

    Of several writers at once each has a file aside of its own, and the last to finish wins. A link stays,
    and the file that it leads to is written. Raises ``FileError`` if that fails; what was at ``path`` before
    is then still there.
    """
    path = Path(os.path.realpath(path)) if os.path.islink(path) else path
    aside = path.with_name(f".{secrets.token_hex(8)}{_ASIDE}")
    try:
        with open(aside, "xb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        system.replace(aside, path)
        flush(path.parent)
    except OSError as error:
        with suppress(OSError):
            aside.unlink(missing_ok=True)
        raise cannot_write(path, error, len(data)) from error


def clean_aside(folder: Path, older: float = _OLD) -> None:
    """Remove what ``write_atomically`` left there when its process was killed, ``older`` seconds ago."""
    for left in folder.glob(f".*{_ASIDE}"):
        with suppress(OSError):  # another process may clean too
            if time.time() - left.stat().st_mtime >= older:
                left.unlink()


def flush(path: Path) -> None:
    """Bring a file to the disk, or a folder's names: a rename alone may be lost with the power."""
    if system.WINDOWS:  # flushes neither folders nor files that are open for reading
        return
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
