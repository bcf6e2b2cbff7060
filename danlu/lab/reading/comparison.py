"""Sides compared: what their experiments differ in, what they reached, also at equal steps, time, FLOPs."""

from __future__ import annotations

import glob
import math
import os
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property
from itertools import combinations
from pathlib import Path
from statistics import fmean
from typing import TYPE_CHECKING, Any

from danlu.lab.errors import LabError
from danlu.lab.reading.code import NOT_OURS, apart
from danlu.lab.reading.curves import Curve, at, common_end, metrics_in, read_curve
from danlu.lab.reading.groups import Group, differing, shown
from danlu.lab.reading.index import read_runs, readable
from danlu.lab.reading.run import SEED, Run

if TYPE_CHECKING:
    from danlu.lab.statistics import Interval

END = "end"
MEETINGS = (END, "steps", "time", "flops", "tokens")


@dataclass(frozen=True)
class Side:
    """One of what is compared: the runs of a word, such as the seeds of one experiment. A curve is read once
    in a side's life: what a run has measured since is in a new one."""

    name: str
    runs: tuple[Run, ...]
    _read: dict[tuple[Path, str, str], Curve] = field(
        default_factory=dict, init=False, repr=False, compare=False
    )

    @cached_property
    def counted(self) -> list[Run]:
        """The runs that are looked at: the finished ones, one a seed where they differ in nothing else; where
        none has finished, those that were evaluated."""
        finished = [run for run in self.runs if run.state == "finished"]
        if not finished:
            return [run for run in self.runs if run.metric is not None]
        return finished if self.mixed else Group(self.runs).counted

    @cached_property
    def mixed(self) -> list[str]:
        """What the runs differ in beside their seed."""
        return [name for name in differing(self.runs) if name != SEED]

    def curves(self, metric: str, x: str) -> dict[Any, Curve]:
        """Each counted run's curve, by its seed (by its name where the runs differ in more)."""
        return {run.name if self.mixed else run.seed: self._curve(run, metric, x) for run in self.counted}

    def _curve(self, run: Run, metric: str, x: str) -> Curve:
        key = run.path, metric, x
        if key not in self._read:
            self._read[key] = read_curve(run.path, metric, x, run.counted)
        return self._read[key]


@dataclass(frozen=True)
class Meeting:
    """The sides at one x, the largest that all their runs reached; on the axis ``end`` each run at its end.

    ``values``: of each side the metric by seed. ``differences``: to the first side of each further one, by
    pairs of equal seed where there are any (``pairs``: how many), else of the means, without an interval.
    """

    axis: str
    x: float
    values: list[dict[Any, float]]
    differences: list[Interval] = field(default_factory=list)
    pairs: list[int] = field(default_factory=list)


@dataclass(frozen=True)
class Comparison:
    """``differs``: the fields that are not the same on all sides, with each side's values. ``warnings``: why
    the differences may say nothing."""

    sides: list[Side]
    metric: str
    warnings: list[str]
    differs: list[tuple[str, list[list[Any]]]]
    meetings: list[Meeting]
    notes: list[str]

    @property
    def better(self) -> str | None:
        """Which direction of the metric is better; None where it is not the first side's own."""
        runs = self.sides[0].counted
        return next((run.better for run in runs if run.metric_name == self.metric), None)


def find_side(word: str) -> Side:
    """The runs that a word names: a run's folder, a folder of runs, or a pattern of such. Raises ``LabError``
    where there is none, ``FileError`` where the folder cannot be read."""
    folders = [word] if os.path.isdir(word) else sorted(filter(os.path.isdir, glob.glob(word)))
    if os.path.isdir(word):
        readable(word)
    runs = read_runs(folders)
    if not runs:
        why = "holds no run" if folders else "is not a folder, and no pattern that fits one"
        raise LabError(f"{word} {why}; danlu runs lists what there is")
    return Side(word, tuple(runs))


