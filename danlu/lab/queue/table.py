"""How the queue is followed: a table of what is running on a terminal, a plain line now and then elsewhere.

How far a run is stands in its ``metrics.jsonl``, whoever carries it out.
"""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

from danlu.draw.language import language
from danlu.draw.phrases import english, words
from danlu.files.errors import FileError
from danlu.files.escape import escape
from danlu.files.json import from_json, misfit
from danlu.files.numbers import clock
from danlu.files.read import last_lines
from danlu.lab.queue.job import Job
from danlu.train.folder import METRICS
from danlu.train.shapes import ROW

LIVE_EVERY, PLAIN_EVERY = 0.5, 5.0  # seconds
SHOWN = 8  # digits of a run's key
OTHERS = 60  # characters of the table's other columns
TAIL = 1 << 14  # bytes of the metrics that are looked at


@dataclass(frozen=True)
class Standing:
    """Of one run: ``share`` of it that is done, the last values known; None where there is none yet."""

    share: float = 0.0
    step: int | None = None
    loss: float | None = None
    metric: float | None = None
    speed: float | None = None  # tokens (images) a second

    @classmethod
    def of(cls, job: Job, folder: Path) -> Standing:
        """As the end of the run's metrics says."""
        rows = _tail(folder / METRICS)
        if not rows:
            return cls()
        train, last, first = job.experiment.train, rows[-1], rows[0]
        bounds = {"step": train.steps, "tokens": train.tokens, "seconds": train.seconds}
        share = max(last.get(name, 0) / bound for name, bound in bounds.items() if bound is not None)
        seconds = last.get("seconds", 0) - first.get("seconds", 0)
        counted = f"{job.experiment.data.unit}s"
        units = last.get(counted, 0) - first.get(counted, 0)
        return cls(
            share=min(share, 1.0),
            step=last["step"],
            loss=_last(rows, "loss"),
            metric=_last(rows, job.experiment.objective.metrics[0].name),
            speed=units / seconds if seconds > 0 else None,
        )


class Running(NamedTuple):
    """A job that is carried out, in its folder; the number of its try; ``together``: with how many
    it is carried out that come as far, itself counted."""

    job: Job
    folder: Path
    number: int
    together: int = 1


@dataclass(frozen=True)
class State:
    """Of the queue: what is running, and how many are what."""

    running: Sequence[Running]
    waiting: int
    ended: int
    found: int  # of those ended: by others, or before
    wrong: int  # of those ended: diverged or failed
    paused: int = 0  # of those waiting: by hand


