"""``metrics.jsonl``: what a run measured, one JSON object a line, only ever appended to.

No torch here. A process that is killed may leave a torn last line, which readers pass over and
the next process cuts away; a torn line anywhere else is damage and is reported.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

from danlu.files.errors import Missing, cannot_write
from danlu.files.json import from_json, to_json
from danlu.files.read import LARGE, read_bytes
from danlu.files.system import append_to
from danlu.files.write import write_atomically
from danlu.train.errors import RunError

Row = dict[str, Any]


class MetricsFile:
    """Appends rows. Lines are gathered in memory and written at most every ``every`` seconds.

    Opening the file cuts away a torn last line. If the disk is full an ``append`` keeps its rows
    and a later write tries again, since a missing line should not end a run; ``flush`` and
    ``close`` raise ``FileError``.
    """

    def __init__(self, path: Path, every: float = 0.5, timer: Callable[[], float] = time.monotonic) -> None:
        self.path = path
        self._every, self._timer, self._written = every, timer, timer()
        self._lines: list[str] = []
        self._open()

    def _open(self) -> None:
        try:
            self._file = append_to(self.path)
            self._size = _whole_lines(self._file)
            os.ftruncate(self._file, self._size)
        except OSError as error:
            raise cannot_write(self.path, error) from error

    def append(self, row: Row) -> None:
        """Add a row, which must have an integer ``step``; raises ``ValueError`` if it has none."""
        if not _is_row(row):
            raise ValueError(f"a row of metrics needs an integer 'step', found {row.get('step')!r}")
        self._lines.append(to_json(row) + "\n")
        now = self._timer()
        if now - self._written >= self._every:
            self._written = now
            with suppress(OSError):  # kept in memory: tried again later, raised by flush
                self._write()

    def _write(self) -> None:
        data = "".join(self._lines).encode()
        rest = memoryview(data)
        try:
            while rest:
                rest = rest[os.write(self._file, rest) :]
        except OSError:
            os.ftruncate(self._file, self._size)  # no half line before the next attempt
            raise
        self._size += len(data)
        self._lines.clear()

    def flush(self, durable: bool = False) -> None:
        """Write what is gathered; ``durable``: down to the disk, as before a checkpoint.

        Raises ``FileError`` if it cannot be written; the rows are then still kept.
        """
        try:
            self._write()
            if durable:
                os.fsync(self._file)
        except OSError as error:
            raise cannot_write(self.path, error) from error

    def truncate_after(self, step: int) -> None:
        """Drop the rows past ``step``, as after loading the checkpoint of that step.

        Raises ``FileError``, or ``RunError`` for a damaged row."""
        self.flush()
        os.close(self._file)
        try:
            truncate_after(self.path, step)
        finally:
            self._open()

    def close(self) -> None:
        """Write what is gathered and close. Raises ``FileError`` if it cannot be written."""
        if self._file >= 0:
            try:
                self.flush()
            finally:
                os.close(self._file)
                self._file = -1

    def __enter__(self) -> MetricsFile:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def read(path: Path) -> list[Row]:
    """The rows of a file that may still be written to; none if it does not exist.

    Raises ``RunError``, naming the line, if one before the last is not a row.
    """
    return [row for row, _ in _rows(path)]


def truncate_after(path: Path, step: int) -> None:
    """Rewrite the file, atomically, without the rows past ``step`` and without a torn last line."""
    kept = b"".join(line + b"\n" for row, line in _rows(path) if row["step"] <= step)
    if path.exists() and path.stat().st_size != len(kept):
        write_atomically(path, kept)


def _rows(path: Path) -> list[tuple[Row, bytes]]:
    try:
        lines = read_bytes(path, LARGE).split(b"\n")
    except Missing:
        return []
    lines.pop()  # empty after a whole last line; otherwise a line being written, or torn
    rows = []
    for number, line in enumerate(lines, start=1):
        try:
            row = from_json(line)
        except ValueError:
            row = None
        if _is_row(row):
            rows.append((row, line))
        elif number < len(lines):
            start = line[:60].decode(errors="replace")
            raise RunError(
                f"{path}, line {number}: not a JSON object with a 'step' ({start!r}); "
                "the file was damaged: delete that line to go on without it"
            )
    return rows


def _is_row(row: Any) -> bool:
    return isinstance(row, dict) and isinstance(row.get("step"), int) and not isinstance(row["step"], bool)


def _whole_lines(file: int, block: int = 1 << 16) -> int:
    """Bytes up to and with the last newline."""
    end = os.fstat(file).st_size
    while end > 0:
        start = max(0, end - block)
        os.lseek(file, start, os.SEEK_SET)
        at = os.read(file, end - start).rfind(b"\n")
        if at >= 0:
            return start + at + 1
        end = start
    return 0
