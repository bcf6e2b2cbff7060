"""The verb ``sweep``."""

from __future__ import annotations


def sweep() -> None:
    """Not built yet."""
    raise NotImplementedError