class Table:
    """Tells a person on stderr, in the person's language; ``show=False`` tells nobody."""

    def __init__(self, show: bool) -> None:
        self._show = show
        self._said = words(language()) if show else english
        self._live: Any = None
        self._began = self._drawn = time.monotonic()
        self._terminal = show and sys.stderr.isatty() and os.environ.get("TERM") != "dumb"

    def message(self, text: str) -> None:
        """One line that stays."""
        text = self._said(text)
        if self._live is not None:
            self._live.console.print(escape(text), style="dim", highlight=False, markup=False)
        elif self._show:
            print(escape(text), file=sys.stderr, flush=True)

    def draw(self, state: State) -> None:
        """What is now; called as often as one likes."""
        now = time.monotonic()
        if not self._show or now - self._drawn < (LIVE_EVERY if self._terminal else PLAIN_EVERY):
            return
        self._drawn = now
        standings = [Standing.of(job, folder) for job, folder, *_ in state.running]
        footer = self._footer(state, standings, now)
        if self._terminal:
            self._update(state, standings, footer)
            return
        runs = [
            f"{_run(one.folder)}{f' {self._more(one.together)}' if one.together > 1 else ''} {self._at(at)}"
            for one, at in zip(state.running, standings, strict=True)
        ]
        print(escape("; ".join([footer, *runs])), file=sys.stderr, flush=True)

    def _more(self, together: int) -> str:
        """With how many others a run is trained."""
        more = together - 1
        return self._said(f"and {more} more run{'s' * (more > 1)}")

    def _at(self, at: Standing) -> str:
        """How far a run is, and its loss."""
        return self._said(f"{at.share:.0%}" + ("" if at.loss is None else f", loss {at.loss:.4f}"))

    def close(self) -> None:
        """Leave nothing of the table behind; ``draw`` begins it anew."""
        if self._live is not None:
            self._live.stop()
            self._live = None

    def _footer(self, state: State, standings: Sequence[Standing], now: float) -> str:
        total = state.ended + sum(one.together for one in state.running) + state.waiting
        parts = [f"{state.ended} of {total} runs done"]
        if state.wrong:
            parts.append(f"{state.wrong} of them without a result")
        if state.paused:
            parts.append(f"{state.paused} paused by hand")
        shares = (one.together * at.share for one, at in zip(state.running, standings, strict=True))
        done = state.ended - state.found + sum(shares)
        left = total - state.found - done
        if done > 0 and left > 0:
            parts.append(f"about {clock(left * (now - self._began) / done)} left")
        return self._said(", ".join(parts))

    def _update(self, state: State, standings: Sequence[Standing], footer: str) -> None:
        from rich.console import Console
        from rich.live import Live
        from rich.progress_bar import ProgressBar
        from rich.table import Table as Rows

        console = self._live.console if self._live is not None else Console(stderr=True)
        room = max(console.width - OTHERS, 2 * SHOWN)
        rows = Rows(box=None, pad_edge=False, caption=footer, caption_justify="left")
        rows.add_column(self._said("run"), no_wrap=True)
        rows.add_column("", width=12)
        metrics = {job.experiment.objective.metrics[0] for job, *_ in state.running}
        metric = next(iter(metrics)) if len(metrics) == 1 else None
        counted = {f"{job.experiment.data.unit}s/s" for job, *_ in state.running}
        speed = counted.pop() if len(counted) == 1 else "speed"
        for name in ("step", "loss", (metric.unit or metric.words) if metric else "metric", speed):
            rows.add_column(self._said(name), justify="right", no_wrap=True)
        rows.add_column("", style="dim", no_wrap=True)
        for (_, folder, number, count), at in zip(state.running, standings, strict=True):
            cells = [_say(at.step), _say(at.loss, ".4f"), _say(at.metric, ".4f"), _say(at.speed, ",.0f")]
            more = [self._more(count)] if count > 1 else []
            again = ", ".join([*more, self._said(f"try {number}")] if number > 1 else more)
            rows.add_row(_cut(_run(folder), room), ProgressBar(1.0, at.share, width=12), *cells, again)
        if self._live is None:
            # Nothing of the caller's output is redirected: stdout may be a pipe.
            self._live = Live(
                console=console,
                auto_refresh=False,
                transient=True,
                redirect_stdout=False,
                redirect_stderr=False,
            )
            self._live.start()
        self._live.update(rows, refresh=True)


def _run(folder: Path) -> str:
    """The beginning of a run's folder, of which no other has the same."""
    name, *digits = folder.name.rsplit("-", 2)
    return f"{name}-{digits[0][:SHOWN]}" if len(digits) == 2 else folder.name


def _cut(name: str, room: int) -> str:
    """The name in so many characters; its hash stays, as names may be the same."""
    kept = SHOWN + 1
    return name if len(name) <= room else f"{name[: room - kept - 1]}…{name[-kept:]}"


def _say(value: float | None, form: str = "d") -> str:
    return "" if value is None else format(value, form)


def _tail(path: Path) -> list[dict[str, Any]]:
    """The last rows, whole ones."""
    try:
        whole = last_lines(path, TAIL)[:-1]
    except (OSError, FileError):
        return []
    try:
        rows = [from_json(line) for line in whole]
    except ValueError:
        return []  # damaged: the run itself will say so
    return [] if misfit(rows, [ROW]) else rows


def _last(rows: Sequence[dict[str, Any]], name: str) -> float | None:
    return next((row[name] for row in reversed(rows) if name in row), None)
