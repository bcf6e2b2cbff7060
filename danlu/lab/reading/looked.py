"""Runs that are looked at again and again: what did not change is not read, and is the same object."""

from __future__ import annotations

import math
import os
import time
from collections.abc import Callable, Iterable
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

from danlu.lab.reading.code import verdicts
from danlu.lab.reading.index import Stamps, find, newest_first, records
from danlu.lab.reading.run import EXPERIMENT, Run

WHOLE = 30.0  # seconds between two looks at every file of every run
SETTLED = 2 * 10**9  # ns: the time of a folder that changed later may not tell the next change


class _Seen(NamedTuple):
    stamps: Stamps
    changed: int | None  # the time of the folder; None where it had not settled
    run: Run


class Looked:
    """The runs under folders. Where none is another, ``look`` gives the same list.

    In the folder of a finished run danlu makes, renames and removes files, and writes into none. So the time
    of the folder tells whether to look into it; and every ``WHOLE`` seconds all files are looked at, and the
    code that is here.
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
        before, self._seen = self._seen, {root: self._under(root, whole) for root in roots}
        if not _same(before, self._seen):
            self._runs = newest_first(one.run for seen in self._seen.values() for one in seen.values())
        return self._runs

    def _under(self, root: str, whole: bool) -> dict[str, _Seen]:
        before, changed = self._seen.get(root, {}), dict[str, int | None]()

        def still(name: str) -> Stamps | None:
            known = before.get(name)
            time_of = _time_of(os.path.join(root, name))
            if known is not None and known.run.ended == "finished" and known.changed == time_of and not whole:
                changed[name] = time_of
                return known.stamps
            changed[name] = time_of if time.time_ns() - time_of > SETTLED else None
            return None

        found = dict(find(root, still))
        others = [
            name for name, stamps in found.items() if name not in before or before[name].stamps != stamps
        ]
        # A run under way is another at the next look: the index learns it when it has ended.
        read = records(root, found, others, worth=lambda record: not before or record["ended"] == "finished")
        judged = [(read[name].get("mark"), name) for name in others]
        judged += [(one.run.mark, name) for name, one in before.items() if whole and name in found]
        code = verdicts((mark, os.path.join(root, name)) for mark, name in judged)
        seen = {}
        for name, stamps in found.items():
            old = before[name].run if name in before else None
            if (record := read.get(name)) is not None:
                new = Run(
                    Path(root, name), stamps[EXPERIMENT][1] / 1e9, **record, code=code[record.get("mark")]
                )
                run = old.again() if old == new and old is not None else new
            else:
                assert old is not None
                run = old.again()
                if whole and code[run.mark] != run.code:
                    run = replace(run, code=code[run.mark])
            seen[name] = _Seen(stamps, changed[name], run)
        return seen


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
