"""Words: commands as templates with places such as ``{seed}``, which no shell reads; numbers of things."""

from __future__ import annotations

import re
import shlex
from collections.abc import Collection, Mapping, Sequence

from danlu.lab.errors import LabError
from danlu.spec.errors import did_you_mean, either

PLACE = re.compile(r"\{\{|\}\}|\{(\w+)\}")
SHELL = ("&&", "||", "|", ";", "&", ">", ">>", "<", "2>&1")


def split(text: str, field: str, places: Collection[str] = (), alone: Collection[str] = ()) -> list[str]:
    """The words of a template. Places are ``{NAME}``; ``{{`` and ``}}`` stand for braces. Places ``alone``
    are words of their own, in which several words may be put. Raises ``LabError``."""
    try:
        words = shlex.split(text)
    except ValueError as error:
        raise LabError(f"{field}: {error} in {text!r}; close it") from None
    for word in words:
        if word in SHELL:
            raise LabError(
                f"{field} holds {word}, but no shell reads it; put the command into a script, or write "
                f"bash -c '...'"
            )
        for name in places_of([word]):
            if name not in (*places, *alone):
                known = [f"{{{place}}}" for place in (*alone, *places)]
                hint = did_you_mean(f"{{{name}}}", known)
                allowed = f"allowed: {either(known)}" if known else "none is allowed"
                raise LabError(
                    f"{field} holds {{{name}}}{hint or f'; {allowed}'}; a brace itself is written twice"
                )
            if name in alone and word != f"{{{name}}}":
                raise LabError(f"{field}: {{{name}}} stands for several words; set it apart in {word!r}")
    return words


def places_of(words: Sequence[str]) -> set[str]:
    """The names of the places in a template."""
    return {match[1] for word in words for match in PLACE.finditer(word) if match[1]}


def fill(words: Sequence[str], said: Mapping[str, str | Sequence[str]]) -> list[str]:
    """The template with its places filled: a text within its word, a sequence as words of their own."""
    found: list[str] = []
    for word in words:
        whole = said.get(word[1:-1]) if PLACE.fullmatch(word) else None
        if whole is not None and not isinstance(whole, str):
            found += whole
        else:
            found.append(PLACE.sub(lambda match: _put(match, said), word))
    return found


def _put(match: re.Match[str], said: Mapping[str, str | Sequence[str]]) -> str:
    return str(said[match[1]]) if match[1] else match[0][0]


def count(number: int, what: str) -> str:
    """``1 run``, ``2 runs``."""
    return f"{number:,} {what}" if number == 1 else f"{number:,} {what}s"
