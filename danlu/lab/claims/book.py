"""The book of claims: sentences that the field states, each with an experiment that tests it.

A claim is a YAML file, ``danlu/catalog/claims/NAME.yaml`` or one of the user's own. It fixes the rule of its
verdict before anything is run. Reading one imports no torch.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterable
from functools import cache
from importlib import resources
from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import Field, ValidationError, model_validator

from danlu.files.errors import FileError
from danlu.files.yaml import is_file_name, read_mapping
from danlu.lab.errors import LabError
from danlu.spec import catalog
from danlu.spec.base import NonNegativeFloat, PositiveInt, Spec
from danlu.spec.errors import did_you_mean, either
from danlu.spec.explain import explain

SHELF = "claims"
CHAPTERS = {"A": "Architecture", "O": "Optimisation", "S": "Scale"}
ROW = re.compile(r"([AOS])([1-9][0-9]?)")


class Rule(Spec):
    """Where the effect must lie for the claim to hold: ``above`` a number, ``below`` one, ``within`` two."""

    above: float | None = None
    below: float | None = None
    within: tuple[float, float] | None = None

    @model_validator(mode="after")
    def _one(self) -> Self:
        if sum(bound is not None for bound in (self.above, self.below, self.within)) != 1:
            raise ValueError("a rule is one of above: x, below: x, within: [a, b]")
        if self.within is not None and not self.within[0] < self.within[1]:
            raise ValueError(f"within = {list(self.within)} is empty; the first must be below the second")
        return self

    @property
    def bounds(self) -> tuple[float, float]:
        """Between which two numbers the effect must lie."""
        if self.within is not None:
            return self.within
        return (
            -math.inf if self.above is None else self.above,
            math.inf if self.below is None else self.below,
        )

    def __str__(self) -> str:
        if self.within is not None:
            return f"within {self.within[0]:g} and {self.within[1]:g}"
        return f"above {self.above:g}" if self.above is not None else f"below {self.below:g}"


class Claim(Spec):
    """A statement of the field, the experiment that tests it, and the rule of the verdict.

    ``on``: words that all runs have in common; ``arms``: what each has besides, by name. ``over``: a field
    and its points (``danlu.lab.grids``); each arm is then run at each of them. ``measure``: of each run, a
    name of ``danlu.lab.measures``; a mapping where arms are measured differently. ``of``: what is made of the
    runs of an arm ``over`` the points: the best measure (``best``: the lowest, or the highest where higher is
    better), log₂ of the point where it is best (``argbest``), the octaves of points over which it stays
    within ``margin`` of its best (``range``), the slope of its log₂ against that of the point (``slope``), or
    the first minus the last (``drop``).

    The effect of a seed is Σ ``contrast`` · (the arm's value, or its log₂ by ``scale``), in ``unit``;
    ``holds`` is the rule for its 95 % interval over ``seeds``. ``diverged`` is what a run counts as whose
    loss is not finite; without it such a seed has no effect and nothing is shown. ``note``: why this tests
    the statement, and what differs from the source. ``reading``: written after it ran; what it may mean.
    """

    statement: str
    source: str
    rows: Annotated[tuple[str, ...], Field(min_length=1)]
    on: str
    arms: Annotated[dict[str, str], Field(min_length=1)]
    over: dict[str, str] | None = None
    measure: str | dict[str, str]
    of: Literal["best", "argbest", "range", "slope", "drop"] | None = None
    margin: NonNegativeFloat | None = None
    contrast: dict[str, float]
    scale: Literal["linear", "log2"] = "linear"
    unit: str
    holds: Rule
    seeds: Annotated[PositiveInt, Field(ge=2)]
    diverged: float | None = None
    note: str
    reading: str = ""

    @property
    def chapter(self) -> str:
        """The letter of the first row: ``A``, ``O`` or ``S``."""
        return self.rows[0][0]

    def measure_of(self, arm: str) -> str:
        """The measure of the runs of ``arm``."""
        return self.measure if isinstance(self.measure, str) else self.measure[arm]

    @model_validator(mode="after")
    def _whole(self) -> Self:
        for row in self.rows:
            if not ROW.fullmatch(row):
                raise ValueError(f"rows: {row!r} is not a row; allowed: A, O or S and a number, such as A8")
        _same_names("contrast", self.contrast, self.arms)
        if not isinstance(self.measure, str):
            _same_names("measure", self.measure, self.arms)
        if len(self.arms) > 1 and abs(sum(self.contrast.values())) > 1e-9:
            total = sum(self.contrast.values())
            raise ValueError(f"contrast: the weights sum to {total:g}; those of a difference sum to 0")
        if (self.over is None) != (self.of is None):
            raise ValueError("over and of belong together: points, and what is made of the runs over them")
        if self.over is not None and len(self.over) != 1:
            raise ValueError(f"over = {', '.join(self.over)}: allowed is one field with its points")
        if (self.of == "range") != (self.margin is not None):
            raise ValueError("margin belongs to of = range, and range needs it")
        return self


def names() -> tuple[str, ...]:
    """The claims of the book, in alphabetical order."""
    return catalog.names(SHELF)


def claim(name: str) -> Claim:
    """The claim of that name, or in that YAML file. Raises LabError with the nearest name if there is none,
    or with a sentence for each problem that it has."""
    if is_file_name(name):
        return read(read_mapping(Path(name), name), name)
    if name not in names():
        holding = [known for known in names() if name in known][:3]
        hint = f"; did you mean {either(holding)}?" if holding else did_you_mean(name, names())
        raise LabError(f"there is no claim named {name}{hint or '.'} `danlu prove --list` shows all")
    return _of_the_book(name)


def claims(wanted: Iterable[str] | None = None) -> dict[str, Claim]:
    """Claims by name in the order given; left out, the whole book in the order of its rows."""
    if wanted is None:
        book = {name: claim(name) for name in names()}
        return dict(sorted(book.items(), key=lambda item: (_order(item[1].rows[0]), item[0])))
    return {Path(name).stem if is_file_name(name) else name: claim(name) for name in wanted}


def read(written: dict[str, Any], name: str) -> Claim:
    """A claim as it is written. Raises LabError with a sentence for each problem, after ``name``."""
    try:
        return Claim.model_validate(_on_one_line(written))
    except ValidationError as error:
        sentences = explain(error, written, Claim).values()
    text = "\n".join(f"claim {name}: {sentence}" for sentence in sentences)
    text = text.replace("a field of an experiment", "a field of a claim").replace(
        "anything", "a mapping by name"
    )
    raise LabError(text)


@cache
def _of_the_book(name: str) -> Claim:
    try:
        written = read_mapping(resources.files("danlu") / "catalog" / SHELF / f"{name}.yaml", f"claim {name}")
    except FileError as error:
        raise LabError(str(error)) from None
    return read(written, name)


def _on_one_line(written: dict[str, Any]) -> dict[str, Any]:
    return {
        key: catalog.one_line(value) if isinstance(value, str) else value for key, value in written.items()
    }


def _same_names(field: str, given: dict[str, Any], arms: dict[str, str]) -> None:
    if differ := sorted(set(given) ^ set(arms)):
        raise ValueError(
            f"{field} must name the arms, {', '.join(arms)}, and no others; at odds: {', '.join(differ)}"
        )


def _order(row: str) -> tuple[str, int]:
    return row[0], int(row[1:])
