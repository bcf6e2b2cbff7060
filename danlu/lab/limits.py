"""How much may be asked for at once: more is a slip of the hand, which would take all memory or time."""

from __future__ import annotations

from danlu.lab.errors import LabError

SEEDS, POINTS, RUNGS = 1_000, 10_000, 30


def within(name: str, count: float, most: int, least: int = 1) -> None:
    """Raises LabError for a ``count`` of what is called ``name`` that is out of bounds."""
    if not least <= count <= most:
        said = f"{count:.3g}" if count >= 10**6 else f"{count:g}"
        raise LabError(f"{name} = {said}; allowed: {least:,} to {most:,}")
