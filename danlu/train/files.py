"""Small files written whole or not at all, and strict JSON. No torch here."""

from __future__ import annotations

import json
import math
import os
from pathlib import Path
from typing import Any

from danlu.train.errors import RunError, cannot_write

_ASIDE = ".writing"  # the suffix of a small file that is not yet whole

# JSON has no NaN and no infinity. They are written as these strings, which `float()` also reads
# in Python, and read back as floats; so no text value in a record may be one of the three.
_NON_FINITE = {"NaN": math.nan, "Infinity": math.inf, "-Infinity": -math.inf}


def clean_aside(folder: Path) -> None:
    """Remove what ``write_atomically`` left there when its process was killed."""
    for left in folder.glob(f".*{_ASIDE}"):
        left.unlink()


def write_atomically(path: Path, data: bytes) -> None:
    """Write a small file aside, flush it to the disk, and put it in place: whole or not at all.

    Raises ``RunError`` if that fails; what was at ``path`` before is then still there.
    """
    aside = path.with_name(f".{path.name}{_ASIDE}")
    try:
        with open(aside, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        os.replace(aside, path)
        sync_folder(path.parent)
    except OSError as error:
        aside.unlink(missing_ok=True)
        raise cannot_write(path, error, len(data)) from error


def sync_folder(path: Path) -> None:
    """Make the names in a folder durable: a rename alone may be lost with the power."""
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def to_json(value: Any, indent: int | None = None) -> str:
    """Strict JSON; a NaN or an infinity becomes the string "NaN", "Infinity" or "-Infinity"."""
    try:
        return json.dumps(value, allow_nan=False, indent=indent, default=_plain)
    except ValueError:  # rare, so the tree is only rebuilt then
        return json.dumps(_spell(value), allow_nan=False, indent=indent, default=_plain)


def from_json(text: str | bytes) -> Any:
    """The inverse of ``to_json``. Raises ``ValueError`` for what is not JSON."""
    value = json.loads(text)
    marks = ("NaN", "Infinity") if isinstance(text, str) else (b"NaN", b"Infinity")
    return _unspell(value) if any(mark in text for mark in marks) else value  # type: ignore[operator]


def write_json(path: Path, value: Any) -> None:
    """``value`` as an indented JSON file, written atomically. Raises ``RunError``."""
    write_atomically(path, (to_json(value, indent=1) + "\n").encode())


def read_json(path: Path) -> Any:
    """The value in a JSON file. Raises ``RunError`` if it is missing or not JSON."""
    try:
        return from_json(path.read_bytes())
    except FileNotFoundError:
        raise RunError(f"{path} is missing; name a folder that holds a run") from None
    except (OSError, ValueError) as error:
        raise RunError(f"{path} cannot be read as JSON ({error}); restore it, or start anew") from None


def _plain(value: Any) -> Any:
    """A numpy or torch scalar as a number; a path as text."""
    if isinstance(value, os.PathLike):
        return os.fspath(value)
    if hasattr(value, "item"):
        return _spell(value.item())
    raise TypeError(f"a {type(value).__name__} cannot be written as JSON")


def _spell(value: Any) -> Any:
    if isinstance(value, float) and not math.isfinite(value):
        return "NaN" if math.isnan(value) else "Infinity" if value > 0 else "-Infinity"
    if isinstance(value, dict):
        return {key: _spell(inner) for key, inner in value.items()}
    return [_spell(inner) for inner in value] if isinstance(value, list | tuple) else value


def _unspell(value: Any) -> Any:
    if isinstance(value, str):
        return _NON_FINITE.get(value, value)
    if isinstance(value, dict):
        return {key: _unspell(inner) for key, inner in value.items()}
    return [_unspell(inner) for inner in value] if isinstance(value, list) else value
