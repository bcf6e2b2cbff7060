"""Errors that people can act on: the field, the value, what is allowed, the nearest spelling."""

from __future__ import annotations

import difflib
from collections.abc import Iterable

from danlu.files.errors import DanluError

__all__ = ["DanluError", "SpecError", "did_you_mean", "either", "nearest"]


class SpecError(DanluError):
    """An experiment that cannot be read, or that no part can carry out."""


def nearest(word: str, words: Iterable[str]) -> str | None:
    """The word among ``words`` that ``word`` was probably meant to be, if any comes near."""
    words = list(words)
    lowered = {candidate.lower(): candidate for candidate in words}
    close = difflib.get_close_matches(word.lower(), lowered, n=1, cutoff=0.6)
    return lowered[close[0]] if close else None


def did_you_mean(word: str, words: Iterable[str], prefix: str = "") -> str:
    """``"; did you mean X?"`` or nothing, to be put after what is wrong."""
    close = nearest(word, words)
    return f"; did you mean {prefix}{close}?" if close is not None else ""


def either(words: Iterable[str]) -> str:
    """``a``, ``a or b``, ``a, b or c``."""
    *rest, last = words
    return f"{', '.join(rest)} or {last}" if rest else last
