"""How entries are told apart in little room: by number, idea, and what of the bed is not common to all."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from danlu.lab.ledger.entry import Entry


def numbers(entries: Iterable[Entry]) -> dict[str, str]:
    """By id, the place in the file, from 1. It stays, since new entries go to the end."""
    return {entry.id: str(number) for number, entry in enumerate(entries, 1)}


def beds(entries: Sequence[Entry]) -> dict[str, str]:
    """By id, what the idea was laid over: without the words that all beds of the same beginning have, for
    which … stands, and each field by the last part of its name where that says which it is."""
    said = {entry.id: (entry.on or "").split() for entry in entries}
    alike: dict[str, list[set[str]]] = {}
    for words in said.values():
        alike.setdefault(words[0] if words else "", []).append(set(words[1:]))
    common = {
        first: set.intersection(*sets) if len(set(map(frozenset, sets))) > 1 else set()
        for first, sets in alike.items()
    }
    names = _names(word for words in said.values() for word in words)
    found = {}
    for id, (first, *rest) in ((id, words or [""]) for id, words in said.items()):
        own = [_short(word, names) for word in rest if word not in common[first]]
        found[id] = " ".join([first, *(["…"] if len(own) < len(rest) else []), *own])
    return found


def subjects(entries: Sequence[Entry]) -> dict[str, str]:
    """By id, the idea or the claim, with fields named as in ``beds``."""
    names = _names(word for entry in entries for word in entry.subject.split())
    return {entry.id: " ".join(_short(word, names) for word in entry.subject.split()) for entry in entries}


def at(entry: Entry) -> str:
    """What was equal: steps, FLOPs, seconds."""
    return (entry.at or "").removeprefix("equal ")


def _names(words: Iterable[str]) -> dict[str, set[str]]:
    """The fields that words set, by the last part of their names."""
    names: dict[str, set[str]] = {}
    for word in words:
        field, sign, _ = word.partition("=")
        if sign:
            names.setdefault(field.rpartition(".")[2], set()).add(field)
    return names


def _short(word: str, names: dict[str, set[str]]) -> str:
    field, sign, value = word.partition("=")
    last = field.rpartition(".")[2]
    return f"{last}={value}" if sign and len(names[last]) == 1 else word
