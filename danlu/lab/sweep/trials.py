"""The trials of a study: which there are (``trials.json``), and what came of them."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import asdict, astuple, dataclass
from pathlib import Path
from statistics import fmean
from typing import Any, Literal

from danlu.files.errors import FileError
from danlu.files.json import misfit, read_json, write_json
from danlu.lab.statistics import mean_interval
from danlu.lab.sweep.space import Point, plain

State = Literal["finished", "unscored", "diverged", "failed"]
STATES: tuple[State, ...] = ("finished", "unscored", "diverged", "failed")  # from the best down

FILE = "trials.json"


@dataclass(frozen=True)
class Entry:
    """A trial that was asked for. ``by``: grid, random or the sampler that proposed it. ``steps``: updates of
    its rung, where halving cuts it short; None: what the words say."""

    number: int
    point: Point
    by: str
    steps: int | None = None


@dataclass(frozen=True)
class Spent:
    """Runs, their updates, active seconds and FLOP."""

    runs: int = 0
    updates: int = 0
    seconds: float = 0.0
    flops: float = 0.0

    def __add__(self, other: Spent) -> Spent:
        return Spent(*(a + b for a, b in zip(astuple(self), astuple(other), strict=True)))


@dataclass(frozen=True)
class Trial:
    """An entry and what came of it: ``values`` of the metric, one a seed that finished.

    ``state``: finished; diverged, where a seed did, which is a result and the worst there is; unscored,
    where the metric of one is not finite; failed, where a run broke and nothing is known. ``cost``: what is
    minimised: the mean value, its negative where higher is better, infinite where diverged or unscored, NaN
    where failed. ``spent``: on all seeds, whatever became of them.
    """

    entry: Entry
    words: list[str]
    state: State
    values: tuple[float, ...]
    cost: float
    spent: Spent
    error: str | None = None
    folders: tuple[Path, ...] = ()

    @property
    def value(self) -> float | None:
        """The mean over the seeds; None where one of them has none."""
        return fmean(self.values) if math.isfinite(self.cost) else None

    def json(self) -> dict[str, Any]:
        """Plain values. ``low`` and ``high``: the 95 % interval of the mean, where there are two seeds."""
        interval = mean_interval(self.values) if self.state == "finished" else None
        ends = (None, None) if interval is None or math.isinf(interval.high) else interval[1:]
        return {
            "number": self.entry.number,
            "point": plain(self.entry.point),
            "words": self.words,
            "by": self.entry.by,
            "steps": self.entry.steps,
            "state": self.state,
            "value": self.value,
            "low": ends[0],
            "high": ends[1],
            "values": list(self.values),
            **asdict(self.spent),
            "error": self.error,
            "folders": [str(path) for path in self.folders],
        }


class Record:
    """The entries of a study, in the order of their asking, kept in its folder."""

    def __init__(self, folder: Path, fields: Iterable[str]) -> None:
        self.path = folder / FILE
        self.fields = sorted(fields)
        found = read_json(self.path) if self.path.exists() else []
        row = {"point": dict.fromkeys(self.fields, str), "by": str, "steps": (int, None)}
        if wrong := misfit(found, [row]):
            raise FileError(f"{self.path}: {wrong}; restore it, or name the study otherwise (--study)")
        self.entries = [
            Entry(number, row["point"], row["by"], row.get("steps")) for number, row in enumerate(found, 1)
        ]
        self._known = {self._key(entry.point, entry.steps): entry for entry in self.entries}

    def admit(self, points: Iterable[Point], by: str, steps: int | None = None) -> list[Entry]:
        """The entries of these points: those that are there, new ones written down."""
        wanted = []
        for point in points:
            key = self._key(point, steps)
            if key not in self._known:
                self._known[key] = Entry(len(self.entries) + 1, point, by, steps)
                self.entries.append(self._known[key])
            wanted.append(self._known[key])
        rows = [{"point": one.point, "by": one.by, "steps": one.steps} for one in self.entries]
        write_json(self.path, rows)
        return wanted

    def _key(self, point: Point, steps: int | None) -> tuple[Any, ...]:
        return (*(point[name] for name in self.fields), steps)


def most_at_once(trials: Iterable[Trial]) -> list[Trial]:
    """Those of the largest set that ran equally long: what may be compared over the space. Where halving cut
    trials short it is its first rung; two sets as large: the longer runs."""
    by_steps: dict[int | None, list[Trial]] = {}
    for trial in trials:
        by_steps.setdefault(trial.entry.steps, []).append(trial)
    sets = list(by_steps.values())
    return max(sets, key=lambda found: (len(found), found[0].entry.steps or math.inf), default=[])


def longest(trials: Iterable[Trial]) -> list[Trial]:
    """Those that ran longest: among them is the best."""
    trials = list(trials)
    whole = [trial for trial in trials if trial.entry.steps is None]
    return whole or [t for t in trials if t.entry.steps == max(u.entry.steps or 0 for u in trials)]


def best_of(trials: Iterable[Trial]) -> Trial | None:
    """The finished trial of the least cost; the earliest of equals."""
    finished = [trial for trial in trials if trial.state == "finished"]
    return min(finished, key=lambda trial: trial.cost, default=None)