def compare(words: Sequence[str], metric: str | None = None) -> Comparison:
    """Compare what the words name, each with the first, by ``metric``; left out, that of the first side.
    Raises ``LabError`` or ``RunError``."""
    if len(words) < 2:
        raise LabError(f"compare needs two sides or more, not {len(words)}: danlu compare RUN RUN")
    sides = [find_side(word) for word in words]
    if metric is None:
        metric = next((run.metric_name for run in sides[0].counted if run.metric_name), "loss")
    notes = []
    for side in sides:
        if side.mixed:
            notes.append(
                f"{side.name}: its {len(side.runs)} runs differ in {', '.join(side.mixed)}: nothing is paired"
            )
        if left_out := len(side.runs) - len(side.counted):
            notes.append(
                f"{side.name}: {left_out} of {len(side.runs)} runs left out (unfinished, or a seed twice)"
            )
        if not side.counted:
            raise LabError(f"{side.name} holds no run that was evaluated; let one finish")
        if not any(side.curves(metric, "steps").values()):
            known = metrics_in(side.counted[0].path)
            from danlu.spec.errors import did_you_mean

            raise LabError(
                f"{side.name} measured no {metric!r}{did_you_mean(metric, known)}; it has {', '.join(known)}"
            )
    for side, other in combinations(sides, 2):
        if {run.path.resolve() for run in side.runs} == {run.path.resolve() for run in other.runs}:
            raise LabError(f"{side.name} and {other.name} are the same runs; name two sides that differ")
    meetings = [_meet(sides, metric, axis) for axis in MEETINGS]
    notes += [*_unpaired(sides), *_unmet(meetings), *_by_other_code(sides)]
    return Comparison(
        sides,
        metric,
        _apart(sides),
        _differs(sides),
        [m for m in meetings if m.axis == END or _is_whole(m)],
        notes,
    )


def _unpaired(sides: Sequence[Side]) -> list[str]:
    """Of each further side that shares fewer than two seeds with the first, why its difference has no
    interval; of mixed ones that is said already."""
    first, *others = sides
    seeds = {run.seed for run in first.counted}
    said = []
    for side in others:
        common = len(seeds & {run.seed for run in side.counted})
        if side.mixed or first.mixed or common > 1:
            continue
        why = "no seed" if common == 0 else "one seed alone"
        said.append(f"{side.name}: {why} in common with {first.name}: no interval; give both the same seeds")
    return said


def _by_other_code(sides: Sequence[Side]) -> list[str]:
    """A note where the code differs between the runs, or between them and here."""
    runs = [run for side in sides for run in side.counted]
    if files := apart(run.path for run in runs):
        return [f"the runs are by different code: {', '.join(files)} changed between them"]
    count = sum(run.code in NOT_OURS and run.mark is not None for run in runs)
    return [f"{count} of {len(runs)} runs are by other code than is here"] if count else []


def _apart(sides: Sequence[Side]) -> list[str]:
    """A sentence where the sides' metrics are of different things."""
    found = {side.name: {run.yardstick for run in side.counted} for side in sides}
    of_all = set.union(*found.values())
    if len(of_all) == 1:
        return []
    shared = set.intersection(*map(set, of_all))
    said = [
        f"{name}: {' or '.join(', '.join(word for word in one if word not in shared) for one in sorted(of))}"
        for name, of in found.items()
    ]
    return [f"the sides are scored on different things, so their values do not compare ({'; '.join(said)})"]


def _differs(sides: Sequence[Side]) -> list[tuple[str, list[list[Any]]]]:
    """The fields, and of each side its different values."""
    rows = []
    for name in differing([run for side in sides for run in side.runs]):
        if name == SEED:
            continue
        values = [[shown(run, name) for run in side.runs] for side in sides]
        rows.append((name, [[v for i, v in enumerate(one) if v not in one[:i]] for one in values]))
    return rows


def _meet(sides: Sequence[Side], metric: str, axis: str) -> Meeting:
    curves = [side.curves(metric, "steps" if axis == END else axis) for side in sides]
    if axis == END:
        x = math.nan
        values = [{seed: curve[-1][1] if curve else x for seed, curve in side.items()} for side in curves]
    else:
        x = common_end([curve for side in curves for curve in side.values()])
        values = [{seed: at(curve, x) for seed, curve in side.items()} for side in curves]
    meeting = Meeting(axis, x, values)
    for side, found in zip(sides[1:], values[1:], strict=True):
        pairs = [] if side.mixed or sides[0].mixed else [seed for seed in values[0] if seed in found]
        meeting.pairs.append(len(pairs))
        meeting.differences.append(_difference(values[0], found, pairs))
    return meeting


def _difference(first: dict[Any, float], other: dict[Any, float], pairs: list[Any]) -> Interval:
    from danlu.lab.statistics import Interval, paired

    if pairs:
        return paired([other[seed] - first[seed] for seed in pairs])
    apart = fmean(other.values()) - fmean(first.values())
    return Interval(apart, -math.inf, math.inf)


def _is_whole(meeting: Meeting) -> bool:
    return all(math.isfinite(value) for side in meeting.values for value in side.values())


def _unmet(meetings: Sequence[Meeting]) -> list[str]:
    axes = [meeting.axis for meeting in meetings if not _is_whole(meeting) and meeting.axis != END]
    if not axes:
        return []
    return [
        f"nothing at equal {', '.join(axes)}: a run was not evaluated before another ended, or is not finite "
        "there; train.evaluate_every=N evaluates on the way"
    ]
