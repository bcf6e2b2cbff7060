"""Answers are short: lists have at most so many items, and what was left out is said."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, TypeVar

MOST = 50  # items of a list, points of a curve
LONGEST = 1_000  # characters of a text
LARGEST = 30_000  # characters of an answer

T = TypeVar("T")


def cut(value: Any, most: int = MOST) -> tuple[Any, dict[str, int]]:
    """``value`` with its lists and texts cut, at any depth; and how many items (characters) were left out, by
    where they stood."""
    left: dict[str, int] = {}
    return _cut(value, most, "", left), left


def _cut(value: Any, most: int, place: str, left: dict[str, int]) -> Any:
    match value:
        case dict():
            return {
                key: _cut(inner, most, f"{place}.{key}" if place else str(key), left)
                for key, inner in value.items()
            }
        case list() | tuple():
            if len(value) > most:
                left[place or "list"] = left.get(place or "list", 0) + len(value) - most
            return [_cut(inner, most, place, left) for inner in value[:most]]
        case str() if len(value) > LONGEST:
            left[place or "text"] = left.get(place or "text", 0) + len(value) - LONGEST
            return value[:LONGEST]
    return value


def page(items: Sequence[T], offset: int, limit: int) -> tuple[list[T], dict[str, Any]]:
    """A page of ``items``; where there is more, ``next`` (the offset of the next one) and ``left_out`` (how
    many ``items`` are)."""
    shown = list(items[offset : offset + limit])
    after = len(items) - offset - len(shown)
    return shown, {"next": offset + len(shown), "left_out": {"items": after}} if after > 0 else {}
