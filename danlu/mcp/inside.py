"""Nothing outside of the working folder: what an agent writes names no other place, by whatever way."""

from __future__ import annotations

import re
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from danlu.files.errors import DanluError

_ELSEWHERE = re.compile(r"~|[A-Za-z]:[\\/]")
_PIECES = re.compile(r"[\s=+,;|:\"'(){}\[\]]+")


class Refused(DanluError):
    """What is asked is not allowed here; the sentence says why."""


def check_words(words: Iterable[str]) -> None:
    """Raises ``Refused`` where a word is an option of a command, or names a place outside of the working
    folder."""
    for word in words:
        if word.lstrip().startswith("-"):
            raise Refused(f"{word!r} is an option; give ideas, recipes and field=value words alone")
        if "\x00" in word:
            raise Refused("a word holds a zero byte; write plain text")
        check_places(word)


def check_places(text: str) -> None:
    """Raises ``Refused`` where a piece of the text, read as a path, leaves the working folder."""
    for piece in {text, *_PIECES.split(text)}:
        path = Path(piece)
        if not piece:
            continue
        if path.is_absolute() or ".." in path.parts or _ELSEWHERE.match(piece):
            raise Refused(f"{piece!r} is outside of the working folder; name a file or folder inside of it")
        resolved_inside(path, piece)


def resolved_inside(path: Path, said: str) -> None:
    """Raises ``Refused`` where what is there is a link to something outside."""
    here = Path.cwd().resolve()
    try:
        there = path.resolve()
    except (OSError, ValueError, RuntimeError):  # no path at all
        return
    if there != here and here not in there.parents:
        raise Refused(f"{said!r} leads out of the working folder; name a file or folder inside of it")


def check_values(value: Any) -> None:
    """The same for every text in what was read from a file: an experiment, an idea."""
    match value:
        case dict():
            for inner in value.values():
                check_values(inner)
        case list() | tuple():
            for inner in value:
                check_values(inner)
        case str() if "/" in value or "\\" in value or value.startswith("~"):
            check_places(value)
