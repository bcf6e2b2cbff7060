"""Runs that are looked at again and again: what did not change is not read, and is the same object."""

from __future__ import annotations

import math
import os
import time
from collections.abc import Callable, Collection, Iterable, Mapping
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

from danlu.lab.reading.code import verdicts
from danlu.lab.reading.index import Stamps, find, newest_first, records
from danlu.lab.reading.run import EXPERIMENT, METRICS, Measured, Record, Run, begin

WHOLE = 60.0  # seconds between two looks at every file of every run
SETTLED = 2 * 10**9  # ns: the time of a folder that changed later may not tell the next change


class _Seen(NamedTuple):
    stamps: Stamps
    changed: int | None  # the time of the folder; None where it had not settled
    run: Run
    measured: Measured | None  # of a run under way, which is read on


class Looked:
    """The runs under folders. Where none is another, ``look`` gives the same list.

    In the folder of a finished run danlu makes, renames and removes files, and writes into none. So the time
    of the folder tells whether to look into it. Of a run under way the new metrics are read. And every
    ``WHOLE`` seconds all files are looked at, and the code that is here.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock, self._whole = clock, -math.inf
        self._seen: dict[str, dict[str, _Seen]] = {}  # by folder, and by name within
        self._runs: list[Run] = []

    def look(self, folders: Iterable[str | os.PathLike[str]]) -> list[Run]:
        """The runs as they are now, each once, newest first."""
        now = self._clock()
        whole = now - self._whole >= WHOLE
        self._whole = now if whole else self._whole
        roots = {os.path.realpath(folder): os.fspath(folder) for folder in folders}.values()
        before = self._seen
        self._seen = {root: _under(root, before.get(root, {}), whole) for root in roots}
        if not _same(before, self._seen):
            self._runs = newest_first(one.run for seen in self._seen.values() for one in seen.values())
        return self._runs


def _under(root: str, before: Mapping[str, _Seen], whole: bool) -> dict[str, _Seen]:
    changed: dict[str, int | None] = {}

    def still(name: str) -> Stamps | None:
        known, now = before.get(name), _time_of(os.path.join(root, name))
        if known is not None and known.run.ended == "finished" and known.changed == now and not whole:
            changed[name] = now
            return known.stamps
        changed[name] = now if time.time_ns() - now > SETTLED else None
        return None

    found = dict(find(root, still))
    others = [name for name, stamps in found.items() if name not in before or before[name].stamps != stamps]
    read, measured = _read(root, found, others, before, whole)
    names = found if whole else others
    marks = {name: read[name].get("mark") if name in read else before[name].run.mark for name in names}
    code = verdicts((mark, os.path.join(root, name)) for name, mark in marks.items())
    seen = {}
    for name, stamps in found.items():
        old = before[name].run if name in before else None
        if name in read:
            begun = stamps[EXPERIMENT][1] / 1e9
            new = Run(Path(root, name), begun, **read[name], code=code[marks[name]])
            run = old.again() if old is not None and old == new else new
        else:
            assert old is not None
            run = old.again()
            run = replace(run, code=code[marks[name]]) if whole and code[marks[name]] != run.code else run
            measured[name] = before[name].measured
        seen[name] = _Seen(stamps, changed[name], run, measured.get(name))
    return seen


def _read(
    root: str, found: Mapping[str, Stamps], names: Collection[str], before: Mapping[str, _Seen], whole: bool
) -> tuple[dict[str, Record], dict[str, Measured | None]]:
    """What is known of the runs of these names; of those that are under way what reads on."""
    if not before:
        return records(root, found, names), {}
    measured: dict[str, Measured | None] = {}

    def read(name: str) -> Record:
        known = None if whole else before.get(name)
        if known is not None and known.measured is not None and _grew(known.stamps, found[name]):
            with suppress(Exception):  # it went back, or is damaged, which is told below
                record = known.measured.read()
                measured[name] = known.measured
                return record
        record, measured[name] = begin(os.path.join(root, name))
        return record

    # A run under way is another at the next look: the index learns it when it has ended.
    return records(root, found, names, None, lambda record: record["ended"] == "finished", read), measured


def _grew(old: Stamps, new: Stamps) -> bool:
    """Whether its metrics alone are other than they were."""
    return {**old, METRICS: (0, 0)} == {**new, METRICS: (0, 0)}


def _time_of(folder: str) -> int:
    try:
        return os.stat(folder).st_mtime_ns
    except OSError:
        return 0


def _same(one: dict[str, dict[str, _Seen]], other: dict[str, dict[str, _Seen]]) -> bool:
    """Whether they hold the same runs, as objects."""
    return one.keys() == other.keys() and all(
        one[root].keys() == seen.keys() and all(one[root][name].run is new.run for name, new in seen.items())
        for root, seen in other.items()
    )
