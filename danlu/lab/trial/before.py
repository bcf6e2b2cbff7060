"""What was tried before that is like an idea, as the ledger remembers it."""

from __future__ import annotations

from collections.abc import Sequence

from danlu.files.errors import DanluError
from danlu.lab.ledger import Entry, Match, about, search
from danlu.lab.trial.arms import read_sides


def before(entries: Sequence[Entry], words: str, on: str) -> list[Match]:
    """``ledger.search``, where words that are an idea ``on`` this bed are sought by the fields that it sets,
    too."""
    try:
        baseline, variants = read_sides(on, [words])
    except DanluError:  # any words, or an idea that does not fit this bed
        return search(entries, words, on=on)
    ((idea, variant),) = variants.items()
    return search(entries, words, on=on, sets=about(idea.words, baseline, variant)["sets"])
