"""What files become: columns of equal length, by the file's names."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from danlu.laws.errors import LawError, Warned
from danlu.laws.files.units import blank

MOST_COLUMNS = 10_000
MOST_CELLS = 20_000_000
WITHOUT_SIZES = (
    "a chart has only its axis and what was logged: draw it over tokens and call the runs by their size, "
    "such as gpt-70M; or export the table of the runs, with columns of parameters and tokens, instead"
)
_ENDS = ("__MIN", "__MAX")  # of columns in a chart of Weights & Biases


@dataclass
class Table:
    """``columns``: cells by the file's names, text or what its format has. ``separator``: of a text.
    ``mend``: what else to do where a column lacks, in words."""

    columns: dict[str, list[Any]]
    separator: str = ","
    notes: list[str] = field(default_factory=list)
    warnings: list[Warned] = field(default_factory=list)
    mend: str = ""

    def __post_init__(self) -> None:
        names = [" ".join(name.split()) for name in self.columns]  # a heading may be broken over lines
        if len(set(names)) == len(names):
            self.columns = dict(zip(names, self.columns.values(), strict=True))

    @property
    def size(self) -> int:
        """The number of rows."""
        return len(next(iter(self.columns.values()), ()))


def columns_of(rows: Sequence[Mapping[str, Any]], where: Path | str) -> dict[str, list[Any]]:
    """Columns of rows; what lies within a row's objects is called by its names, joined by dots."""
    flat = [_flat(row) for row in rows]
    names = dict.fromkeys(key for row in flat for key in row)
    bounded(where, len(names), len(flat))
    return {name: [row.get(name) for row in flat] for name in names}


def _flat(row: Mapping[str, Any], before: str = "") -> dict[str, Any]:
    out: dict[str, Any] = {}
    for name, value in row.items():
        if isinstance(value, dict):
            out.update(_flat(value, f"{before}{name}."))
        else:
            out[f"{before}{name}"] = value
    return out


def unique(where: Path | str, names: Sequence[str]) -> None:
    """Raise LawError where two columns have one name."""
    if len(set(names)) < len(names):
        twice = next(name for name, count in Counter(names).items() if count > 1)
        raise LawError(f"{where} has more than one column {twice}; rename one of them")


def bounded(where: Path | str, columns: int, rows: int) -> None:
    """Raise LawError where a table is too large."""
    if columns > MOST_COLUMNS:
        raise LawError(f"{where} has {columns:,} names of columns; allowed: {MOST_COLUMNS:,}")
    if columns * rows > MOST_CELLS:
        raise LawError(f"{where} has {rows:,} rows of {columns:,} columns; allowed: {MOST_CELLS:,} cells")


def of_chart(table: Table) -> Table:
    """The table of a chart that Weights & Biases exported, ``RUN - METRIC`` and their __MIN and __MAX beside
    an axis, as a row for each run: its last value of each metric, and the axis there. Others as they are."""
    charts = {
        name: name.rsplit(" - ", 1)
        for name in table.columns
        if " - " in name
        and not name.endswith(_ENDS)
        and {name + end for end in _ENDS} <= table.columns.keys()
    }
    if not charts:
        return table
    axes = [name for name in table.columns if not name.endswith(_ENDS) and name not in charts]
    rows: dict[str, dict[str, Any]] = {}
    for name, (run, metric) in charts.items():
        values = table.columns[name]
        last = next((place for place in range(len(values) - 1, -1, -1) if not blank(values[place])), None)
        if last is None:
            continue
        row = rows.setdefault(run, {"run": run})
        row[metric] = values[last]
        row.update((axis, table.columns[axis][last]) for axis in axes if " - " not in axis)
    note = f"a chart of Weights & Biases: the last value of each of {len(rows)} runs is a point"
    return Table(
        columns_of(list(rows.values()), "the chart"),
        table.separator,
        [*table.notes, note],
        mend=WITHOUT_SIZES,
    )
