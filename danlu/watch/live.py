"""What has changed, as server-sent events (https://html.spec.whatwg.org/multipage/server-sent-events.html).

Each stream looks at the files about once a second, keeps no more than where it stood, and looks again when
its reader has taken what it was sent: who reads slowly is told the latest, and nothing piles up. Where looks
are dear they are rarer: all streams together take half a hundredth of a core, which training would miss.
"""

from __future__ import annotations

import math
import os
import re
import time
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import anyio
from anyio.to_thread import run_sync
from starlette.responses import PlainTextResponse, Response, StreamingResponse
from starlette.types import Receive, Scope, Send

from danlu.files.errors import DanluError, FileError
from danlu.files.json import finite, fitting, to_json
from danlu.files.read import MIB, open_file
from danlu.lab.reading.curves import flops_per_unit, point
from danlu.lab.reading.run import METRICS, Run
from danlu.train.shapes import ROW

STREAMS = 32  # at once
EVERY, PING = 1.0, 15.0  # seconds between two looks; of silence, before a comment
SHARE, LONGEST = 0.005, 300.0  # of a core, that all looks may take; seconds between two, at most
AROUND = 3.5e-4  # seconds of a core that a look takes besides its own: the loop, the thread, the answer
CHUNK = MIB  # bytes of new rows at a time
LONGEST_ID = 64
LINE = b"\n"

Look = Callable[[], str]  # what there is to tell now, as events; "": nothing


def event(data: str, name: str = "", id: str = "") -> str:
    """One event; without a name it is HTML for htmx to put in its place."""
    head = "".join(f"{key}: {value}\n" for key, value in (("event", name), ("id", id)) if value)
    return head + "".join(f"data: {line}\n" for line in data.splitlines() or [""]) + "\n"


class Streams:
    """The streams that are open, ``most`` at a time."""

    def __init__(self, most: int = STREAMS, every: float = EVERY) -> None:
        self.most, self.every, self.open = most, every, 0

    def response(self, look: Look) -> Response:
        """A stream of what ``look`` tells; 503 where there are too many."""
        return _Stream(self, self._following(look))

    async def _following(self, look: Look) -> AsyncIterator[str]:
        silent = 0.0
        yield ": here\n\n"
        while True:
            try:
                told, took = await run_sync(_timed, look)
            except DanluError as error:  # gone, or damaged: the page says it when it is loaded again
                yield event(str(error).splitlines()[0], "wrong")
                return
            if told:
                silent = 0.0
                yield told
            wait = min(max(self.every, (took + AROUND) * self.open / SHARE), LONGEST)
            while wait > PING - silent:
                await anyio.sleep(PING - silent)
                wait, silent = wait - PING + silent, 0.0
                yield ": still here\n\n"
            silent += wait
            await anyio.sleep(wait)


def _timed(look: Look) -> tuple[str, float]:
    """What is told, and the seconds of this thread on a core."""
    start = time.thread_time()
    return look(), time.thread_time() - start


class _Stream(StreamingResponse):
    """Counted while it is open."""

    def __init__(self, streams: Streams, content: AsyncIterator[str]) -> None:
        super().__init__(content, media_type="text/event-stream")
        self._streams = streams

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        streams = self._streams
        if streams.open >= streams.most:
            said = f"danlu: {streams.open} pages are followed already; close some\n"
            await PlainTextResponse(said, 503, {"retry-after": "30"})(scope, receive, send)
            return
        streams.open += 1
        try:
            await super().__call__(scope, receive, send)
        finally:
            streams.open -= 1


class Tail:
    """New rows of ``metrics.jsonl``, each read once. ``at``: where a reader stood, as ``mark`` said it.

    The file may not be there yet, its last line may be torn, and a run that goes on from a checkpoint takes
    rows back: the file is then another one, or shorter, and all of it is new.
    """

    def __init__(self, path: Path, at: str = "") -> None:
        self.path = path
        known = re.fullmatch(r"([0-9]{1,20})-([0-9]{1,16})", at[:LONGEST_ID])
        self._file, self._offset = (int(known[1]), int(known[2])) if known else (0, 0)

    @property
    def mark(self) -> str:
        """Where it stands."""
        return f"{self._file}-{self._offset}"

    def read(self) -> tuple[list[dict[str, Any]], bool]:
        """The rows since, at most ``CHUNK`` bytes of them; whether those before are no longer there."""
        try:
            with open_file(self.path) as file:
                found = _stat(file.fileno())
                again = found[0] != self._file or found[1] < self._offset
                if again:
                    self._file, self._offset = found[0], 0
                file.seek(self._offset)
                text = file.read(CHUNK)
        except (OSError, FileError):
            return [], False
        whole = text[: text.rfind(LINE) + 1]
        if not whole and len(text) == CHUNK:  # no line is as long: it is no row
            whole = text
        self._offset += len(whole)
        return fitting(whole.splitlines(), ROW), again


