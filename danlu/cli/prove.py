"""The verb ``prove``."""

from __future__ import annotations


def prove() -> None:
    """Not built yet."""
    raise NotImplementedError
