"""JSON as a table: rows, columns, pandas' orientations, or an object for each line."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from danlu.files.json import parse
from danlu.laws.errors import LawError
from danlu.laws.files.names import guesses
from danlu.laws.files.tables import columns_of, unique


def from_lines(path: Path, text: str) -> dict[str, list[Any]]:
    """The columns of JSON objects, one on each line. Raises LawError."""
    rows = []
    for count, line in enumerate(text.splitlines(), start=1):
        if not line.strip():
            continue
        try:
            row = parse(line, partial(_object, f"{path}, line {count}"))
        except ValueError as error:
            raise LawError(f"{path}, line {count}: {error}; mend the line, or delete it") from None
        if not isinstance(row, dict):
            raise LawError(f"{path}, line {count}: not a JSON object; mend the line, or delete it")
        rows.append(row)
    return columns_of(rows, path)


def from_json(path: Path, text: str) -> dict[str, list[Any]]:
    """The columns of a table in JSON. Raises LawError."""
    try:
        value = parse(text, partial(_object, path)) if text.strip() else []
    except ValueError as error:
        lines = [line for line in text.splitlines() if line.strip()]
        if len(lines) > 1 and all(line.strip()[:1] == "{" and line.strip()[-1:] == "}" for line in lines):
            return from_lines(path, text)
        raise LawError(
            f"{path} cannot be read as JSON: {error}; mend it there, or save the table as CSV"
        ) from None
    if is_fit(value):
        raise LawError(
            f"{path} is a fit, and points are needed: give the file that it was fitted to; of fits there are "
            "danlu laws predict, design, and plan --by"
        )
    found = _shaped(value, path)
    if found is None:
        raise LawError(
            f"{path} holds no table: it should be a list of objects, an object of equally long lists, or "
            "what pandas writes"
        )
    return found


def is_fit(value: Any) -> bool:
    """Whether what a JSON file says is a fit of a law, or one for each group, and not points."""
    return isinstance(value, Mapping) and "law" in value and ("parameters" in value or "groups" in value)


def _shaped(value: Any, path: Path) -> dict[str, list[Any]] | None:
    """A table in JSON: rows, columns, or one of pandas' orientations."""
    if isinstance(value, list):
        if all(isinstance(row, dict) for row in value):
            rows = [row["row"] if isinstance(row.get("row"), dict) else row for row in value]
            return columns_of(rows, path)
        if (
            value
            and all(isinstance(row, list) for row in value)
            and all(isinstance(c, str) for c in value[0])
        ):
            return _split(value[0], value[1:], path)
        return None
    if not isinstance(value, dict) or not value:
        return {} if value == {} else None
    if isinstance(value.get("columns"), list) and isinstance(value.get("data"), list):
        return _split(value["columns"], value["data"], path)
    inner = list(value.values())
    if all(isinstance(one, list) for one in inner) and not any(
        isinstance(x, dict) for one in inner for x in one
    ):
        lengths = {name: len(one) for name, one in value.items()}
        if len(set(lengths.values())) > 1:
            told = ", ".join(f"{name} {count}" for name, count in list(lengths.items())[:8])
            raise LawError(f"{path}: columns must be equally long, not {told}")
        return {str(name): one for name, one in value.items()}
    if all(isinstance(one, dict) for one in inner) and len(inner) > 1:
        if _known(value) > _known(inner[0]):
            keys = list(dict.fromkeys(key for one in inner for key in one))
            return {name: [one.get(key) for key in keys] for name, one in value.items()}
        return columns_of([{"name": name, **one} for name, one in value.items()], path)
    tables = [one for one in inner if isinstance(one, list) and one and all(isinstance(r, dict) for r in one)]
    if len(tables) == 1:
        return _shaped(tables[0], path)
    return columns_of([value], path)


def _known(names: Iterable[str]) -> int:
    """How many of the laws' columns are among the names."""
    names = list(names)
    return sum(bool(guesses(ours, names)) for ours in ("n", "d", "c", "loss", "s", "lr"))


def _split(names: Sequence[Any], rows: Sequence[Any], path: Path) -> dict[str, list[Any]]:
    names = [str(name) for name in names]
    unique(path, names)
    for count, row in enumerate(rows, start=1):
        if not isinstance(row, list) or len(row) != len(names):
            raise LawError(f"{path}, point {count}: not {len(names)} values, one for each column")
    return {name: [row[place] for row in rows] for place, name in enumerate(names)}


def _object(where: Path | str, pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    unique(where, [name for name, _ in pairs])
    return dict(pairs)
