"""Strict JSON in and out. What is read is bounded: in bytes, in nesting, in the digits of an integer."""

from __future__ import annotations

import json
import math
import os
import re
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

from danlu.files.errors import FileError
from danlu.files.read import LIMIT, read_bytes
from danlu.files.write import write_atomically

DEPTH = 100  # brackets within brackets
DIGITS = 100  # of an integer: it fits into a float

# JSON has no NaN and no infinity. They are written as these strings, which `float()` also reads
# in Python, and read back as floats; so no text value in a record may be one of the three.
_NON_FINITE = {"NaN": math.nan, "Infinity": math.inf, "-Infinity": -math.inf}
_LONG = re.compile(rf"[0-9]{{{DIGITS + 1}}}")
_LONG_BYTES = re.compile(_LONG.pattern.encode())
_MARKS = re.compile(rb'"(?:[^"\\]|\\.)*"|[\[{\]}]', re.DOTALL)  # strings and brackets


def to_json(value: Any, indent: int | None = None) -> str:
    """Strict JSON; a NaN or an infinity becomes the string "NaN", "Infinity" or "-Infinity"."""
    try:
        return json.dumps(value, allow_nan=False, indent=indent, default=_plain)
    except ValueError:  # rare, so the tree is only rebuilt then
        return json.dumps(_spell(value), allow_nan=False, indent=indent, default=_plain)


def from_json(text: str | bytes) -> Any:
    """The inverse of ``to_json``. Raises ``ValueError`` for what is not JSON or is beyond the limits."""
    value = parse(text)
    marks = ("NaN", "Infinity") if isinstance(text, str) else (b"NaN", b"Infinity")
    return _unspell(value) if any(mark in text for mark in marks) else value  # type: ignore[operator]


def parse(text: str | bytes, pairs: Callable[[list[tuple[str, Any]]], Any] | None = None) -> Any:
    """``json.loads`` with limits on nesting and on the digits of integers; ``pairs`` makes a mapping of what
    it holds. Raises ``ValueError``."""
    try:
        value = json.loads(text, object_pairs_hook=pairs)
    except RecursionError:
        raise ValueError(f"nested deeper than {DEPTH} brackets") from None
    except ValueError:  # other packages raise Python's own limit, and what never ends is then no JSON first
        if _depth(text) > DEPTH:
            raise ValueError(f"nested deeper than {DEPTH} brackets") from None
        raise
    if isinstance(text, str):
        suspicious = text.count("[") + text.count("{") > DEPTH or bool(_LONG.search(text))
    else:
        suspicious = text.count(b"[") + text.count(b"{") > DEPTH or bool(_LONG_BYTES.search(text))
    if suspicious:  # to walk through every value takes time
        _check(value)
    return value


def read_json(path: str | os.PathLike[str], limit: int = LIMIT) -> Any:
    """The value in a JSON file. Raises ``FileError`` if it is missing, no file, too large or not JSON."""
    try:
        return from_json(read_bytes(path, limit))
    except ValueError as error:
        raise FileError(
            f"{os.fspath(path)} cannot be read as JSON ({error}); restore it, or start again"
        ) from None


def read_object(path: str | os.PathLike[str], shape: Mapping[str, Any] | None = None) -> dict[str, Any]:
    """The mapping in a JSON file, checked against ``shape`` (see ``misfit``). Raises ``FileError``."""
    value = read_json(path)
    if wrong := misfit(value, shape or {}):
        raise FileError(f"{os.fspath(path)}: {wrong}; restore it, or start again")
    found: dict[str, Any] = value
    return found


