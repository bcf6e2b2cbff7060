"""The numbers of a run that has ended: from what it printed, or from the files that it wrote."""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from danlu.files import event_files, offline_runs
from danlu.files.errors import FileError
from danlu.files.json import from_json, read_json
from danlu.files.read import LARGE, decode, read_bytes
from danlu.lab.errors import LabError
from danlu.lab.referee.plan import Reading
from danlu.spec.errors import did_you_mean


class Unread(LabError):
    """The number is not there, or not what was promised."""


def read(name: str, reading: Reading, folder: Path, out: Path, logs: Path) -> float:
    """The number called ``name``; NaN and infinities are numbers. ``folder``: where the program ran; ``out``:
    its ``{out}``; ``logs``: where what it printed is. Raises ``Unread``."""
    source, said = reading.source
    try:
        if source not in ("stdout", "stderr"):
            _there(name, said, folder, out)
        found = _values(source, said, folder, out, logs)
    except FileError as error:
        raise Unread(f"{name} cannot be read: {error}") from None
    if not found:
        raise Unread(f"{name} is not there: {_nothing(source, said, folder, out)}")
    if len(found) > 1 and reading.pick == "only":
        raise Unread(
            f"{name} is there {_times(len(found))}: {source} = {said!r} finds {found[0]:g} first and "
            f"{found[-1]:g} last; set pick: first or pick: last, or make the program tell one"
        )
    return found[-1] if reading.pick == "last" else found[0]


def _place(said: str, folder: Path, out: Path) -> tuple[Path, str]:
    """The path of ``PLACE#WHAT``, and what is read there."""
    place, _, what = said.partition("#")
    return folder / place.replace("{out}", str(out)), what


def _there(name: str, said: str, folder: Path, out: Path) -> None:
    """Raises ``Unread`` where there is no such path, with the one that was looked at."""
    place, what = said.partition("#")[::2]
    path, _ = _place(said, folder, out)
    if not path.exists():
        elsewhere = out / place
        hint = f"; the run wrote {elsewhere}: write '{{out}}/{place}#{what}'" if elsewhere.exists() else ""
        raise Unread(f"{name} is not there: the run left no {path}{hint}")


def _nothing(source: str, said: str, folder: Path, out: Path) -> str:
    """What was looked at in vain."""
    if source in ("stdout", "stderr"):
        return f"{source} = {said!r} finds nothing in what the run printed"
    path, what = _place(said, folder, out)
    if path.suffix.lower() in (".csv", ".tsv"):
        columns = list(_rows(path).fieldnames or ())
        if what not in columns:
            hint = did_you_mean(what, columns) or f"; it has {', '.join(columns[:8]) or 'none'}"
            return f"{path} has no column {what!r}{hint}"
        return f"the column {what!r} of {path} is empty"
    return f"{path} is there, and holds nothing at {what!r}"


def _rows(path: Path) -> csv.DictReader[str]:
    text = decode(read_bytes(path, LARGE), str(path))
    return csv.DictReader(io.StringIO(text), delimiter="\t" if path.suffix.lower() == ".tsv" else ",")


def _values(source: str, said: str, folder: Path, out: Path, logs: Path) -> list[float]:
    if source in ("stdout", "stderr"):
        text = read_bytes(logs / f"{source}.txt", LARGE).decode(errors="replace")
        lines = text.replace("\r\n", "\n").replace("\r", "\n")  # a bar of progress returns on its line
        return [_number(match[1], said) for match in re.finditer(said, lines, re.MULTILINE)]
    path, what = _place(said, folder, out)
    if source == "tensorboard":
        return event_files.scalars(path, what)
    if source == "wandb":
        return offline_runs.logged(path, what)
    match path.suffix.lower():
        case ".json":
            return _numbers([_at(read_json(path, LARGE), what)], said)
        case ".jsonl":
            return _numbers((_at(row, what) for row in _lines(path)), said)
    return _numbers(((row.get(what) or "").strip() or None for row in _rows(path)), said)


def _lines(path: Path) -> Iterable[Any]:
    """The rows of a JSONL file. The last line may be torn."""
    lines = read_bytes(path, LARGE).splitlines()
    for number, line in enumerate(lines, 1):
        try:
            row = from_json(line) if line.strip() else None
        except ValueError as error:
            if number == len(lines):
                return
            raise FileError(f"{path}, line {number}: no JSON ({error})") from None
        yield row


def _at(value: Any, pointer: str) -> Any:
    """What a JSON pointer leads to (RFC 6901); None where nothing is."""
    for part in pointer.split("/")[1:]:
        name = part.replace("~1", "/").replace("~0", "~")
        if isinstance(value, dict):
            value = value.get(name)
        elif isinstance(value, list) and name.isdigit() and int(name) < len(value):
            value = value[int(name)]
        else:
            return None
    return value


def _numbers(values: Iterable[Any], said: str) -> list[float]:
    return [_number(value, said) for value in values if value is not None]


def _number(value: Any, said: str) -> float:
    try:
        if isinstance(value, bool | list | dict):
            raise ValueError
        return float(value)
    except ValueError:
        raise Unread(f"{said!r} finds {value!r:.60}, which is no number") from None


def _times(count: int) -> str:
    return "twice" if count == 2 else f"{count} times"
