"""The book of claims: sentences that the field states, each with an experiment that tests it.

A claim is a YAML file, ``danlu/catalog/claims/NAME.yaml`` or one of the user's own. It fixes the rule of its
verdict before anything is run. Reading one imports no torch.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from functools import cache
from importlib import resources
from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import Field, ValidationError, model_validator

from danlu.files.errors import FileError
from danlu.files.yaml import is_file_name, read_mapping
from danlu.lab.claims.premises import Again, Contrast, Inside, Made, Number, Premise, with_kind
from danlu.lab.claims.rules import Margin, Needs, Rule, Tune
from danlu.lab.errors import LabError
from danlu.spec import catalog
from danlu.spec.base import NonNegativeFloat, PositiveFloat, PositiveInt, Spec
from danlu.spec.errors import did_you_mean, either
from danlu.spec.explain import explain

SHELF = "claims"
CHAPTERS = {"A": "Architecture", "O": "Optimisation", "S": "Scale"}
ROW = re.compile(r"([AOS])([1-9][0-9]?)")


class Claim(Spec):
    """A statement of the field, the experiment that tests it, and the rule of the verdict.

    ``on``: words that all runs have in common; ``arms``: what each has besides, by name. ``tune``: a field of
    which each arm gets its own best value before anything is compared. ``over``: a field and its points
    (``danlu.lab.grids``) instead; each arm is then run at each of them. ``measure``: of each run, a name of
    ``danlu.lab.measures``; a mapping where arms are measured differently. ``of``: what is made of the runs of
    an arm ``over`` the points (``danlu.lab.claims.values``); ``slack`` belongs to ``ceiling``.

    The effect of a seed is Σ ``contrast`` · (the arm's value, or its log₂ by ``scale``), in ``unit``;
    ``holds`` is the rule for its interval over ``seeds``. ``margin``: what would matter. ``sd``: the spread
    of the effect of one seed where it is known, by which the power is planned. ``premises``: what must be
    true of the arms, those outside of the contrast too, before the effect means anything. ``needs``: what a
    small machine does not have. ``timeless``: why the regime of the runs does not matter to the statement.

    ``diverged`` is what a run counts as whose loss is not finite; without it such a seed has no effect and
    nothing is shown. ``note``: why this tests the statement, and what differs from the source. ``reading``:
    written after it ran; what it may mean.

    A claim of the first form has none of tune, premises, needs, timeless, and as margin at most the number
    that its ``of: range`` needs; ``best`` and ``range`` are of that form alone.
    """

    statement: str
    source: str
    rows: Annotated[tuple[str, ...], Field(min_length=1)]
    on: str
    arms: Annotated[dict[str, str], Field(min_length=1)]
    tune: Tune | None = None
    over: dict[str, str] | None = None
    measure: str | dict[str, str]
    of: Literal["best", "range"] | Made | None = None
    slack: NonNegativeFloat | None = None
    contrast: dict[str, float]
    scale: Literal["linear", "log2"] = "linear"
    unit: str
    holds: Rule
    margin: NonNegativeFloat | Margin | None = None
    seeds: Annotated[PositiveInt, Field(ge=2)]
    sd: PositiveFloat | None = None
    premises: tuple[Premise, ...] = ()
    needs: Needs | None = None
    timeless: str | None = None
    diverged: float | None = None
    note: str
    reading: str = ""

    @property
    def chapter(self) -> str:
        """The letter of the first row: ``A``, ``O`` or ``S``."""
        return self.rows[0][0]

    @property
    def second(self) -> bool:
        """Whether it is of the second form: with premises, or what else the first form does not know."""
        return bool(
            self.tune or self.premises or self.needs or self.timeless or isinstance(self.margin, Margin)
        )

    @property
    def field(self) -> str:
        """The field of the points; empty where there are none."""
        return next(iter(self.over or ()), "")

    def measure_of(self, arm: str) -> str:
        """The measure of the runs of ``arm``, as the contrast takes it."""
        return self.measure if isinstance(self.measure, str) else self.measure[arm]

    @property
    def tuned(self) -> tuple[str, ...]:
        """The arms that are tuned."""
        return () if self.tune is None else self.tune.arms or tuple(self.arms)

    def measured_by(self, premise: Number | Contrast | Again, arm: str) -> str:
        """The measure that a premise takes of an arm: the claim's unless it says another."""
        if isinstance(premise.measure, dict):
            return premise.measure[arm]
        return premise.measure or self.measure_of(arm)

    def arms_of(self, premise: Premise) -> tuple[str, ...]:
        """The arms that a premise reads."""
        match premise:
            case Number(arm=str(arm)):
                return (arm,)
            case Number(arms=tuple(arms)):
                return arms
            case Number():
                return tuple(self.arms)
            case Contrast():
                return tuple(premise.contrast)
            case Again():
                return (premise.again,)
            case Inside() if isinstance(self.measure, str):
                return tuple(self.arms)
            case _:
                return tuple(self.contrast)

    @model_validator(mode="after")
    def _whole(self) -> Self:
        for row in self.rows:
            if not ROW.fullmatch(row):
                raise ValueError(f"rows: {row!r} is not a row; allowed: A, O or S and a number, such as A8")
        _known("contrast", self.contrast, self.arms)
        _a_difference("contrast", self.contrast, alone=True)
        read = {arm for premise in self.premises for arm in self.arms_of(premise)}
        if idle := [arm for arm in self.arms if arm not in self.contrast and arm not in read]:
            raise ValueError(f"arms: {', '.join(idle)} is in no contrast and in no premise")
        if not isinstance(self.measure, str) and set(self.measure) != set(self.contrast):
            raise ValueError(
                f"measure must name the arms of the contrast, {', '.join(self.contrast)}, and no others"
            )
        if (self.over is None) != (self.of is None):
            raise ValueError("over and of belong together: points, and what is made of the runs over them")
        if self.over is not None and len(self.over) != 1:
            raise ValueError(f"over = {', '.join(self.over)}: allowed is one field with its points")
        if (self.of == "range") != isinstance(self.margin, float):
            raise ValueError("margin belongs to of = range as a number, and range needs it")
        if (self.of == "ceiling") != (self.slack is not None):
            raise ValueError("slack belongs to of = ceiling, and ceiling needs it")
        if self.second:
            self._of_the_second_form()
        return self

    def _of_the_second_form(self) -> None:
        if self.of in ("best", "range"):
            other = "tune: {field: FIELD}" if self.of == "best" else "of: sensitivity or ceiling"
            raise ValueError(
                f"of = {self.of} is of the first form: it rewards luck and a bad best; write {other}"
            )
        _known("tune.arms", self.tuned, self.arms)
        if self.tune is not None and self.over is not None:
            raise ValueError("tune and over exclude each other: an arm is at its best, or at every point")
        if self.of == "sensitivity" and self.diverged is not None:
            raise ValueError(
                "diverged does not go with of = sensitivity, where it counts the loss at the start"
            )
        for premise in self.premises:
            try:
                self._check(premise)
            except ValueError as error:
                raise ValueError(f"premise {premise.name!r}: {error}") from None
        if len(self.contrast) > 1 and (self.margin is None or not self.premises):
            raise ValueError("a difference needs a margin, what would matter, and premises")
        rules = [
            self.holds,
            *(p.rule for p in self.premises if isinstance(p, Number | Contrast | Again) and p.rule),
        ]
        if self.margin is None and any(rule.names_margin for rule in rules):
            raise ValueError("a rule names the margin, and there is none")
        if isinstance(self.margin, Margin) and self.margin.cec is not None:
            _known("margin.arm", [self.margin.arm or ""], self.arms)
            if self.over is not None or not isinstance(self.measure, str) or self.scale != "linear":
                raise ValueError("margin.cec is of a loss, on a linear scale and without points")

    def _check(self, premise: Premise) -> None:
        _known("it names arms", self.arms_of(premise), self.arms)
        if isinstance(premise, Inside) and premise.over != (self.tune.field if self.tune else self.field):
            raise ValueError(f"over = {premise.over} is neither what is tuned nor what the points are of")
        at = premise.at if isinstance(premise, Number | Contrast | Again) else None
        if self.over is None and (at is not None or (isinstance(premise, Number) and premise.of is not None)):
            raise ValueError("at and of are about points, and the claim has none over a field")
        if (
            isinstance(premise, Number | Contrast | Again)
            and premise.measure is None
            and not isinstance(self.measure, str)
        ):
            raise ValueError("measure is missing: the claim has several")
        other = isinstance(premise, Contrast | Again) and premise.measure not in (None, self.measure)
        if other and self.over is not None and at is None:
            raise ValueError("another measure than the claim's is of one point: say at which")
        if isinstance(premise, Contrast):
            _a_difference("contrast", premise.contrast)
            if isinstance(premise.measure, dict):
                _known("measure", premise.contrast, premise.measure)
            if premise.measure in (None, self.measure) and _proportional(premise.contrast, self.contrast):
                raise ValueError("it reads the claim's own contrast, which only the verdict may")


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


def with_bases(chosen: Mapping[str, Claim]) -> dict[str, Claim]:
    """``chosen``, and the claims of the book of whose effects their margins are shares."""
    margins = (claim.margin for claim in chosen.values() if isinstance(claim.margin, Margin))
    return {**{of: claim(of) for margin in margins if (of := margin.of) and of not in chosen}, **chosen}


def read(written: dict[str, Any], name: str) -> Claim:
    """A claim as it is written. Raises LabError with a sentence for each problem, after ``name``."""
    written = _as_read(written)
    try:
        return Claim.model_validate(written)
    except ValidationError as error:
        sentences = explain(error, written, Claim).values()
    # Of a margin that is neither, pydantic tells what is wrong of it as a number, too.
    told = [sentence for sentence in sentences if "constrained-float" not in sentence]
    text = "\n".join(f"claim {name}: {sentence}" for sentence in told or sentences)
    text = text.replace("a field of Claim", "a field of a claim").replace("anything", "a mapping by name")
    raise LabError(text)


@cache
def _of_the_book(name: str) -> Claim:
    try:
        written = read_mapping(resources.files("danlu") / "catalog" / SHELF / f"{name}.yaml", f"claim {name}")
    except FileError as error:
        raise LabError(str(error)) from None
    return read(written, name)


def _as_read(written: dict[str, Any]) -> dict[str, Any]:
    """Sentences on one line, premises with their kind."""
    read = {k: catalog.one_line(value) if isinstance(value, str) else value for k, value in written.items()}
    if isinstance(read.get("premises"), list):
        read["premises"] = [with_kind(premise) for premise in read["premises"]]
    return read


def _known(what: str, given: Iterable[str], arms: Mapping[str, str]) -> None:
    if strange := [arm for arm in given if arm not in arms]:
        raise ValueError(f"{what}: {', '.join(strange)} is no arm; there are {', '.join(arms)}")


def _a_difference(what: str, weights: Mapping[str, float], alone: bool = False) -> None:
    total = sum(weights.values())
    if abs(total) > 1e-9 and not (alone and len(weights) == 1):
        raise ValueError(f"{what}: the weights sum to {total:g}; those of a difference sum to 0")


def _proportional(a: Mapping[str, float], b: Mapping[str, float]) -> bool:
    """Whether the weights are the same but for a factor."""
    arms = [*a, *(arm for arm in b if arm not in a)]
    x, y = [a.get(arm, 0.0) for arm in arms], [b.get(arm, 0.0) for arm in arms]
    cross = [x[i] * y[j] - x[j] * y[i] for i in range(len(arms)) for j in range(i)]
    return all(abs(value) < 1e-9 for value in cross)


def _order(row: str) -> tuple[str, int]:
    return row[0], int(row[1:])
