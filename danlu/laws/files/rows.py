"""Which rows of a table are points: those that filters keep, and that hold a number where one is needed."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from danlu.files.filters import Filter, is_number, value_of
from danlu.laws.base import Array
from danlu.laws.errors import LawError, Warned
from danlu.laws.files.choice import Choice, called, listed
from danlu.laws.files.tables import Table
from danlu.laws.files.units import blank, number
from danlu.laws.table import Points
from danlu.spec.errors import did_you_mean

POSITIVE = ("n", "d", "c", "s", "b", "u", "lr")
STARTING = ("d", "c", "s")  # 0 of these is a run before its first update
MARKS = ("outlier", "isoutlier", "excluded", "exclude", "diverged", "failed")  # columns that tell bad points


def kept(table: Table, filters: Iterable[Filter], mark: str, file: Table | None = None) -> list[int]:
    """The rows of which all filters hold. ``file``: where a name may also be from, for a hint. Raises
    LawError for a column that is not there, or where no row is left."""
    which = list(range(table.size))
    for one in filters:
        name = called(one.name, table.columns)
        if name is None:
            there = (file or table).columns
            hint = did_you_mean(one.name, [*there, *table.columns]) or f"; there are {listed(file or table)}"
            said = f"{one.name}{one.operator}{one.value}"
            raise LawError(f"--where {said}: there is no column {one.name}{hint}")
        cells = table.columns[name]
        which = [place for place in which if _holds(one, cells[place], mark)]
        if not which:
            raise LawError(f"no row is left by --where {one.name}{one.operator}{one.value}")
    return which


def _holds(one: Filter, cell: Any, mark: str) -> bool:
    if one.operator == "~":
        return one.holds(cell)
    found = None if blank(cell) else value_of(cell) if isinstance(cell, str) else cell
    if is_number(one.value) and not is_number(found) and found is not None:  # 1,3 B is 1.3e9
        amount = number(cell, mark)
        found = found if amount is None else amount
    return one.holds(found)


def take(table: Table, which: Sequence[int] | Array) -> Table:
    """These rows of a table."""
    if len(which) == table.size:
        return table
    columns = {name: [cells[place] for place in which] for name, cells in table.columns.items()}
    return replace(table, columns=columns)


def numbers(
    ours: str, choice: Choice, table: Table, places: Sequence[int], mark: str
) -> tuple[Array, str | None]:
    """(rows,) A column in our unit, NaN where it is blank; and what is wrong with its first cell that is no
    number. ``places``: the row of the file for each row of the table."""
    out = np.full(table.size, np.nan)
    bad = []
    cells = table.columns[choice.name]
    for place, cell in enumerate(cells):
        if blank(cell):
            continue
        value = number(cell, mark, ours, choice.unit)
        if value is None or (ours in POSITIVE and (value < 0 or (value == 0 and ours not in STARTING))):
            bad.append(place)
        else:
            out[place] = value
    if not bad:
        return out, None
    cell = cells[bad[0]]
    text = isinstance(cell, str)
    shown = repr(cell)[:60] if text else f"{cell}"[:60]
    needed = "a number above zero" if ours in POSITIVE else "a finite number"
    more = f" ({len(bad)} points are like that)" if len(bad) > 1 else ""
    mend = f"; --where '{choice.name}!={cell}' leaves it out" if text and len(cell) < 40 else ""
    point = places[bad[0]] + 1
    return out, f"column {choice.name} holds {shown} in point {point}, where {needed} is needed{more}{mend}"


def whole(columns: Mapping[str, Array], size: int) -> tuple[list[int], str]:
    """The rows in which all columns are finite, and positive where they must be; and what the others lack."""
    good = np.ones(size, bool)
    why: Counter[str] = Counter()
    for ours, values in columns.items():
        lacks = {
            f"no {ours}": np.isnan(values),
            f"an infinite {ours}": np.isinf(values),
            f"{ours} = 0": (values == 0) & (ours in STARTING),
        }
        for said, rows in lacks.items():
            if count := int((rows & good).sum()):
                why[said] += count
            good &= ~rows
    return np.flatnonzero(good).tolist(), ", ".join(f"{count} with {said}" for said, count in why.items())


def copies(table: Table) -> list[int]:
    """The rows that are copies of one before, cell by cell: the same run written twice says nothing more."""
    seen: set[tuple[str, ...]] = set()
    found = []
    for place, row in enumerate(zip(*table.columns.values(), strict=True)):
        cells = tuple(map(str, row))
        if cells in seen:
            found.append(place)
        seen.add(cells)
    return found


def same(points: Points) -> list[Warned]:
    """A warning of rows whose numbers are those of another to the last digit, a loss of five or more among
    them, though a name or an index tells them apart."""
    if "loss" not in points or points.size < 2:
        return []
    order, first = np.unique(np.stack([*points.values()]), axis=1, return_inverse=True)[1], []
    seen: set[int] = set()
    for place, (label, loss) in enumerate(zip(order.ravel().tolist(), points["loss"].tolist(), strict=True)):
        if label in seen and float(f"{loss:.4g}") != loss:
            first.append(place + 1)
        seen.add(label)
    if not first:
        return []
    return [Warned("same-numbers", (
        f"{len(first)} of {points.size} rows have all numbers of another one to the last digit, data row "
        f"{first[0]} the first: where they are copies under another name, keep one of each"
    ))]  # fmt: skip


def marked(table: Table) -> list[Warned]:
    """A warning for each column of the file that marks some of the points as bad."""
    found = []
    for name, cells in table.columns.items():
        plain = "".join(filter(str.isalpha, name.lower()))
        if plain not in (*MARKS, "state"):
            continue
        said = [value_of(cell) if isinstance(cell, str) else cell for cell in cells]
        if plain != "state" and (count := sum(one is True or one == 1 for one in said)):
            text = f"column {name} marks {count} points; --where '{name}=false' leaves them out"
            found.append(Warned("marked", text))
        elif plain == "state" and (count := sum(one in ("crashed", "failed", "killed") for one in said)):
            text = f"{count} runs did not finish; --where '{name}=finished' leaves them out"
            found.append(Warned("marked", text))
    return found
