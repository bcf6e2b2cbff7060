"""The queue as its journal tells it, and what a person may want of it."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from danlu.files.errors import FileError
from danlu.files.json import fitting
from danlu.files.numbers import clock
from danlu.files.read import MIB, last_lines
from danlu.lab.errors import LabError
from danlu.lab.queue import control
from danlu.lab.queue.journal import JOURNAL
from danlu.lab.reading.run import Run
from danlu.watch.place import Place, id_of

TAIL = 2 * MIB  # of the journal: the last events
SHOWN = 100  # jobs that have ended
ROW = {"time": float, "job": str, "event": str, "try": (int, None), "reason": (str, None)}
GOING = ("started", "lost")  # after these a job is under way, or will be again


@dataclass(frozen=True)
class Standing:
    """A job by its last event. ``state``: running, paused, or how it ended; *left* where its process is gone
    and no queue has taken it up again."""

    name: str
    state: str
    since: float
    run: Run | None
    more: str = ""

    @property
    def id(self) -> str:
        return "" if self.run is None else id_of(self.run.path)

    @property
    def cells(self) -> tuple[str, ...]:
        """How far it is, its loss, its metric, for how long it has been so."""
        run = self.run
        if run is None:
            return ("", "", "", ago(self.since))
        of = run.fields.get("train.steps")
        steps = f"{run.steps or 0:,}{f' of {of:,}' if isinstance(of, int) else ''}"
        return (
            steps,
            "" if run.loss is None else f"{run.loss:.4f}",
            "" if run.metric is None else f"{run.metric:.4f}",
            ago(self.since),
        )

    @property
    def share(self) -> float | None:
        """How much of it is done."""
        of = None if self.run is None else self.run.fields.get("train.steps")
        return (
            min(1.0, (self.run.steps or 0) / of)
            if self.run is not None and isinstance(of, int) and of
            else None
        )


@dataclass(frozen=True)
class State:
    """``paused``: whether all is; ``jobs``: under way or paused; ``ended``: the last ones."""

    paused: bool
    jobs: Sequence[Standing]
    ended: Sequence[Standing]
    counts: Mapping[str, int]


def events(studies: Path) -> list[dict[str, Any]]:
    """The last events of the journal, oldest first."""
    try:
        lines = last_lines(studies / JOURNAL, TAIL)
    except (OSError, FileError):
        return []
    return fitting(lines, ROW)


def state(place: Place) -> State | None:
    """The queue of the folder; None where nothing was ever run."""
    studies = place.studies_folder
    if studies is None or not place.holds(studies / JOURNAL):
        return None
    rows = events(studies)
    last: dict[str, dict[str, Any]] = {}
    for row in rows:
        last.pop(row["job"], None)  # the order is that of the last events
        last[row["job"]] = row
    everything = last.pop(control.ALL, {"event": ""})["event"]
    by_name = place.by_name()
    jobs = [_standing(row, by_name.get(name)) for name, row in reversed(last.items())]
    going = [job for job in jobs if job.state in ("running", "paused", "left")]
    ended = [job for job in jobs if job.state not in ("running", "paused", "left")]
    going.sort(key=lambda job: job.state != "running")
    return State(everything == "paused", going, ended[:SHOWN], Counter(job.state for job in jobs))


def _standing(row: Mapping[str, Any], run: Run | None) -> Standing:
    event = row["event"]
    if event in GOING:
        alive = run is not None and run.state == "running"
        # A worker that is just starting has no lock yet.
        event = "running" if alive or time.time() - row["time"] < 30 else "left"
    more = row.get("reason") or (f"try {row['try']}" if (row.get("try") or 1) > 1 else "")
    return Standing(row["job"], event, row["time"], run, more)


def ask(place: Place, job: str, want: str) -> None:
    """Write down a wish. Raises ``LabError`` for a job that the journal does not know, or a word that is no
    wish, ``FileError`` where it cannot be written."""
    studies = place.studies_folder
    if studies is None or not place.holds(studies / control.CONTROL):
        raise LabError("there is no queue in this folder; a study makes one (danlu try, danlu sweep)")
    known = {row["job"] for row in events(studies)}
    if job != control.ALL and job not in known:
        raise LabError(f"the queue knows no job {job!r:.80}; load the page again")
    for wish in control.WANTS:
        if wish == want:
            control.write(studies, job, wish)
            return
    raise LabError(f"want = {want!r:.80}; allowed: {', '.join(control.WANTS)}")


def ago(since: float) -> str:
    """For how long, in words."""
    seconds = max(0.0, time.time() - since)
    return clock(seconds) if seconds < 2 * 86400 else f"{seconds / 86400:.0f} days"