def mark_of(path: Path) -> str:
    """The ``mark`` of a reader who has read all whole lines; "" where there is no file."""
    try:
        with open_file(path) as file:
            inode, size = _stat(file.fileno())
            start = max(0, size - CHUNK)
            file.seek(start)
            return f"{inode}-{start + file.read(CHUNK).rfind(LINE) + 1}"
    except (OSError, FileError):
        return ""


def _stat(handle: int) -> tuple[int, int]:
    found = os.fstat(handle)
    return found.st_ino, found.st_size


class Points:
    """From rows to points of some metrics over an axis, as ``danlu.lab.reading.curves`` takes them."""

    def __init__(self, metrics: Sequence[str], x: str, counted: str) -> None:
        self.metrics, self.x, self._counted = metrics, x, counted
        self._per_unit = math.nan

    def of(self, rows: Sequence[Mapping[str, Any]]) -> dict[str, list[list[float | None]]]:
        """[xs, ys] of each metric that the rows measured; what is not finite is None."""
        told = flops_per_unit(rows, self._counted)
        self._per_unit = self._per_unit if math.isnan(told) else told
        found = {}
        for name in self.metrics:
            every = (point(row, name, self.x, self._counted, self._per_unit) for row in rows)
            points = [one for one in every if one is not None and math.isfinite(one[0])]
            if points:
                found[name] = [[at for at, _ in points], [finite(value) for _, value in points]]
        return found


class RunLook:
    """A run that is followed: its facts as HTML where they changed, its new points as ``points`` events, and
    ``again`` where it went back and all must be drawn anew."""

    def __init__(
        self,
        run: Callable[[], Run | None],
        points: Points,
        at: str,
        facts: Callable[[Run], str],
        folder: Path,
    ) -> None:
        self._run, self._points, self._facts = run, points, facts
        self._tail = Tail(folder / METRICS, at)
        self._seen: Run | None = None
        self._told = ""
        self._first = not at

    def __call__(self) -> str:
        rows, again = self._tail.read()
        told = ""
        if again and not self._first:
            told = event("", "again", self._tail.mark)
        if rows and not again:
            told += event(to_json(self._points.of(rows)), "points", self._tail.mark)
        self._first = False
        run = self._run()
        if run is self._seen:  # one that is as it was is the same object
            return told
        self._seen = run
        facts = "" if run is None else self._facts(run)
        if facts and facts != self._told:
            told += event(facts, id=self._tail.mark)
        self._told = facts
        return told


class Changed:
    """Says ``stale`` when what ``state`` tells is another; the page then fetches itself, and keeps its
    place."""

    def __init__(self, state: Callable[[], Any]) -> None:
        self._state = state
        self._last = state()

    def __call__(self) -> str:
        now = self._state()
        if now == self._last:
            return ""
        self._last = now
        return event("", "stale")


class RowsLook:
    """A list that is followed: its rows that changed, as HTML by id; ``moved`` where other rows belong into
    it. ``rows`` gives id and HTML of each row, in order, whenever ``version`` is another."""

    def __init__(
        self,
        version: Callable[[], int],
        rows: Callable[[], Mapping[str, str]],
        place: Callable[[str, str], str],
        moved: Callable[[], str],
    ) -> None:
        self._version, self._rows, self._place, self._moved = version, rows, place, moved
        self._at, self._last = version(), rows()

    def __call__(self) -> str:
        if (at := self._version()) == self._at:
            return ""
        self._at, rows = at, self._rows()
        told = "".join(self._place(id, html) for id, html in rows.items() if self._last.get(id, html) != html)
        if list(rows) != list(self._last):
            told += self._moved()
        self._last = rows
        return event(told) if told else ""
