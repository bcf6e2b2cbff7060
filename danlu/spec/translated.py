"""The Chinese of statements of ideas and claims, and of what is expected of ideas:
``danlu/catalog/zh.yaml``.

They are in a file of their own, since results are kept by what a claim's file says. By shelf and name it has
``zh``, the statement, and ``of``, the mark of the English one that it was made from. Where the English has
changed since, the Chinese might say something else, and is not shown.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from hashlib import sha256
from importlib import resources

from danlu.files.yaml import read_mapping
from danlu.spec.catalog import one_line

FILE = "zh.yaml"


def mark(english: str) -> str:
    """The first eight hexadecimal digits of the SHA-256 of a statement, its white space as single spaces."""
    return sha256(one_line(english).encode()).hexdigest()[:8]


@cache
def entries() -> Mapping[str, Mapping[str, Mapping[str, str]]]:
    """What the file says: shelf (``ideas``, ``claims``, ``expect``), name, then ``of`` and ``zh``."""
    return read_mapping(resources.files("danlu") / "catalog" / FILE, FILE)


def chinese(shelf: str, name: str, english: str) -> str | None:
    """The Chinese for a statement; None where there is none that was made from it."""
    entry = entries()[shelf].get(name)
    return entry["zh"] if entry is not None and entry["of"] == mark(english) else None


def statement(shelf: str, name: str, english: str, language: str) -> str:
    """The statement of an idea or claim, or what is expected of an idea, in ``language`` (``zh``, ``en``), in
    English where that is all there is: of those of the user's own, or of one that was worded anew."""
    return (chinese(shelf, name, english) if language == "zh" else None) or english
