"""The space that a sweep searches: words, some of which are grids or ranges."""

from __future__ import annotations

import hashlib
import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from random import Random

from danlu.lab.errors import LabError
from danlu.lab.grids import Dimension, dimension, number, written
from danlu.spec import Experiment, resolve
from danlu.spec.errors import SpecError
from danlu.spec.words import in_full

Point = dict[str, str]  # by the dimension's name, as typed; equal numbers are equal texts

DRAWN_DIGITS = 4  # significant, of a value drawn from a range
PATIENCE = 10_000  # draws without a new point, after which a space has no more
CORNERS = 500


@dataclass(frozen=True)
class Space:
    """``parts``: the words in the order typed, those that span a dimension taken apart."""

    parts: tuple[str | Dimension, ...]

    @classmethod
    def read(cls, words: Sequence[str]) -> Space:
        """Fields get their full names. Raises LabError where no word spans anything, or two span one field,
        SpecError where a name may be several fields or the words cannot be laid over one another."""
        space = cls(_in_full([dimension(word) or word for word in words]))
        names = [found.name for found in space.dimensions]
        if not names:
            raise LabError(
                "no word spans a space: write one as a grid, such as optimizer.lr=1e-4..1e-1/3, "
                "model.layers=2,3,4 or '+glu|+swiglu|'"
            )
        if twice := next((name for name in names if names.count(name) > 1), None):
            raise LabError(f"{twice} spans two dimensions; write one grid for it")
        return space

    @cached_property
    def dimensions(self) -> tuple[Dimension, ...]:
        return tuple(part for part in self.parts if isinstance(part, Dimension))

    @property
    def fixed(self) -> list[str]:
        """The plain words."""
        return [part for part in self.parts if isinstance(part, str)]

    @property
    def names(self) -> list[str]:
        return [found.name for found in self.dimensions]

    @property
    def size(self) -> float:
        """The number of points; infinite where a dimension is a range."""
        return math.prod(map(_count, self.dimensions))

    def words(self, point: Point) -> list[str]:
        """The plain words of a point."""
        pieces = ([part] if isinstance(part, str) else part.words(point[part.name]) for part in self.parts)
        return list(itertools.chain(*pieces))

    def experiment(self, point: Point, steps: int | None = None) -> Experiment:
        """What is run at a point, for ``steps`` updates where they are given; not compiled, since a study's
        runs are short. Raises LabError where there is no such experiment, or where time bounds it."""
        words = self.words(point) + ([f"train.steps={steps}"] if steps else [])
        try:
            found = resolve(words)
        except SpecError as error:
            raise LabError(f"at {said(point)}: {error}") from None
        if found.train.seconds is not None:
            raise LabError(
                f"the runs are bounded by train.seconds = {found.train.seconds:g}, so no two would be as "
                "long; add a bound in updates, such as train.steps=500"
            )
        if found.train.compile != "auto":
            return found
        return found.model_copy(update={"train": found.train.model_copy(update={"compile": False})})

    def grid(self) -> list[Point]:
        """Every point; the last dimension turns fastest. Raises LabError where one is a range."""
        for found in self.dimensions:
            if found.span is not None:
                ends = "..".join(map(written, found.span))
                raise LabError(
                    f"{found.name}={ends} is a range: add how many points a decade ({ends}/3) for a grid, "
                    "or say how many points to draw (--trials 20)"
                )
        values = (found.values for found in self.dimensions)
        return [dict(zip(self.names, chosen, strict=True)) for chosen in itertools.product(*values)]

    def drawn(self, count: int) -> list[Point]:
        """So many points at random, each once, or as many as there are; a longer list begins with a
        shorter."""
        found: dict[str, Point] = {}
        last = 0  # the draw that brought the last new point
        for i in itertools.count():
            if len(found) >= min(count, self.size) or i > last + PATIENCE:
                break
            point = {one.name: draw(one, i) for one in self.dimensions}
            if said(point) not in found:
                found[said(point)], last = point, i
        return list(found.values())

    def corners(self) -> list[Point]:
        """Points by which one sees whether a space can be searched: all values of choices, the ends of
        ranges."""
        chosen = itertools.islice(itertools.product(*map(_ends, self.dimensions)), CORNERS)
        return [dict(zip(self.names, corner, strict=True)) for corner in chosen]


def _in_full(parts: Sequence[str | Dimension]) -> tuple[str | Dimension, ...]:
    """The parts with the full names of fields, as they are at the first point."""
    first = [[part] if isinstance(part, str) else part.words(_ends(part)[0]) for part in parts]
    full = iter(in_full(list(itertools.chain(*first))))
    found: list[str | Dimension] = []
    for part, words in zip(parts, first, strict=True):
        named = list(itertools.islice(full, len(words)))
        if isinstance(part, str):
            found += named
        else:
            found.append(replace(part, name=named[0].partition("=")[0]) if part.is_field else part)
    return tuple(found)


def _ends(dimension: Dimension) -> tuple[str, ...]:
    """The ends of a range, else all values."""
    return tuple(map(written, dimension.span)) if dimension.span else dimension.values


def draw(dimension: Dimension, i: int) -> str:
    """The ``i``-th value drawn from a dimension: a function of its name and ``i`` alone, so that a longer
    search begins with the shorter one."""
    u = Random(f"{dimension.name} {i}").random()
    if dimension.span is None:
        return dimension.values[int(u * len(dimension.values))]
    low, high = dimension.span
    return at(dimension, low * (high / low) ** u)


def at(dimension: Dimension, value: float) -> str:
    """A value inside a range, as one would type it."""
    low, high = dimension.span or (value, value)
    rounded = round(value) if dimension.whole else float(f"{value:.{DRAWN_DIGITS}g}")
    return written(min(max(rounded, low), high))


def said(point: Point) -> str:
    """A point in words: ``optimizer.lr=1e-3 +glu``."""
    pieces = (f"{name}={value}" if not _is_choice(name) else value for name, value in point.items())
    return " ".join(piece for piece in pieces if piece) or "no word of the choice"


def value_said(value: str) -> str:
    """A value in a table."""
    return value or "without"


def plain(point: Point) -> dict[str, float | str]:
    """A point as JSON has it: numbers as numbers."""
    return {name: value if (found := number(value)) is None else found for name, value in point.items()}


def _count(dimension: Dimension) -> float:
    if dimension.span is None:
        return len(dimension.values)
    low, high = dimension.span
    return high - low + 1 if dimension.whole else math.inf


def digest(text: str) -> str:
    """A short name for a long text."""
    return hashlib.sha256(text.encode()).hexdigest()[:10]


def _is_choice(name: str) -> bool:
    return "|" in name
