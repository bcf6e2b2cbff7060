"""The verbs ``runs`` and ``compare``."""

from __future__ import annotations


def runs() -> None:
    """Not built yet."""
    raise NotImplementedError


def compare() -> None:
    """Not built yet."""
    raise NotImplementedError