def misfit(value: Any, shape: Any, name: str = "") -> str:
    """How ``value`` differs from ``shape``, in words; "" where it fits.

    A shape is a type; a tuple of shapes, any of which it may be (``None`` for null); a mapping from names to
    the shapes of what must be there, whatever else is, or from ``...`` to the shape of all values; a list
    with the one shape of all items, or with a shape for each of several. a word stands for itself, ``float``
    for any number that is no boolean, ``int`` for a whole one.
    """
    it = name or "it"
    if isinstance(shape, type):
        numeric = isinstance(value, int | float) and not isinstance(value, bool)
        fits = numeric if shape is float else isinstance(value, shape) and (numeric or shape is not int)
        return "" if fits else f"{it} is {kind(value)}, not {_NAMES[shape]}"
    if isinstance(shape, Mapping):
        if not isinstance(value, dict):
            return f"{it} holds {kind(value)}, not a mapping"
        if ... in shape:
            shape = dict.fromkeys(value, shape[...])
        for key, inner in shape.items():
            optional = isinstance(inner, tuple) and None in inner
            if key not in value and not optional:
                return f"{it} has no {key!r}"
            if wrong := misfit(value.get(key), inner, f"{name}.{key}" if name else key):
                return wrong
        return ""
    if isinstance(shape, list):
        if not isinstance(value, list):
            return f"{it} holds {kind(value)}, not a list"
        if 1 < len(shape) != len(value):
            return f"{it} has {len(value)} items, not {len(shape)}"
        shapes = shape if len(shape) > 1 else shape * len(value)
        pairs = enumerate(zip(value, shapes, strict=True))
        wrongs = (misfit(item, one, f"{name}[{i}]") for i, (item, one) in pairs)
        return next((wrong for wrong in wrongs if wrong), "")
    if isinstance(shape, tuple):
        wrongs_of = [misfit(value, one, name) for one in shape]
        return "" if "" in wrongs_of else wrongs_of[0]
    if isinstance(shape, str):
        return "" if value == shape else f"{it} is {value!r:.80}, not {shape}"
    return "" if value is None else f"{it} is {kind(value)}, not null"


_NAMES: dict[type, str] = {
    dict: "a mapping", list: "a list", str: "text", bool: "true or false", int: "a whole number",
    float: "a number",
}  # fmt: skip


def kind(value: Any) -> str:
    """What a value of JSON is, in words: ``a mapping``, ``null``, ``a number``."""
    if value is None:
        return "null"
    if isinstance(value, float):
        return "a number"
    return _NAMES.get(type(value), f"a {type(value).__name__}")


def write_json(path: Path, value: Any) -> None:
    """``value`` as an indented JSON file, written atomically. Raises ``FileError``."""
    write_atomically(path, (to_json(value, indent=1) + "\n").encode())


def fitting(lines: Iterable[bytes], shape: Any) -> list[Any]:
    """The lines that are JSON of this shape, as of ``misfit``; others, torn or empty ones too, are passed
    over."""
    found = []
    for line in lines:
        try:
            value = from_json(line)
        except ValueError:
            continue
        if not misfit(value, shape):
            found.append(value)
    return found


def finite(value: Any) -> Any:
    """For readers whose JSON has no NaN: None in its place, at any depth; tuples become lists."""
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, dict):
        return {key: finite(inner) for key, inner in value.items()}
    return [finite(inner) for inner in value] if isinstance(value, list | tuple) else value


def _depth(text: str | bytes) -> int:
    """The most brackets that are open at once in what need not be JSON; those in strings do not count."""
    open_, most = 0, 0
    for mark in _MARKS.finditer(text if isinstance(text, bytes) else text.encode("utf-8", "replace")):
        open_ += {b"[": 1, b"{": 1, b"]": -1, b"}": -1}.get(mark[0], 0)
        most = max(most, open_)
    return most


def _check(value: Any) -> None:
    """Raises ``ValueError`` for what is nested too deep and for integers that are too long."""
    level, depth = [value], 0
    largest = 10**DIGITS
    while level:
        depth += 1
        if depth > DEPTH and any(isinstance(item, dict | list) for item in level):
            raise ValueError(f"nested deeper than {DEPTH} brackets")
        below: list[Any] = []
        for item in level:
            if isinstance(item, dict):
                below.extend(item.values())
            elif isinstance(item, list):
                below.extend(item)
            elif isinstance(item, int) and abs(item) >= largest:
                raise ValueError(f"an integer of more than {DIGITS} digits")
        level = below


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
