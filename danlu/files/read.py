"""Reading a file that anybody may have written: only a regular file, and only so much of it."""

from __future__ import annotations

import os
import stat
from io import BufferedReader
from typing import NamedTuple

from danlu.files.errors import FileError, cannot_read

MIB = 1 << 20
LIMIT = 64 * MIB  # bytes of a small file: a tokenizer's JSON is the largest that is met
LARGE = 1 << 30  # of one that grows with a run: its metrics

# Without O_NONBLOCK the opening of a pipe waits for somebody who writes into it.
_FLAGS = os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0)


class Stamp(NamedTuple):
    """By which a file is known to be as it was: a rewritten one has another ``inode``. ``size`` in bytes,
    ``changed`` in nanoseconds."""

    inode: int
    size: int
    changed: int


def stamp(path: str | os.PathLike[str]) -> Stamp | None:
    """Of a file as it is now; None where none is to be had."""
    try:
        found = os.stat(path)
    except OSError:
        return None
    return Stamp(found.st_ino, found.st_size, found.st_mtime_ns)


def open_file(path: str | os.PathLike[str]) -> BufferedReader:
    """The regular file ``path``, open for reading bytes.

    Raises ``FileError`` where it is missing, or a folder, a device or a pipe, which may have no end or make
    the reader wait forever.
    """
    return os.fdopen(_open(path)[0], "rb")


def read_bytes(path: str | os.PathLike[str], limit: int = LIMIT) -> bytes:
    """What a regular file of at most ``limit`` bytes holds. Raises ``FileError``."""
    handle, size = _open(path)
    parts, room = [], limit
    try:
        while room >= 0 and (part := os.read(handle, min(size, room) + 1)):  # it may be larger than it says
            parts.append(part)
            room -= len(part)
    except OSError as error:
        raise cannot_read(path, error) from error
    finally:
        os.close(handle)
    if room < 0:
        raise FileError(f"{path} is larger than the {limit / MIB:g} MiB allowed here; name another file")
    return b"".join(parts)


def _open(path: str | os.PathLike[str]) -> tuple[int, int]:
    """A descriptor of a regular file, and its size."""
    try:
        handle = os.open(path, _FLAGS)
    except FileNotFoundError as error:
        raise cannot_read(path, error) from error
    except (OSError, ValueError) as error:  # ValueError: a name with a zero byte
        if os.path.isdir(path):  # on Windows a folder cannot be opened
            raise FileError(f"{path} is a folder; name a file") from None
        raise cannot_read(path, error if isinstance(error, OSError) else OSError(str(error))) from error
    found = os.fstat(handle)
    kind = _kind(found.st_mode)
    if kind is not None:
        os.close(handle)
        raise FileError(f"{path} is a {kind}; name a file")
    return handle, found.st_size


def read_text(path: str | os.PathLike[str], limit: int = LIMIT) -> str:
    """The text of a UTF-8 file, without a byte order mark. Raises ``FileError``."""
    return decode(read_bytes(path, limit), os.fspath(path))


def decode(data: bytes, name: str) -> str:
    """``data`` as text, without a byte order mark. Raises ``FileError`` with the line that is not UTF-8."""
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        raise FileError(f"{name}, line {line}: not text in UTF-8; save it as UTF-8") from None


def _kind(mode: int) -> str | None:
    """What is no regular file, in words."""
    if stat.S_ISREG(mode):
        return None
    if stat.S_ISDIR(mode):
        return "folder"
    return "pipe" if stat.S_ISFIFO(mode) else "socket" if stat.S_ISSOCK(mode) else "device"


def tail(path: str | os.PathLike[str], size: int) -> str:
    """The last ``size`` bytes of a file as text, such as a log; "" where it cannot be read."""
    try:
        with open_file(path) as file:
            file.seek(max(0, file.seek(0, os.SEEK_END) - size))
            return file.read(size).decode(errors="replace")
    except (OSError, FileError):
        return ""


def last_lines(path: str | os.PathLike[str], size: int) -> list[bytes]:
    """The lines within the last ``size`` bytes of a file; the last may be torn, or empty.

    Raises ``FileError`` or ``OSError``.
    """
    with open_file(path) as file:
        whole = file.seek(0, os.SEEK_END)
        file.seek(max(0, whole - size))
        return file.read(size).split(b"\n")[1 if whole > size else 0 :]
