"""The list of runs: which, in which order, in which columns, by what stands in the address."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from starlette.datastructures import QueryParams

from danlu.lab.reading import table
from danlu.lab.reading.groups import Group
from danlu.lab.reading.groups import group as grouped
from danlu.lab.reading.run import Run
from danlu.lab.reading.selection import full_name, ranked_by, select
from danlu.watch.page import address
from danlu.watch.place import Place, id_of

PAGE = 100  # rows
COLUMNS = 14  # of the table, where nobody asks for some
FILTERS = 8
SORTED = {"run": "name", "runs": "name", "time": "seconds", "n": "", "": ""}  # a heading → what sorts by it


@dataclass(frozen=True)
class Asked:
    """What the address asks for; the words are those of ``danlu runs``."""

    where: tuple[str, ...] = ()
    sort: str = ""
    columns: str = ""
    group: bool = False
    page: int = 1

    @classmethod
    def of(cls, query: QueryParams) -> Asked:
        """Words that cannot be meant are left out: the rest is still to be seen."""
        where = tuple(word.strip() for word in query.getlist("where") if word.strip())[:FILTERS]
        page = query.get("page", "1")
        at = int(page) if page.isdecimal() and len(page) < 9 else 1
        return cls(where, query.get("sort", ""), query.get("columns", ""), "group" in query, max(at, 1))

    def address(self, **changes: Any) -> str:
        """The address of this, changed."""
        new = replace(self, **changes)
        pairs: list[tuple[str, Any]] = [("where", word) for word in new.where]
        pairs += [("sort", new.sort), ("columns", new.columns), ("group", 1 if new.group else "")]
        return address("/", [*pairs, ("page", new.page if new.page > 1 else "")])


@dataclass(frozen=True)
class Row:
    """A line of the table: the run (of a group the first), by its id, and its cells, of which the first
    ``said`` are words of ours, and the others numbers and values."""

    id: str
    name: str
    state: str
    cells: Sequence[str]
    said: int = 0


@dataclass(frozen=True)
class Part:
    """Runs that may be ranked together; ``heading``: what they are scored on, where there are several."""

    heading: str
    head: Sequence[tuple[str, str, str]]  # a column, what it is sorted by on a click, which way it is now
    rows: Sequence[Row]


@dataclass(frozen=True)
class Listing:
    """A page of the list. ``of``: runs, or groups, in all."""

    parts: Sequence[Part]
    of: int
    pages: int


def listing(place: Place, asked: Asked) -> Listing:
    """The runs that are asked for. Raises ``FilterError`` or ``LabError`` for words that say nothing."""
    chosen = select(place.runs(), asked.where)
    wanted = [name.strip() for name in asked.columns.split(",") if name.strip()]
    names = [full_name(name, chosen) for name in wanted] if chosen else []
    items: list[Any] = list(grouped(chosen)) if asked.group else chosen
    lists = [items] if items else []
    if asked.sort:
        lists = ranked_by(items, asked.sort, chosen)
    headings = table.headings([one[0].first for one in lists]) if len(lists) > 1 else [""] * len(lists)
    left, room, parts = (asked.page - 1) * PAGE, PAGE, []
    for heading, one in zip(headings, lists, strict=True):
        some = one[left : left + room]
        left, room = max(0, left - len(one)), room - len(some)
        if some:
            parts.append(_part(place, heading, some, names, asked))
    return Listing(parts, len(items), max(1, -(-len(items) // PAGE)))


def _part(place: Place, heading: str, items: Sequence[Any], names: list[str], asked: Asked) -> Part:
    rows = (table.group_rows if asked.group else table.run_rows)(items, names)
    most = len(rows[0]) if names else COLUMNS
    head = [(name, *_sort(name, asked)) for name in rows[0][:most]]
    said = 0 if names else 2  # the state, and how many runs or what the code is
    lines = [_row(place, item, row[1:most], said) for item, row in zip(items, rows[1:], strict=True)]
    return Part(heading, head, lines)


def _sort(name: str, asked: Asked) -> tuple[str, str]:
    """The address that sorts by the column, or turns it round; and which way it is sorted now."""
    by = SORTED.get(name, name)
    if not by:
        return "", ""
    now = "ascending" if asked.sort == by else "descending" if asked.sort == f"-{by}" else ""
    return asked.address(sort=f"-{by}" if now == "ascending" else by, page=1), now


def _row(place: Place, item: Run | Group, cells: Sequence[str], said: int) -> Row:
    run = item.first
    return Row(id_of(run.path), place.shown(run.path), run.state, cells, said)
