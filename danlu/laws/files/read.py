"""Points from files: CSV, JSONL, Parquet, folders of danlu's runs; notes say which column is what."""

from __future__ import annotations

import csv
import importlib
import io
import math
import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from danlu.files.errors import FileError
from danlu.files.json import misfit, parse
from danlu.files.read import open_file, read_bytes, read_text
from danlu.files.yaml import read_mapping
from danlu.laws.base import Array
from danlu.laws.errors import LawError
from danlu.laws.table import COLUMNS, FLOPS_PER_PARAMETER_AND_TOKEN, Points

# Under which names a column is looked for, whatever the case, with _ for spaces, dots and dashes.
NAMES: dict[str, tuple[str, ...]] = {
    "n": ("n", "params", "parameters", "num_params", "n_params", "model_size", "num_parameters"),
    "d": ("d", "tokens", "training_tokens", "train_tokens", "num_tokens", "n_tokens", "token_num"),
    "c": ("c", "flops", "flop", "training_flop", "training_flops", "train_flops", "compute", "budget"),
    "s": ("s", "steps", "updates", "num_steps"),
    "b": ("b", "batch_tokens", "batch_size_tokens"),
    "u": ("u", "unique_tokens"),
    "lr": ("lr", "learning_rate", "peak_lr"),
    "width": ("width", "d_model", "hidden_size", "n_embd"),
    "depth": ("depth", "layers", "num_layers", "n_layers", "n_layer"),
    "e": ("e", "experts", "num_experts", "n_experts"),
    "g": ("g", "granularity"),
    "loss": ("loss", "val_loss", "validation_loss", "held_out_loss", "test_loss", "eval_loss"),
}
SUSPICIOUS = 2.0  # C is this far from 6 N D in every point: a warning …
WRONG_UNIT = 100.0  # … and this far: refused, since no way of counting parameters explains it.
MOST_COLUMNS = 1000
POSITIVE = ("n", "d", "c", "s", "b", "u", "lr")


@dataclass(frozen=True)
class Column:
    """Which column of the file one of ours is. ``unit``: in which the file has it, "" for ours; ``factor``:
    what its numbers were multiplied by, None for a logarithm; ``why``: how it was found."""

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
    warnings: list[str] = field(default_factory=list)
    table: Mapping[str, list[Any]] = field(default_factory=dict)

    def labels(self, name: str) -> Array:
        """What each point has in a column, ours or the file's, by which points are drawn together. Raises
        LawError where there is no such column, or where it holds nothing in a point."""
        if name in self.points:
            return self.points[name]
        if name not in self.table:
            there = dict.fromkeys([*self.points, *self.table])
            raise LawError(f"there is no column {name} to draw by; there are {', '.join(there)}")
        return np.unique(self.texts(name), return_inverse=True)[1].astype(np.float64)

    def texts(self, name: str) -> list[str]:
        """The same as text, by which points are fitted in groups."""
        if name not in self.table and name in self.points:
            return [f"{value:g}" for value in self.points[name]]
        if name not in self.table:
            there = dict.fromkeys([*self.table, *self.points])
            raise LawError(f"there is no column {name} to group by; there are {', '.join(there)}")
        labels = ["" if value is None else str(value) for value in self.table[name]]
        if "" in labels:
            raise LawError(f"column {name} is empty in point {labels.index('') + 1}: it has no group")
        return labels

    def take(self, which: NDArray[np.int64], why: str) -> Read:
        """The points that an index array chooses, with a note of how many do what ``why`` says."""
        note = f"{len(which)} of {self.points.size} points {why}"
        table = {name: [values[i] for i in which] for name, values in self.table.items()}
        return replace(self, points=self.points.take(which), notes=[*self.notes, note], table=table)

    def json(self) -> dict[str, Any]:
        """``columns``, ``skipped``, ``where`` and ``notes``, as ``--json`` says them."""
        columns = {name: asdict(column) for name, column in self.columns.items()}
        where = list(self.where)
        return {"columns": columns, "skipped": self.skipped, "where": where, "notes": self.notes}


