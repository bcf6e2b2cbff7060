"""Grids written into words: ``optimizer.lr=1e-4..1e-1/3``, ``model.layers=2,3,4``, ``+glu|+swiglu|``.

    1e-4..1e-1/3     a logarithmic grid, three points a decade, both ends included
    1e-4..1e-1       a range to draw from, uniform in the logarithm
    2,3,4            these values; one of them may be a grid: 0,1e-3..1e-1/1
    adamw|lion       these texts
    +glu|+swiglu|    these words; an empty one is none of them; one in quotes may hold several

A comma or a bar inside brackets or quotes separates nothing. Whole ends (``64..1024/4``) make whole points.
"""

from __future__ import annotations

import itertools
import math
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from danlu.files.errors import FileError
from danlu.files.numbers import scientific
from danlu.files.yaml import brief, parse
from danlu.lab.errors import LabError
from danlu.spec.overrides import OVERRIDE
from danlu.spec.schema import Accepts, adapt

DENSEST = 100  # points a decade that three significant digits tell apart

_SPAN = re.compile(r"([^/]+?)\.\.([^/]+)(?:/([^/]*))?")
_MEANT_AS_SPAN = re.compile(r"[-+]?[0-9][^/]*\.\.")  # not ../texts
_OPENING, _CLOSING = "[{(", "]})"


@dataclass(frozen=True)
class Dimension:
    """What differs between the points of a space.

    ``name``: the field; for a choice of words, the choice as typed. ``values``: as they are typed, at least
    two, in order; none for a range. ``span``: the ends of a range. ``whole``: of a range of whole numbers.
    """

    name: str
    values: tuple[str, ...] = ()
    span: tuple[float, float] | None = None
    whole: bool = False

    @property
    def is_field(self) -> bool:
        return OVERRIDE.fullmatch(f"{self.name}=") is not None

    def words(self, value: str) -> list[str]:
        """The words of the point ``value``: none, where a choice is left empty."""
        return [f"{self.name}={value}"] if self.is_field else value.split()


def points(text: str) -> list[Any]:
    """The values of a grid: numbers where they are numbers, else texts. Raises LabError where it is none."""
    return [value if (value := number(typed)) is not None else typed for typed in _values(text)]


def expand(words: Sequence[str]) -> list[list[str]]:
    """The product of the grids in the words, each a list of plain words; the last grid turns fastest."""
    parts = [dimension(word) or word for word in words]
    choices = []
    for part in parts:
        if isinstance(part, str):
            choices.append([[part]])
        elif part.span is not None:
            raise LabError(_no_grid(f"{part.name}={written(part.span[0])}..{written(part.span[1])}"))
        else:
            choices.append([part.words(value) for value in part.values])
    return [list(itertools.chain(*choice)) for choice in itertools.product(*choices)]


def dimension(word: str) -> Dimension | None:
    """What a word spans; None where it is a plain word. Raises LabError where it is neither."""
    match = None if word.startswith(("+", "|")) else OVERRIDE.fullmatch(word)
    if match is None:
        texts = _unique(" ".join(text.split()) for text in _split(word, "|"))
        return Dimension(word, texts) if len(texts) > 1 else None
    name, text = match.groups()
    try:
        ends = _span(text)
        if ends is not None and ends[2] is None:
            low, high, _ = ends
            return Dimension(name, span=(low, high), whole=isinstance(low, int) and isinstance(high, int))
        values = _values(text)
    except LabError as error:
        raise LabError(f"{name}={text}: {error}") from None
    return Dimension(name, values) if len(values) > 1 else None


@lru_cache(maxsize=10_000)  # YAML is slow, and a table asks for the same few again and again
def number(text: str) -> float | int | None:
    """The number that a text is, ``64k`` and ``1e-3`` too; None where it is something else."""
    try:
        value = parse(text)
    except FileError:
        return None
    if isinstance(value, str):  # 64k
        value = adapt(value, Accepts(scalars=(int,)))
    return value if isinstance(value, int | float) and not isinstance(value, bool) else None


def written(value: float | int) -> str:
    """A number as one types it, no digit lost: 2, 0.05, 2.15e-4."""
    if isinstance(value, int) or value == 0 or 1e-2 <= abs(value) < 1e5:
        return repr(value)
    return scientific(value)


def log_grid(low: float, high: float, per_decade: int) -> list[float]:
    """From ``low`` to ``high``, both included, as near ``per_decade`` points a decade as the ends allow; what
    lies between is rounded to three digits, or to whole numbers where both ends are whole."""
    intervals = max(1, round(math.log10(high / low) * per_decade))
    between = [low * (high / low) ** (i / intervals) for i in range(1, intervals)]
    if isinstance(low, int) and isinstance(high, int):
        return sorted({low, *map(round, between), high})
    return [low, *(float(f"{value:.3g}") for value in between), high]


def _values(text: str) -> tuple[str, ...]:
    """The points of the text after ``field=``, as typed."""
    if len(choices := _split(text, "|")) > 1:
        if not all(map(str.strip, choices)):
            raise LabError("a choice is empty; write none for nothing")
        return _unique(map(_canonical, choices))
    items = _split(text, ",")
    values: list[str] = []
    for item in items:
        ends = _span(item)
        if ends is None:
            if len(items) > 1 and not item.strip():
                raise LabError("a value of the list is empty")
            values.append(_canonical(item))
            continue
        low, high, per_decade = ends
        if per_decade is None:
            raise LabError(_no_grid(item.strip()))
        values += map(written, log_grid(low, high, per_decade))
    return _unique(values)


def _span(text: str) -> tuple[float, float, int | None] | None:
    """``1e-4..1e-1/3`` → its ends and points a decade; None where the text is no such thing."""
    text = text.strip()
    match = _SPAN.fullmatch(text)
    low, high = (number(match[1]), number(match[2])) if match else (None, None)
    if match is None or low is None or high is None:
        if _MEANT_AS_SPAN.match(text):
            raise LabError(
                f"{brief(text)} is not a grid; write LOW..HIGH/POINTS-A-DECADE, as in 1e-4..1e-1/3"
            )
        return None
    if not 0 < low < high or math.isinf(high / low):
        raise LabError(
            f"{brief(text)}: a logarithmic grid goes upwards from above 0; list other values: 0,0.1,0.3"
        )
    if match[3] is None:
        return low, high, None
    if not re.fullmatch(r"[0-9]+", match[3]) or not 1 <= int(match[3]) <= DENSEST:
        raise LabError(
            f"{match[3]!r} points a decade: a whole number from 1 to {DENSEST} comes after the slash"
        )
    return low, high, int(match[3])


def _no_grid(text: str) -> str:
    return f"{text} is a range without points: add how many a decade, as in {text}/3"


def _canonical(text: str) -> str:
    """Equal numbers are equal texts."""
    value = number(text)
    return text.strip() if value is None else written(value)


def _unique(values: Iterable[str]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(values))


def _split(text: str, at: str) -> list[str]:
    """The parts between ``at`` outside of brackets and quotes."""
    parts, depth, quote = [""], 0, ""
    for sign in text:
        if quote:
            quote = "" if sign == quote else quote
        elif sign in "'\"":
            quote = sign
        else:
            depth += (sign in _OPENING) - (sign in _CLOSING)
        if sign == at and depth == 0 and not quote:
            parts.append("")
        else:
            parts[-1] += sign
    return parts
