"""Conditions on a run or an installation, as a person writes them: ``parameters > 10M``, ``danlu >= 0.4``.
They are parsed and never evaluated."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from importlib import metadata
from typing import Any

from danlu.files.numbers import SUFFIXES
from danlu.lab.errors import LabError
from danlu.spec.errors import did_you_mean, either

NUMBERS = ("parameters", "steps", "tokens", "flops", "seconds")
VERSIONS = ("danlu", "torch")

_CONDITION = re.compile(r"\s*([A-Za-z_][\w-]*)\s*(>=|<=|>|<)\s*(\S+)\s*")
_NUMBER = re.compile(r"([0-9]+(?:\.[0-9]+)?(?:[eE][-+]?[0-9]+)?)([kKmMbBgGtT]?)")
_VERSION = re.compile(r"[0-9]+(?:\.[0-9]+)*")

Facts = Mapping[str, float | str]


@dataclass(frozen=True)
class Condition:
    """``name relation bound``: of a number, or of a version as its whole numbers."""

    name: str
    relation: str
    bound: float | tuple[int, ...]

    def holds(self, facts: Facts) -> bool:
        """Whether it is true; not where the fact is not known."""
        fact = facts.get(self.name)
        if fact is None:
            return False
        value: Any = version(str(fact)) if isinstance(self.bound, tuple) else float(fact)
        bound: Any = self.bound
        match self.relation:
            case ">":
                return bool(value > bound)
            case ">=":
                return bool(value >= bound)
            case "<":
                return bool(value < bound)
        return bool(value <= bound)


def condition(text: str) -> Condition | None:
    """The condition that ``text`` is; None where it is words. Raises LabError for one that cannot be met."""
    if (match := _CONDITION.fullmatch(text)) is None:
        return None
    name, relation, bound = match.groups()
    if name in VERSIONS:
        if _VERSION.fullmatch(bound) is None:
            raise LabError(f"revisit = {text!r}: {bound} is not a version such as 0.3")
        return Condition(name, relation, version(bound))
    if name not in NUMBERS:
        known = (*NUMBERS, *VERSIONS)
        raise LabError(
            f"revisit = {text!r} asks for {name}{did_you_mean(name, known)}; known: {either(known)}"
        )
    if (number := _NUMBER.fullmatch(bound)) is None:
        raise LabError(f"revisit = {text!r}: {bound} is not a number such as 5000 or 10M")
    digits, suffix = number.groups()
    return Condition(name, relation, float(digits) * SUFFIXES.get(suffix.lower(), 1))


def plain(text: str) -> None:
    """Raises LabError for what is neither a condition nor plainly words: with a sign of a comparison in it a
    person means a condition, which would never hold."""
    if not text.strip():
        raise LabError("revisit is empty; say when in words, or as a condition such as 'parameters > 10M'")
    if condition(text) is None and (sign := re.search(r"[<>=≥≤]+", text)):
        raise LabError(
            f"revisit = {text!r} is no condition, and for words it has a {sign[0]}; a condition is one of "
            f"{', '.join((*NUMBERS, *VERSIONS))}, then >, >=, < or <=, then a number such as 10M"
        )


def version(text: str) -> tuple[int, ...]:
    """The leading whole numbers of a version, without zeros at the end: 2.11.0+cpu → (2, 11)."""
    found = re.match(r"[0-9]+(?:\.[0-9]+)*", text)
    numbers = [int(part) for part in found[0].split(".")] if found else []
    while numbers and numbers[-1] == 0:
        numbers.pop()
    return tuple(numbers)


def torch_version() -> str | None:
    """PyTorch's version, without importing it; None where there is none."""
    try:
        return metadata.version("torch")
    except metadata.PackageNotFoundError:
        return None