def read(
    path: Path,
    chosen: Mapping[str, str] | None = None,
    wanted: Sequence[str] = ("n", "d", "loss"),
) -> Read:
    """Points from ``path``: a .csv, .jsonl or .parquet file, a run's folder or a folder of runs.

    ``chosen``: the file's names of columns, by ours (n, d, c, loss, …), where they should not be guessed.
    ``wanted``: ours that will be needed; others are taken along where they hold numbers and nothing else.
    One of n, d and c that is wanted and absent is computed by C = 6 N D; a note says so.
    Raises LawError, one sentence, where the file cannot be read, a wanted column may be two of the file's,
    holds something else than finite numbers (positive ones, but for the loss), or contradicts 6 N D.
    """
    warnings: list[str] = []
    table = _runs(path, warnings) if os.path.isdir(path) else _file(path)
    if not table or not len(next(iter(table.values()))):
        raise LawError(f"{path} holds no points")
    names, notes = _names(table, chosen or {}, wanted)
    values: dict[str, list[float]] = {}
    columns: dict[str, Column] = {}
    for ours, theirs in names.items():
        try:
            values[ours] = _numbers(ours, theirs, table[theirs])
        except LawError as error:
            if ours in wanted or ours in (chosen or {}):
                raise
            notes.append(f"{theirs} is left out: {error}")
        else:
            notes.append(f"{ours} ({COLUMNS.get(ours, ('', ours))[1]}) is the column {theirs}")
            columns[ours] = Column(theirs, "", 1.0, "chosen" if ours in (chosen or {}) else "name")
    points = Points(values)
    whole = points.with_compute()
    if made := [name for name in whole if name not in points]:
        notes.append(f"{made[0]} ({COLUMNS[made[0]][1]}) is computed by C = 6·N·D")
    warnings += _units(points)
    return Read(whole, columns, 0, (), notes, warnings, table)


def _names(
    columns: Iterable[str], chosen: Mapping[str, str], wanted: Sequence[str]
) -> tuple[dict[str, str], list[str]]:
    """The file's name of each of our columns that is there."""
    names: dict[str, str] = {}
    notes: list[str] = []
    columns = list(columns)
    for ours, theirs in chosen.items():
        if theirs not in columns:
            raise LawError(f"there is no column {theirs} to take as {ours}; there are {', '.join(columns)}")
        names[ours] = theirs
    for ours in COLUMNS:
        if ours in names or (ours == "x" and ours not in wanted):  # x may stand for anything
            continue
        known = NAMES.get(ours, (ours,))
        found = [name for name in columns if _plain(name) in known and name not in chosen.values()]
        if len(found) > 1 and ours in wanted:
            raise LawError(
                f"{ours} may be any of the columns {', '.join(found)}; say which ({ours}={found[0]})"
            )
        if len(found) > 1:
            notes.append(f"{ours} is left out, for it may be any of the columns {', '.join(found)}")
        elif found:
            names[ours] = found[0]
    return names, notes


def _plain(name: str) -> str:
    return "_".join(name.lower().replace(".", " ").replace("-", " ").replace("_", " ").split())


def _numbers(ours: str, theirs: str, values: Sequence[Any]) -> list[float]:
    """A column as finite numbers, positive where it must be. Raises LawError that names the first bad one."""
    out, bad = [], []
    for row, value in enumerate(values, start=1):
        number = _number(value)
        if number is None or not math.isfinite(number) or (ours in POSITIVE and number <= 0):
            bad.append((row, value))
        out.append(math.nan if number is None else number)
    if bad:
        row, value = bad[0]
        said = (
            "nothing"
            if value is None or value == ""
            else repr(value)
            if isinstance(value, str)
            else f"{value}"
        )
        more = f" ({len(bad)} points are like that)" if len(bad) > 1 else ""
        needed = "a number above zero" if ours in POSITIVE else "a finite number"
        raise LawError(f"column {theirs} holds {said} in point {row}, where {needed} is needed{more}")
    return out


def _number(value: Any) -> float | None:
    if isinstance(value, bool):
        return None
    try:
        return float(value)
    except (TypeError, ValueError, OverflowError):
        return None


def _units(points: Points) -> list[str]:
    """What is wrong where compute, size and tokens are all given. Raises LawError for a wrong unit."""
    if not {"n", "d", "c"} <= points.keys():
        return []
    ratio = points["c"] / (FLOPS_PER_PARAMETER_AND_TOKEN * points["n"] * points["d"])
    away = float(np.exp(np.abs(np.log(ratio)).min()))
    one_side = bool((ratio > 1).all() or (ratio < 1).all())
    if away <= SUSPICIOUS or not one_side:
        return []
    said = (
        f"the FLOP are {float(np.median(ratio)):.3g} times 6·N·D in the median, "
        f"and in every point more than a factor {SUSPICIOUS:g} off"
    )
    if away > WRONG_UNIT:
        raise LawError(f"{said}: one of the three columns has another unit")
    return [f"{said}: other units, or parameters or FLOP counted in another way"]


# Files, each as columns of equal length.


def _file(path: Path) -> dict[str, list[Any]]:
    readers = {".csv": _csv, ".jsonl": _jsonl, ".ndjson": _jsonl, ".parquet": _parquet}
    if path.suffix.lower() not in readers:
        raise LawError(f"{path} is neither .csv, .jsonl nor .parquet, nor a folder of runs")
    return readers[path.suffix.lower()](path)


