"""What pages, figures and tables say, in Chinese: everything is said in English, in one place each, and
``danlu/catalog/phrases.yaml`` has the Chinese of the phrases. What is not there stays English.

A phrase has places. ``{x}``: what stands there is a phrase of the table in its turn, or the whole is not this
one; ``{x:@shelf}``: one of that shelf; ``{x:~}``: a phrase, or a name, which stays; ``{x:=}``: a name or a
command, which stays; ``{x:#}``: a number; ``{x:?}``: whatever is said there; ``{x:, }``: phrases with that
between them (``{x:~, }``: or names).
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from functools import cache, lru_cache
from importlib import resources
from typing import NamedTuple
from unicodedata import east_asian_width

FILE = "phrases.yaml"
BETWEEN = {
    ", ": "，",
    "~, ": "、",
    "; ": "；",
    " and ": "和",
    " or ": "或",
    "; or ": "；或者",
    " against ": "与",
}
PLACE = re.compile(r"\{(\w+)(?::([^}]*))?\}")
NUMBER = r"(?:[-+−~≥] ?)?(?:\d[\d,]*(?:\.\d+)?|\.\d+)(?:e[-+]?\d+)?[%×kMGTPB]?|[-+−]?(?:∞|inf|nan)×?|–"
NAME = r"(?:(?!: |; |\. ).)+?"
SENTENCE = re.compile(r"(?<=[.?]) (?=[A-Z])")

SIGNS = "+-−±$"  # that begin a number or a name
PARTS = 60  # between commas: what has more is a list of the user's, and no phrase

Words = Callable[[str], str]


def words(language: str) -> Words:
    """From what is said in English to what is said in ``language`` (``en``, ``zh``)."""
    return chinese if language == "zh" else english


def english(text: str) -> str:
    """As it is."""
    return text


@lru_cache(maxsize=4096)
def chinese(text: str) -> str:
    """``text`` by the phrase that it is, or sentence by sentence; as it is, where there is none. Line by
    line; white space before a line stays."""
    if "\n" in text:
        return "\n".join(map(chinese, text.split("\n")))
    bare = text.lstrip(" ")
    before = text[: len(text) - len(bare)]
    if (found := _phrase(bare)) is not None:
        return before + found
    sentences = SENTENCE.split(bare)
    if len(sentences) == 1:
        return text
    return before + _put([part for one in sentences for part in (" ", chinese(one))][1:])


@lru_cache(maxsize=4096)
def _phrase(text: str, shelf: str = "") -> str | None:
    """The Chinese of a phrase (of a ``shelf``), of one with a stop too; None where there is none."""
    if text.endswith(".") and (bare := _phrase(text[:-1], shelf)) is not None:
        return f"{bare}。"
    if text.count(",") + text.count(";") > PARTS:
        return None
    exact, phrases = _table()
    if text in exact and shelf in ("", exact[text][0]):
        return exact[text][1]
    for one in phrases:
        if shelf in ("", one.shelf) and one.telling in text and (match := one.pattern.fullmatch(text)):
            found = one.said(match.groupdict())
            if found is not None:
                return found
    return None


class _Phrase(NamedTuple):
    """``shelf``: where it stands; ``telling``: the longest piece of the English between places; ``kinds`` of
    the places, by name; ``pieces`` of the Chinese: what stands there, and in turn the names of places."""

    shelf: str
    telling: str
    pattern: re.Pattern[str]
    kinds: Mapping[str, str]
    pieces: list[str]

    @classmethod
    def of(cls, shelf: str, english: str, zh: str) -> _Phrase:
        kinds = {name: kind or "" for name, kind in PLACE.findall(english)}
        pattern, at = "", 0
        for place in PLACE.finditer(english):
            inside = {"#": NUMBER, "=": NAME, "~": NAME}.get(kinds[place[1]], ".+?")
            pattern += f"{re.escape(english[at : place.start()])}(?P<{place[1]}>{inside})"
            at = place.end()
        pattern += re.escape(english[at:])
        telling = max(PLACE.sub("\0", english).split("\0"), key=len)
        return cls(shelf, telling, re.compile(pattern), kinds, re.split(r"\{(\w+)\}", zh))

    def said(self, found: Mapping[str, str]) -> str | None:
        """With what was found in the places; None where that is no phrase and must be one."""
        there = {name: self._place(name, text) for name, text in found.items()}
        if None in there.values():
            return None
        return _put([(there[piece] or "") if i % 2 else piece for i, piece in enumerate(self.pieces)])

    def _place(self, name: str, text: str) -> str | None:
        kind = self.kinds[name]
        if kind in ("=", "#"):
            return text
        if kind == "?":
            return chinese(text)
        if kind.startswith("@"):
            return _phrase(text, kind[1:])
        between = kind.removeprefix("~")
        said = [_phrase(one) for one in _split(text, between)]
        if not kind.startswith("~") and None in said:
            return None
        kept = [one if zh is None else zh for one, zh in zip(_split(text, between), said, strict=True)]
        comma = BETWEEN.get(kind) or BETWEEN.get(between, "")
        return _put([part for one in kept for part in (comma, one)][1:])


def _split(text: str, between: str) -> list[str]:
    """At ``between``, but not within brackets; whole, where that is empty."""
    parts, depth, start = [], 0, 0
    for i, letter in enumerate(text):
        depth += (letter in "([{") - (letter in ")]}")
        if between and i >= start and not depth and text.startswith(between, i):
            parts.append(text[start:i])
            start = i + len(between)
    return [*parts, text[start:]]


@cache
def _table() -> tuple[Mapping[str, tuple[str, str]], list[_Phrase]]:
    """Phrases without places, with their shelves, and those with places, in their order."""
    from danlu.files.yaml import read_mapping  # of English nothing is read

    shelves = read_mapping(resources.files("danlu") / "catalog" / FILE, FILE)
    every = [(shelf, *pair) for shelf, phrases in shelves.items() for pair in phrases.items()]
    exact = {english: (shelf, zh) for shelf, english, zh in every if not PLACE.search(english)}
    return exact, [_Phrase.of(*one) for one in every if one[1] not in exact]


# ---------------------------------------------------------------- seams


def _put(parts: list[str]) -> str:
    """The parts, with a space between a Chinese character and a Latin letter or a digit, and none beside
    Chinese punctuation or between two Chinese characters."""
    made = ""
    for part in filter(None, parts):
        left, right = made.rstrip(" "), part.lstrip(" ")
        if not left or not right:
            made += part
        elif (_wide(left[-1]) and _wide(right[0])) or _stop(left[-1]) or _stop(right[0]):
            made = left + right
        elif (_wide(left[-1]) and (_latin(right[0]) or right[0] in SIGNS)) or (
            _latin(left[-1]) and _wide(right[0])
        ):
            made = f"{left} {right}"
        else:
            made += part
    return made


def _wide(letter: str) -> bool:
    return east_asian_width(letter) in "WF"


def _stop(letter: str) -> bool:
    return _wide(letter) and not letter.isalnum()


def _latin(letter: str) -> bool:
    return not _wide(letter) and letter.isalnum()
