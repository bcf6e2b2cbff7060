"""``queue.jsonl``: what happened to which job and when, an object a line, only ever appended to.

For people and their scripts; the queue itself goes by the runs' folders. A line torn by a power cut or a full
disk is passed over. No torch here.
"""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from danlu.files.errors import cannot_write
from danlu.files.json import from_json, to_json
from danlu.files.lock import Lock
from danlu.files.system import append_to

JOURNAL = "queue.jsonl"
ENDS = ("finished", "diverged")  # a failure is no end: a later queue tries it again


class Journal:
    """Several queues may write to one file, which is made with the first event: a study that is refused
    leaves nothing behind."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._file = -1
        self._read = 0  # bytes
        self._torn = False  # whether what was read ends within a line
        self._ended: set[str] = set()

    def write(self, job: str, event: str, **more: Any) -> None:
        """Append one event. An end is written once, whichever queue sees it first. Raises ``FileError`` where
        it cannot be written."""
        try:
            if self._file < 0:
                self.path.parent.mkdir(parents=True, exist_ok=True)
                self._file = append_to(self.path)
            with Lock(self.path.with_name(f".{self.path.name}.lock")):
                self._catch_up()
                if event in ENDS and job in self._ended:
                    return
                row = {"time": round(time.time(), 3), "job": job, "event": event, **more}
                os.write(self._file, ("\n" * self._torn + to_json(row) + "\n").encode())
        except OSError as error:
            raise cannot_write(self.path, error) from error

    def close(self) -> None:
        if self._file >= 0:
            os.close(self._file)
            self._file = -1

    def _catch_up(self) -> None:
        """Read what was appended since, by anybody."""
        parts = []
        os.lseek(self._file, self._read, os.SEEK_SET)  # what is written is appended, wherever this stands
        while part := os.read(self._file, 1 << 20):
            parts.append(part)
            self._read += len(part)
        text = b"".join(parts)
        for row in _rows(text):
            if row["event"] in ENDS:
                self._ended.add(row["job"])
        if text:
            self._torn = not text.endswith(b"\n")


def read(path: Path) -> list[dict[str, Any]]:
    """All events, oldest first; none where nothing was ever run."""
    return list(_rows(path.read_bytes())) if path.exists() else []


def _rows(text: bytes) -> Iterator[dict[str, Any]]:
    for line in text.splitlines():
        try:
            row = from_json(line)
        except ValueError:
            continue
        if isinstance(row, dict) and "job" in row and "event" in row:
            yield row
