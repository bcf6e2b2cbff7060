"""The own parts that a run was made with, as its folder says. Nothing of it is loaded: it is data."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path
from typing import Any

from danlu.files.errors import FileError
from danlu.files.json import read_object
from danlu.spec.families import FAMILIES

# Of ``environment.json``: for each file what it is called, where it was, its digest, ``family kind`` of its
# parts, and where in the folder its copy is.
RECORD: Any = [{"name": str, "file": (str, None), "digest": str, "parts": [str], "copy": (str, None)}]


def record_of(folder: Path) -> list[dict[str, Any]]:
    """What the run in ``folder`` says of its own parts; nothing where that cannot be read."""
    with suppress(FileError):
        found = read_object(folder / "environment.json", {"parts": (RECORD, None)})
        return found.get("parts") or []
    return []


def lacking(folder: Path) -> str:
    """What to give for the run in ``folder`` to be read whole, a sentence; nothing where nothing lacks."""
    for entry in record_of(folder):
        for part in entry["parts"]:
            family, _, kind = part.partition(" ")
            if family in FAMILIES and FAMILIES[family].find(kind) is None:
                copy = entry["copy"]
                kept = "" if copy is None else f", or --with {folder / copy}, the copy that it kept"
                where = entry["file"] or "the file that it is in"
                return f"{folder} has the {part} of {entry['name']}: give --with {where}{kept}"
    return ""
