"""The verb ``ladder``."""

from __future__ import annotations


def ladder() -> None:
    """Not built yet."""
    raise NotImplementedError
