"""What was tried before that is like an idea, as the ledger remembers it."""

from __future__ import annotations

from collections.abc import Sequence

from danlu.files.errors import DanluError
from danlu.lab.ledger import Entry, Match, about, search
from danlu.lab.trial.arms import read_sides
from danlu.lab.trial.question import bed_of


def before(entries: Sequence[Entry], words: str, on: str | None = None) -> list[Match]:
    """``ledger.search``, where words that are an idea ``on`` this bed (left out: that of ``danlu try``) are
    sought by the fields that it sets, too."""
    on = on or bed_of([words])
    try:
        baseline, variants = read_sides(on, [words])
    except DanluError:  # any words, or an idea that does not fit this bed
        return search(entries, words, on=on)
    ((idea, variant),) = variants.items()
    return search(entries, words, on=on, sets=about(idea.words, baseline, variant)["sets"])
