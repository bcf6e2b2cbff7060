"""``control.jsonl`` beside the queue: what a person wants of it, an object a line, only ever appended to.

``{"time": …, "job": NAME or "all", "want": "pause" | "resume" | "stop"}``. A queue obeys what is written
while it works, and nothing from before: who pauses today does not stop tomorrow's study. Nobody is sent a
signal: a process id may be another process by now, or on another machine. No torch here.
"""

from __future__ import annotations

import os
import time
from pathlib import Path
from typing import Literal, get_args

from danlu.files.errors import FileError, cannot_write
from danlu.files.json import fitting, to_json
from danlu.files.lock import Lock
from danlu.files.read import MIB, open_file
from danlu.files.system import append_to
from danlu.lab.errors import LabError

CONTROL = "control.jsonl"
ALL = "all"
LIMIT = MIB  # of the file: what is beyond is not read, and nobody writes more
LONGEST = 200  # letters of a job's name

Want = Literal["pause", "resume", "stop"]
WANTS: tuple[Want, ...] = get_args(Want)
ROW = {"time": float, "job": str, "want": WANTS}


def write(studies: Path, job: str, want: Want) -> None:
    """Ask the queues of ``studies`` for something. Raises ``LabError`` for what is no wish, ``FileError``
    where it cannot be written."""
    if want not in WANTS or not 0 < len(job) <= LONGEST:
        raise LabError(f"want = {want!r} of job {job!r:.80}; allowed: {', '.join(WANTS)}, of a job or all")
    path = studies / CONTROL
    line = (to_json({"time": round(time.time(), 3), "job": job, "want": want}) + "\n").encode()
    try:
        with Lock(path.with_name(f".{path.name}.lock")):
            size = path.stat().st_size if path.exists() else 0
            if size + len(line) > LIMIT:
                raise LabError(f"{path} is full; remove it while no queue works")
            handle = append_to(path)
            try:
                os.write(handle, line)
            finally:
                os.close(handle)
    except OSError as error:
        raise cannot_write(path, error) from error


class Control:
    """What is wanted of one queue, from its beginning on."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._read = self._size()  # bytes that are done with
        self.all: Want = "resume"
        self._jobs: dict[str, Want] = {}  # said after what was said of all

    def wish(self, job: str) -> Want:
        """What is wanted of a job: the last word on it or on all."""
        return self._jobs.get(job, self.all)

    @property
    def silent(self) -> bool:
        """Whether every job is to run, as where nobody ever said anything."""
        return self.all == "resume" and not self._jobs

    def look(self) -> bool:
        """Read what was appended since; whether anything was."""
        size = self._size()
        if size < self._read:  # somebody removed the file: what is wanted stays
            self._read = 0
        if size == self._read:
            return False
        rows = self._rows()
        for row in rows:
            if row["job"] == ALL:
                self.all = row["want"]
                self._jobs.clear()
            else:
                self._jobs[row["job"]] = row["want"]
        return bool(rows)

    def _rows(self) -> list[dict[str, Want]]:
        """New whole lines; what is no wish is passed over."""
        try:
            with open_file(self.path) as file:
                file.seek(self._read)
                text = file.read(max(0, LIMIT - self._read))
        except (OSError, FileError):
            return []
        whole = text[: text.rfind(b"\n") + 1]
        self._read += len(whole)
        return fitting(whole.splitlines(), ROW)

    def _size(self) -> int:
        try:
            return min(self.path.stat().st_size, LIMIT)
        except OSError:
            return 0