def _csv(path: Path) -> dict[str, list[Any]]:
    try:
        rows = [row for row in csv.reader(io.StringIO(read_text(path), newline="")) if row]
    except csv.Error as error:
        raise LawError(f"{path} cannot be read as CSV: {error}") from None
    if not rows:
        return {}
    heading = [name.strip() for name in rows[0]]
    _unique(path, [name for name in heading if name])
    for number, row in enumerate(rows[1:], start=1):
        if len(row) != len(heading):
            raise LawError(f"{path}, point {number}: {len(row)} fields under {len(heading)} headings")
    return {name: [row[i].strip() for row in rows[1:]] for i, name in enumerate(heading) if name}


def _jsonl(path: Path) -> dict[str, list[Any]]:
    rows = []
    for number, line in enumerate(read_text(path).splitlines(), start=1):
        if not line.strip():
            continue
        try:
            row = parse(line, partial(_object, f"{path}, line {number}"))
        except ValueError as error:
            raise LawError(f"{path}, line {number}: {error}") from None
        if not isinstance(row, dict):
            raise LawError(f"{path}, line {number}: not a JSON object")
        rows.append(row)
    return _columns(rows)


def _object(where: str, pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    _unique(where, [name for name, _ in pairs])
    return dict(pairs)


def _parquet(path: Path) -> dict[str, list[Any]]:
    try:
        parquet = importlib.import_module("pyarrow.parquet")
    except ImportError:
        raise LawError(
            f"{path}: Parquet needs pyarrow (pip install pyarrow), or write the table as CSV"
        ) from None
    with open_file(path) as file:
        try:
            table = parquet.ParquetFile(file).read()
        except (ValueError, OSError) as error:  # pyarrow's own errors are these
            raise LawError(f"{path} is not Parquet: {error}") from None
    _unique(path, table.column_names)
    return {name: table.column(name).to_pylist() for name in table.column_names}


def _unique(where: Path | str, names: Sequence[str]) -> None:
    if twice := [name for name in dict.fromkeys(names) if list(names).count(name) > 1]:
        raise LawError(f"{where} has more than one column {twice[0]}")


def _columns(rows: Sequence[Mapping[str, Any]]) -> dict[str, list[Any]]:
    names = dict.fromkeys(key for row in rows for key in row)
    if len(names) > MOST_COLUMNS:
        raise LawError(f"the rows have {len(names):,} names of columns; allowed: {MOST_COLUMNS:,}")
    return {name: [row.get(name) for row in rows] for name in names}


# Runs: N from summary.json, D, C and the held-out loss from the last evaluation in metrics.jsonl.


def _runs(path: Path, warnings: list[str]) -> dict[str, list[Any]]:
    folders = (
        [path]
        if (path / "metrics.jsonl").exists()
        else sorted(p.parent for p in path.glob("*/metrics.jsonl"))
    )
    if not folders:
        raise LawError(f"{path} is neither a run's folder nor a folder of runs: there is no metrics.jsonl")
    rows = []
    for folder in folders:
        row = _run(folder)
        if isinstance(row, str):
            warnings.append(f"{folder} is left out: {row}")
        else:
            rows.append(row)
    if not rows:
        raise LawError(warnings[0])
    return _columns(rows)


def _run(folder: Path) -> dict[str, Any] | str:
    """The point that a run stands for, or why it is none."""
    summary = _json(folder / "summary.json")
    if not isinstance(summary, dict) or "parameters" not in summary:
        return "it has not ended, so that no summary.json tells its number of parameters"
    lines = read_bytes(folder / "metrics.jsonl").splitlines()
    rows = [row for line in lines if isinstance(row := _parsed(line), dict)]
    scored = [row for row in rows if "held_out_loss" in row]
    if not scored:
        return "nothing held out was scored"
    last = scored[-1]
    row = {
        "run": os.fspath(folder),
        "n": summary["parameters"],
        "d": last.get("tokens"),
        "s": last.get("step"),
        "loss": last["held_out_loss"],
    }
    spent = [one["flops"] for one in rows if one.get("step") == last.get("step") and "flops" in one]
    return {**row, **({"c": spent[-1]} if spent else {}), **_settings(folder / "experiment.yaml")}


def _settings(path: Path) -> dict[str, Any]:
    """The peak learning rate and the batch in tokens, as far as the experiment says."""
    try:
        experiment = read_mapping(path, str(path))
    except FileError:
        return {}
    if misfit(experiment, {"train": {"batch": int}, "data": {"context": int}, "optimizer": {"lr": float}}):
        return {}
    batch = experiment["train"]["batch"] * experiment["data"]["context"]
    return {"lr": experiment["optimizer"]["lr"], "b": batch}


def _json(path: Path) -> Any:
    return _parsed(read_bytes(path)) if os.path.isfile(path) else None


def _parsed(text: bytes) -> Any:
    try:
        return parse(text)
    except ValueError:
        return None
