"""The verb ``ledger``."""

from __future__ import annotations


def ledger() -> None:
    """Not built yet."""
    raise NotImplementedError
