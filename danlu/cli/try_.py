"""The verb ``try``."""

from __future__ import annotations


def try_() -> None:
    """Not built yet."""
    raise NotImplementedError
