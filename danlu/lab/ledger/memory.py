"""What was tried before: the same idea first, then the same fields with other values, then similar words.
Always with its regime: an idea that lost early may win later."""

from __future__ import annotations

import difflib
import math
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, get_args

from danlu.files.errors import DanluError
from danlu.lab.errors import LabError
from danlu.lab.ledger.book import LEDGER, read
from danlu.lab.ledger.entry import Entry, same
from danlu.lab.ledger.newest import current

How = Literal["the same question", "the same idea, another bed", "the same fields", "similar words"]
ORDER: tuple[How, ...] = get_args(How)
OVERLAP = 0.5  # of the fields of two ideas, from which they are told beside each other
ENOUGH = 0.5  # of what was asked for, by weight, from which words are similar
BEGINS, SPELT = 0.7, 0.5  # what a word counts that begins alike, that is spelt alike
CLOSE = 0.8  # difflib's ratio


@dataclass(frozen=True)
class Match:
    """An entry that was found, and how it is like what was sought."""

    entry: Entry
    how: How


def search(
    entries: Sequence[Entry],
    words: str,
    *,
    on: str | None = None,
    sets: Mapping[str, Any] | None = None,
) -> list[Match]:
    """What was tried that is like ``words``: an idea as ``danlu try`` takes it (on the bed ``on``, where it
    ``sets`` these fields to these values), a claim's name, or any words. The most alike first; among equals
    those in regime, then the newest. Entries that others supersede are left out. Raises LabError where ``on``
    is neither an experiment nor a baseline of the ledger."""
    if on is not None and all(on != entry.on for entry in entries):
        _check(on)
    return _search(entries, words, on, sets)


def _check(on: str) -> None:
    from danlu.spec.words import resolve

    try:
        resolve(on)
    except DanluError as error:
        said = str(error).splitlines()[0]
        raise LabError(f"on = {on!r}: no entry has this baseline, and it is no experiment: {said}") from None


def _search(
    entries: Sequence[Entry], words: str, on: str | None, sets: Mapping[str, Any] | None
) -> list[Match]:
    known = current(entries)
    similar = _similar(known, words)
    found: list[tuple[tuple[float, ...], Match]] = []
    for place, entry in enumerate(known):
        how, near = _likeness(entry, words, on, sets or {})
        if how is None and entry.id in similar:
            how, near = "similar words", similar[entry.id]
        if how is not None:
            rank = (ORDER.index(how), -near, float(not entry.in_regime), float(-place))
            found.append((rank, Match(entry, how)))
    return [match for _, match in sorted(found, key=lambda one: one[0])]


def seen(idea: str, on: str, *, sets: Mapping[str, Any] | None = None, file: Path = LEDGER) -> str | None:
    """One sentence for whoever is about to ask whether ``idea`` helps ``on`` this bed: what the answer was,
    with its regime, where there is one. None where there is none. Raises LabError where the ledger can't be
    read."""
    answered = [entry for entry in read(file) if entry.answered]
    exact = [match for match in _search(answered, idea, on, sets) if match.how == ORDER[0]]
    if not exact:
        return None
    old = exact[0].entry
    at = f" at {old.at}" if old.at else ""
    more = f" (and {len(exact) - 1} more)" if len(exact) > 1 else ""
    return (
        f"{idea} on {on} was answered before, on {old.date}: {old.said}{at}, {old.seeds} seeds; "
        f"regime: {old.regime or 'not known'}; danlu ledger show {old.id}{more}"
    )


def _likeness(entry: Entry, words: str, on: str | None, sets: Mapping[str, Any]) -> tuple[How | None, float]:
    """How an entry's idea is like the one sought, and how near."""
    named, known = _name(entry.subject) == _name(words), bool(sets and entry.sets)
    here = on in (None, entry.on) or entry.claim is not None
    if same(entry.sets, dict(sets)) if known else named:
        return (ORDER[0] if here else ORDER[1]), 1.0
    if named and not here:  # what it sets may follow from the bed
        return ORDER[1], 1.0
    union = entry.sets.keys() | sets.keys()
    overlap = len(entry.sets.keys() & sets.keys()) / len(union) if union else 0.0
    return ("the same fields" if named or overlap >= OVERLAP else None), overlap


def _name(idea: str) -> str:
    return idea.strip().removeprefix("+")


def _similar(entries: Sequence[Entry], words: str) -> dict[str, float]:
    """By id, the share of the words that an entry has, each weighted by how rare it is."""
    sought = list(dict.fromkeys(_tokens([words])))
    texts = {entry.id: set(_tokens(_texts(entry))) for entry in entries}
    every = {token for text in texts.values() for token in text}
    total, shares = 0.0, dict.fromkeys(texts, 0.0)
    for word in sought:
        likes = _like(word, every)
        having = {id: max((likes[token] for token in text & likes.keys()), default=0.0)
                  for id, text in texts.items()}  # fmt: skip
        weight = math.log(1 + len(texts) / max(1, sum(value > 0 for value in having.values())))
        total += weight
        for id, value in having.items():
            shares[id] += weight * value
    return {id: share / total for id, share in shares.items() if total and share >= ENOUGH * total}


def _like(word: str, every: set[str]) -> dict[str, float]:
    """The tokens that are like a word, and how much."""
    spelt = dict.fromkeys(difflib.get_close_matches(word, every, n=5, cutoff=CLOSE), SPELT)
    begins = {token: BEGINS for token in every if min(len(token), len(word)) >= 3
              and (token.startswith(word) or word.startswith(token))}  # fmt: skip
    return spelt | begins | ({word: 1.0} if word in every else {})


def _texts(entry: Entry) -> list[str]:
    said = [
        entry.idea,
        entry.claim,
        entry.on,
        entry.statement,
        entry.family,
        entry.because,
        entry.note,
        entry.why,
    ]
    return [*filter(None, said), *entry.tags, *entry.sets, *map(str, entry.sets.values())]


def _tokens(texts: Iterable[str]) -> list[str]:
    return [token for text in texts for token in re.findall(r"[^\W_]+", text.lower())]
