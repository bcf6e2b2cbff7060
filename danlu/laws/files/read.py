"""Points from a file or folder: its table, which column is what, which rows; all of it told."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from danlu.files.filters import parse_filter
from danlu.laws.base import Array
from danlu.laws.errors import LawError, NoColumnError, Warned
from danlu.laws.files import rows
from danlu.laws.files.choice import Choice, absent, called, choose, option
from danlu.laws.files.counting import computed, contradiction, few, small, two_ways
from danlu.laws.files.formats import read_table
from danlu.laws.files.names import TRAIN, guesses, rank, unembedded
from danlu.laws.files.runs import read_folder
from danlu.laws.files.tables import Table, of_chart
from danlu.laws.files.units import blank, decimal_mark, given
from danlu.laws.table import COLUMNS, Points, label
from danlu.spec.errors import did_you_mean

TIED = ("n", "d", "c")  # two of which say the third
MANY = 0.1  # of the rows skipped: a warning


@dataclass(frozen=True)
class Column:
    """Which column of the file one of ours is. ``unit``: in which the file has it, "" for ours; ``factor``:
    what its numbers were multiplied by, None for a logarithm; ``why``: chosen, or by its name."""

    name: str
    unit: str
    factor: float | None
    why: str


@dataclass(frozen=True)
class Read:
    """``points``; ``columns``: what each of ours was in the file; ``skipped``: rows left out for lack of a
    needed value; ``where``: the filters that kept the others; ``notes``: the same in sentences; ``warnings``:
    what looks wrong; ``table``: the columns of the file by their own names, numbers or not, a value for each
    point."""

    points: Points
    columns: Mapping[str, Column] = field(default_factory=dict)
    skipped: int = 0
    where: Sequence[str] = ()
    notes: list[str] = field(default_factory=list)
    warnings: list[Warned] = field(default_factory=list)
    table: Mapping[str, list[Any]] = field(default_factory=dict)

    @property
    def others(self) -> dict[str, list[Any]]:
        """The columns of the file that none of ours was read from."""
        used = {column.name for column in self.columns.values()}
        return {name: values for name, values in self.table.items() if name not in used}

    def labels(self, name: str) -> Array:
        """(points,) What each point has in a column, ours or the file's, by which points are drawn together:
        numbers as they are, texts numbered in their order. Raises LawError where there is no such column, or
        where it holds nothing in a point."""
        if name in self.points:
            return self.points[name]
        return np.unique(self.texts(name), return_inverse=True)[1].astype(np.float64)

    def texts(self, name: str) -> list[str]:
        """The same as text, by which points are fitted in groups."""
        said = called(name, self.table)
        if said is None and name in self.points:
            return [f"{value:g}" for value in self.points[name]]
        if said is None:
            there = dict.fromkeys([*self.points, *self.table])
            hint = did_you_mean(name, there) or f"; there are {', '.join(there)}"
            raise LawError(f"there is no column {name}{hint}")
        labels = ["" if blank(value) else label(value) for value in self.table[said]]
        if "" in labels:
            raise LawError(f"column {said} is empty in point {labels.index('') + 1}: it has no group")
        return labels

    def take(self, which: NDArray[np.int64], why: str) -> Read:
        """The points that an index array chooses, with a note of how many do what ``why`` says."""
        note = f"{len(which)} of {self.points.size} points {why}"
        table = {name: [values[i] for i in which] for name, values in self.table.items()}
        return replace(self, points=self.points.take(which), notes=[*self.notes, note], table=table)

    def json(self) -> dict[str, Any]:
        """``columns``, ``skipped``, ``where`` and ``notes``, as ``--json`` says them; ``folders``: of the
        runs that the points are of, by the column ``run``, where there is one."""
        columns = {name: asdict(column) for name, column in self.columns.items()}
        where = list(self.where)
        runs = [str(run) for run in self.table.get("run", ()) if run is not None]
        said = {"columns": columns, "skipped": self.skipped, "where": where, "notes": self.notes}
        return {**said, "folders": list(dict.fromkeys(runs))}


def read(
    path: str | Path,
    chosen: Mapping[str, str] | None = None,
    wanted: Sequence[str] = ("n", "d", "loss"),
    *,
    where: Sequence[str] = (),
    units: Mapping[str, str] | None = None,
) -> Read:
    """Points from ``path``: separated text, JSON, JSONL or Parquet; a folder of runs or a study.

    ``chosen``: the file's names of columns, by ours (n, d, c, loss, …), where they should not be guessed.
    ``wanted``: ours that are needed; others are taken along where they hold numbers and nothing else. Empty:
    whatever there is, but n, d and loss of every point where there are such columns.
    ``where``: filters such as ``family=gpt`` or ``loss<5``, of the file's columns or ours, ``d/n`` too.
    ``units``: of ours, such as c: GFLOP, where the file does not say them.
    One of n, d and c that is wanted and absent is computed by C = 6 N D; a note says so. Rows that hold
    nothing where something is needed are skipped, and counted, and so are copies of others.
    Raises LawError or FileError, one sentence, where the file cannot be read, a wanted column is absent or
    may be two of the file's, holds a text that is no number, or contradicts 6 N D.
    """
    path, chosen = Path(path), dict(chosen or {})
    table = read_folder(path) if os.path.isdir(path) else of_chart(read_table(path))
    if not table.size:
        raise LawError(f"{path} holds no points")
    for ours, theirs in chosen.items():
        if other := next((one for one in chosen if one != ours and chosen[one] == theirs), None):
            raise LawError(f"column {theirs} cannot be both {ours} and {other}; name another one for either")
    later = {
        ours: theirs
        for ours, theirs in chosen.items()
        if theirs in TIED and ours not in TIED and called(theirs, table.columns) is None
    }
    if later:  # x=c, of a file that says n and d
        chosen = {ours: theirs for ours, theirs in chosen.items() if ours not in later}
        wanted = [
            *(one for one in wanted if one not in later),
            *(one for one in TIED if one not in later.values()),
        ]
    filters = [parse_filter(one) for one in where]
    mark = _mark(table, chosen)
    of_file = [one for one in filters if called(one.name, table.columns)]
    places = rows.kept(table, of_file, mark)
    table = rows.take(table, places)
    given_units = {ours: given(ours, text) for ours, text in (units or {}).items()}
    core = wanted or ("n", "d", "loss")
    names, notes, warnings = choose(table, chosen, core, given_units, mark)
    if lost := given_units.keys() - names.keys():
        ours = min(lost)
        raise LawError(f"--unit {ours}: there is no column for {ours}; {option(ours, 'NAME')} names one")
    if missing := [ours for ours in wanted if ours not in names and not _computed(ours, names)]:
        raise NoColumnError(absent(path, missing, table))
    needed = _needed(names, chosen, core)

    columns = {ours: rows.numbers(ours, choice, table, places, mark) for ours, choice in names.items()}
    for ours in needed:
        if (bad := columns[ours][1]) is not None:
            raise LawError(bad)
    which, why = rows.whole({ours: columns[ours][0] for ours in needed}, table.size)
    notes, warnings = [*table.notes, *notes], [*table.warnings, *warnings]
    skipped = table.size - len(which)
    if skipped:
        notes.append(f"{skipped} of {table.size} rows are skipped: {why}")
        if skipped > MANY * table.size:
            warnings.append(Warned("skipped", notes[-1]))
    if not len(which):
        raise LawError(f"{path} holds no whole point: {why}")
    if again := rows.copies(rows.take(table, which)):
        first = which[again[0]] + 1
        warnings.append(Warned("copies", (
            f"{len(again)} of {len(which)} rows are copies of others in every cell, row {first} the first: "
            "each counts once; if they are runs of their own, add a column that tells them apart (a seed)"
        )))  # fmt: skip
        which = np.delete(which, again).tolist()
        skipped += len(again)
    table = rows.take(table, which)

    values: dict[str, Array] = {}
    for ours, (column, bad) in columns.items():
        column = column[which]
        if bad is None and ours in rows.POSITIVE and (column <= 0).any():
            bad = "it is not above zero in every point"
        if bad is None and not np.isfinite(column).all():
            bad = "it is empty in some points"
        if bad is None:
            values[ours] = column
        else:
            notes.append(f"{names[ours].name} is left out: {bad}")
    if {"n", "d", "c"} <= values.keys():
        warned, drop = contradiction(values, "c" in needed)
        warnings += [warned] if warned else []
        if drop:
            del values["c"]
        else:
            warnings += two_ways(values)
    if "n" in values and not os.path.isdir(path):
        warnings += small(values["n"], values.get("d"))
        warnings += few(values["n"], values["d"]) if "d" in values else []
    points = Points(values).with_compute()
    told = {ours: names[ours] for ours in values}
    notes = [*(_note(ours, choice) for ours, choice in told.items()), *notes]
    if made := [name for name in points if name not in values]:
        computed(made[0], points)
        notes.append(f"{made[0]} ({COLUMNS[made[0]][1]}) is computed by C = 6·N·D")
        if made[0] == "c" and "n" in told and unembedded(told["n"].name):
            warnings.append(Warned("non-embedding", (
                f"{told['n'].name} leaves out embeddings, by its name: C = 6·N·D then counts too little of "
                "small models, and the best size grows faster with it; name the column of all parameters "
                "(--n), or one of FLOP (--c)"
            )))  # fmt: skip

    points = points.with_columns(**{ours: points[theirs] for ours, theirs in later.items()})
    of_ours = [one for one in filters if one not in of_file]
    ours_alone = Table({name: points[name].tolist() for name in points})
    if {"n", "d"} <= points.keys():
        ours_alone.columns["d/n"] = (points["d"] / points["n"]).tolist()
    left = rows.kept(ours_alone, of_ours, ".", table)
    points, table = points.take(np.array(left)), rows.take(table, left)
    if where:
        notes.append(f"{points.size} points are left by --where {', '.join(where)}")
    warnings += [*rows.marked(table), *rows.same(points)]
    plain = {o: Column(one.name, one.unit.name, one.unit.factor, one.why) for o, one in told.items()}
    plain |= {ours: Column(theirs, "", 1.0, "chosen") for ours, theirs in later.items()}
    return Read(points, plain, skipped, tuple(where), notes, warnings, table.columns)


def _note(ours: str, choice: Choice) -> str:
    unit = f", in {choice.unit.said}" if choice.unit.factor != 1 else ""
    others = f" (not {', '.join(choice.others)})" if choice.others else ""
    what = COLUMNS[ours][1]
    if ours == "loss" and (guess := rank(ours, choice.name)) is not None and guess.rank >= TRAIN:
        what = "loss on training data"
    return f"{ours} ({what}) is the column {choice.name}{unit}{others}"


def _mark(table: Table, chosen: Mapping[str, str]) -> str:
    """The mark before fractions, by the columns that may be ours."""
    named = (called(theirs, table.columns) for theirs in chosen.values())
    guessed = (guess.name for ours in COLUMNS for guess in guesses(ours, table.columns))
    used = dict.fromkeys(name for name in (*named, *guessed) if name)
    return decimal_mark((cell for name in used for cell in table.columns[name]), table.separator)


def _computed(ours: str, names: Mapping[str, Choice]) -> bool:
    return ours in ("n", "d", "c") and {"n", "d", "c"} - {ours} <= names.keys()


def _needed(names: Mapping[str, Choice], chosen: Mapping[str, str], wanted: Sequence[str]) -> list[str]:
    """Ours that every point must have: those wanted, those chosen, and what a wanted one is computed from."""
    needed = [ours for ours in names if ours in wanted or ours in chosen]
    if any(ours not in names for ours in wanted):
        needed += [ours for ours in "ndc" if ours in names and ours not in needed]
    return needed
