"""Which of several answers to one question takes the place of the others."""

from __future__ import annotations

from collections.abc import Sequence

from danlu.lab.ledger.entry import Entry


def current(entries: Sequence[Entry]) -> list[Entry]:
    """Those that no other takes the place of."""
    replaced = {name for entry in entries for name in entry.supersedes}
    return [entry for entry in entries if entry.id not in replaced]


def later(new: Entry, old: Entry) -> bool:
    """Whether ``new`` is the better answer to the question of ``old``: an answer at all, in regime where the
    other was, of no shorter runs, and of no fewer seeds where the code is the same. What is only asked is
    superseded by nothing: it may be running."""
    if not new.answered or old.verdict == "asked":
        return False
    if old.verdict == "void":
        return True
    if _earliness(new) > _earliness(old) or length(new) < length(old):
        return False
    return new.code != old.code or new.seeds >= old.seeds or length(new) > length(old)


def _earliness(entry: Entry) -> int:
    """0 in regime, 1 early, 2 where nobody says."""
    return 1 if entry.early else 0 if entry.in_regime else 2


def length(entry: Entry) -> float:
    """Updates of the runs, 0 where nobody says."""
    said = entry.regime.updates if entry.regime else None
    return said or (entry.scale.steps if entry.scale else None) or 0.0
