"""A run's folder as rows of numbers: the one reader that every exporter is fed by. No torch here.

``metrics.jsonl`` grows while the run trains, may end in a torn line, and *shrinks* where a run that was
killed goes on from its checkpoint (``danlu.train.metrics``). What was read before is therefore known by a
digest of each row, chained, so that rows that were trained anew are told from those that stayed.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from danlu.files.filters import is_number
from danlu.files.json import to_json
from danlu.files.read import Stamp, stamp
from danlu.lab.reading.run import METRICS
from danlu.train.metrics import read

Row = dict[str, float]  # ``step``; ``tokens``, ``seconds``, ``flops`` where they are told; what was measured
Mark = tuple[int, str]  # of a row that was read: its step, and a digest of it and all before it


def flat(row: Mapping[str, Any]) -> Row:
    """A row's numbers by name. What is inside of a network is called ``inside/KEY``; text is left out. A
    number that is not finite stays a float: what to write for it is the exporter's business."""
    found: Row = {}
    for name, value in row.items():
        parts = {f"{name}/{key}": inner for key, inner in value.items()} if isinstance(value, dict) else {}
        found |= {key: inner for key, inner in (parts or {name: value}).items() if is_number(inner)}
    return found


@dataclass
class News:
    """What is new in a folder: rows past step ``back`` count no more (None: all do); then come ``rows``."""

    rows: list[Row]
    back: int | None = None

    def __bool__(self) -> bool:
        return bool(self.rows) or self.back is not None


@dataclass
class Tail:
    """The rows of the run in ``folder``, as they come. ``marks``: of the rows that were read before."""

    folder: Path
    marks: list[Mark] = field(default_factory=list)
    _stamp: Stamp | None = field(default=None, init=False)
    _rows: list[dict[str, Any]] | None = field(default=None, init=False)  # that the last ``news`` read

    def news(self) -> News:
        """What is new since the last look. Raises ``RunError`` for a damaged file."""
        path = self.folder / METRICS
        now = stamp(path)
        if now is not None and now == self._stamp:
            self._rows = None
            return News([])
        rows = self._rows = read(path)
        self._stamp = now  # of before the reading: what was written meanwhile is looked for again
        marks = list(_marks(rows))
        same = _common(self.marks, marks)
        back, first = None, same
        if same < len(self.marks):
            stale = min(self.marks[same][0], *(mark[0] for mark in marks[same : same + 1]), 1 << 62)
            back = stale - 1
            first = next((i for i, row in enumerate(rows) if row["step"] >= stale), len(rows))
        self.marks = marks
        return News([flat(row) for row in rows[first:]], back)

    def all(self) -> list[Row]:
        """Every row that the last ``news`` saw; read again where that had found nothing new."""
        if (rows := self._rows) is None:
            rows = read(self.folder / METRICS)
            self.marks = list(_marks(rows))
        return [flat(row) for row in rows]

    def forget(self) -> None:
        """Let go of the rows of the last look, for runs may be many and long."""
        self._rows = None


def _marks(rows: Sequence[Mapping[str, Any]]) -> Iterator[Mark]:
    digest = hashlib.blake2b(digest_size=8)
    for row in rows:
        digest.update(to_json(row).encode())
        yield row["step"], digest.copy().hexdigest()


def _common(before: Sequence[Mark], now: Sequence[Mark]) -> int:
    """How many rows at the beginning are the same: digests are chained, so that one search by halves does."""
    low, high = 0, min(len(before), len(now))
    while low < high:
        middle = (low + high + 1) // 2
        low, high = (middle, high) if tuple(before[middle - 1]) == now[middle - 1] else (low, middle - 1)
    return low
