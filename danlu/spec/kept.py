"""The own parts that a run was made with, as its folder says. Nothing of it is loaded: it is data."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path

from danlu.files.errors import FileError
from danlu.files.json import read_json
from danlu.spec.families import FAMILIES


def lacking(folder: Path) -> str:
    """What to give for the run in ``folder`` to be read whole, a sentence; nothing where nothing lacks."""
    with suppress(FileError, KeyError, TypeError, ValueError, AttributeError):
        for entry in read_json(folder / "environment.json").get("parts", ()):
            for family, kind in (part.split() for part in entry["parts"]):
                if FAMILIES[family].find(kind) is None:
                    copy = (
                        f", or --with {folder / entry['copy']}, the copy that it kept"
                        if entry["copy"]
                        else ""
                    )
                    where = entry["file"] or "the file that it is in"
                    return f"{folder} has the {family} {kind} of {entry['name']}: give --with {where}{copy}"
    return ""
