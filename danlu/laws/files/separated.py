"""Separated text as a table: which separator, which line has the headings, what is a comment."""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Sequence
from pathlib import Path

from danlu.laws.errors import LawError
from danlu.laws.files.tables import Table, bounded, unique
from danlu.laws.files.units import decimal_mark, number

SEPARATORS = {",": "commas", ";": "semicolons", "\t": "tabs", "|": "|", " ": "spaces"}
_LOOK = 50  # rows that the separator is guessed from


def separated(path: Path, text: str) -> Table:
    """The table in a text whose fields are parted by commas, semicolons, tabs, | or spaces, whichever fits.
    Raises LawError."""
    said = re.match(r"\s*sep=([,;|\t])[^\S\n]*\r?\n", text)  # as spreadsheets write it
    if said:
        text = text[said.end() :]
    comments = re.match(r"(?:[^\S\n]*(?:#[^\n]*)?\n)*", text)
    body = text[comments.end() :] if comments else text
    separator = said[1] if said else _separator(body)
    rows = [row for row in _rows(path, body, separator) if any(row)]
    notes = []
    while _titled(rows):
        notes.append(f"the line {rows[0][0]!r} before the headings is left out")
        del rows[0]
    if rows:
        bounded(path, len(rows[0]), len(rows))
        rows = _headed(path, rows, comments[0] if comments else "", separator)
    whole = [row for row in rows if not row[0].startswith("#") or row is rows[0]]
    if len(whole) < len(rows):
        notes.append(f"{len(rows) - len(whole)} lines that begin with # are left out")
    if not whole:
        return Table({})
    heading = [name.lstrip("#").strip() if place == 0 else name for place, name in enumerate(whole[0])]
    if not any(name and number(name) is None for name in heading):
        raise LawError(f"{path} begins with numbers; write a line of headings above them, such as n,d,loss")
    unique(path, [name for name in heading if name])
    for count, row in enumerate(whole[1:], start=1):
        if len(row) != len(heading):
            if len(row) < len(heading) or any(row[len(heading) :]):
                raise LawError(f"{path}, point {count}: {_ragged(row, heading, separator)}")
            del row[len(heading) :]
    columns = {name: [row[i] for row in whole[1:]] for i, name in enumerate(heading) if name}
    return Table(columns, separator, notes)


def _titled(rows: Sequence[Sequence[str]]) -> bool:
    """Whether the first line is a title above the headings, and no headings with other separators."""
    if len(rows) < 2 or len(rows[1]) < 2 or sum(map(bool, rows[0])) != 1:
        return False
    return not any(one in cell for cell in rows[0] for one in SEPARATORS if one != " ")


def _headed(path: Path, rows: list[list[str]], comments: str, separator: str) -> list[list[str]]:
    """With the last comment as headings where there are none else, as numpy.savetxt writes them."""
    heads = [line.strip().lstrip("#").strip() for line in comments.splitlines() if line.strip("# \t")]
    if not heads:
        return rows
    mark = _mark(rows[:1], separator)
    last = _rows(path, heads[-1], separator)
    bare = all(number(cell, mark) is not None for cell in rows[0])
    return [last[0], *rows] if bare and last and len(last[0]) == len(rows[0]) else rows


def _ragged(row: Sequence[str], heading: Sequence[str], separator: str) -> str:
    said = f"{len(row)} fields under {len(heading)} headings"
    other = next((s for s in SEPARATORS if s not in (separator, " ") and any(s in one for one in row)), None)
    if other is None:
        return f"{said}; mend the row, or put a field that holds {SEPARATORS[separator]} in quotes"
    return f"{said}; the headings are parted by {SEPARATORS[separator]}, this by {SEPARATORS[other]}?"


def _rows(path: Path, text: str, separator: str) -> list[list[str]]:
    if separator == " ":
        return [line.split() for line in text.splitlines()]
    try:
        reader = csv.reader(io.StringIO(text, newline=""), delimiter=separator, skipinitialspace=True)
        rows = [[cell.strip() for cell in row] for row in reader]
    except csv.Error as error:
        raise LawError(f"{path} cannot be read as CSV: {error}") from None
    if separator == "|":  # a table in Markdown has | at both ends, and a line of dashes
        rows = [row[1:-1] if len(row) > 2 and not row[0] and not row[-1] else row for row in rows]
        rows = [row for row in rows if not all(re.fullmatch(r":?-+:?", cell) for cell in row)]
    return rows


def _separator(text: str) -> str:
    """The one that parts the headings, and most rows into as many fields."""
    head = "\n".join(text.split("\n", _LOOK)[:_LOOK])
    best, score = ",", (0.0, 1)
    for one in (",", ";", "\t", "|", " "):
        try:
            rows = [row for row in _rows(Path(), head, one) if any(row)]
        except LawError:
            continue
        while _titled(rows):
            del rows[0]
        if not rows or len(rows[0]) < 2 or (one == " " and score[1] > 1):
            continue
        alike = sum(len(row) == len(rows[0]) for row in rows) / len(rows)
        if (alike, len(rows[0])) > score:
            best, score = one, (alike, len(rows[0]))
    return best


def _mark(rows: Sequence[Sequence[str]], separator: str) -> str:
    try:
        return decimal_mark((cell for row in rows for cell in row), separator)
    except LawError:
        return "."
