"""One claim as it is written: its fields, and what they must be to each other."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Annotated, Any, Literal, Self

from pydantic import Field, field_validator, model_validator

from danlu.lab.claims.premises import Again, Contrast, Inside, Measuring, Number, Premise, by_margin
from danlu.lab.claims.rules import Margin, Needs, Profile, Rule, Tune
from danlu.lab.claims.values import Made
from danlu.spec.base import NonNegativeFloat, PositiveFloat, PositiveInt, Spec

CHAPTERS = {"A": "Architecture", "O": "Optimisation", "S": "Scale", "G": "Generation", "C": "Compression"}
ROW = re.compile(r"([ACGOPS])([1-9][0-9]?)")
INSTEAD = {  # of what old claims say
    "best": "best rewards a lucky point; write tune: {field: FIELD} in place of over and of",
    "range": "range rewards a bad best; write of: sensitivity, or of: ceiling with a slack",
}


class Claim(Spec):
    """A statement of the field, the experiment that tests it, and the rule of the verdict.

    ``on``: words that all runs have in common; ``arms``: what each has besides, by name. ``tune``: a field of
    which each arm gets its own best value before anything is compared. ``over``: a field and its points
    (``danlu.lab.grids``) instead; each arm is then run at each of them. ``measure``: of each run, a name of
    ``danlu.lab.measures``; a mapping where arms are measured differently. ``of``: what is made of the runs of
    an arm ``over`` the points (``danlu.lab.claims.values``); ``slack`` belongs to ``ceiling``, and to
    ``vertex`` the ``profile`` of each arm, runs of equal compute over sizes.

    The effect of a seed is Σ ``contrast`` · (the arm's value, or its log₂ by ``scale``), in ``unit``;
    ``holds`` is the rule for its interval over ``seeds``. ``margin``: what would matter. ``sd``: the spread
    of the effect of one seed where it is known, by which the power is planned. ``premises``: what must be
    true of the arms, those outside of the contrast too, before the effect means anything. ``needs``: what a
    small machine does not have. ``timeless``: why the regime of the runs does not matter to the statement.

    ``diverged`` is what a run counts as whose loss is not finite; without it such a seed has no effect and
    nothing is shown. ``note``: why this tests the statement, and what differs from the source. ``reading``:
    written after it ran; what it may mean.
    """

    statement: str
    source: str
    rows: Annotated[tuple[str, ...], Field(min_length=1)]
    on: str
    arms: Annotated[dict[str, str], Field(min_length=1)]
    tune: Tune | None = None
    over: dict[str, str] | None = None
    profile: dict[str, Profile] | None = None
    measure: str | dict[str, str]
    of: Made | None = None
    slack: NonNegativeFloat | None = None
    contrast: dict[str, float]
    scale: Literal["linear", "log2"] = "linear"
    unit: str
    holds: Rule
    margin: Margin | None = None
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
    def field(self) -> str:
        """The field of the points; empty where there are none."""
        return next(iter(self.over or ()), "")

    @property
    def tuned(self) -> tuple[str, ...]:
        """The arms that are tuned."""
        return () if self.tune is None else self.tune.arms or tuple(self.arms)

    @property
    def basis(self) -> str | None:
        """The claim of whose effect the margin is a share."""
        return self.margin.of if self.margin is not None else None

    def measure_of(self, arm: str) -> str:
        """The measure of the runs of ``arm``, as the contrast takes it."""
        return self.measure if isinstance(self.measure, str) else self.measure[arm]

    def measured_by(self, premise: Measuring, arm: str) -> str:
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

    def awaited(self, premise: Premise) -> set[str]:
        """The arms that have run when a premise is judged: those that it reads, and where it is made of a
        ceiling all that are compared, from the best of which a ceiling is counted."""
        match premise:
            case Number():
                made = premise.of
            case Contrast() | Again() if premise.at is None:
                made = self.of
            case _:
                made = None
        return {*self.arms_of(premise), *(self.contrast if made == "ceiling" else ())}

    @field_validator("of", mode="before")
    @classmethod
    def _rewards_no_luck(cls, of: Any) -> Any:
        if isinstance(of, str) and of in INSTEAD:
            raise ValueError(INSTEAD[of])
        return of

    @model_validator(mode="after")
    def _whole(self) -> Self:
        for row in self.rows:
            if not ROW.fullmatch(row):
                raise ValueError(
                    f"rows: {row!r} is not a row; allowed: A, C, G, O, P or S and a number, such as A8"
                )
        _known("contrast", self.contrast, self.arms)
        _a_difference("contrast", self.contrast, alone=True)
        every = [one for one in self.premises if isinstance(one, Number) and one.arms in ("all", "any")]
        read = {arm for one in self.premises if one not in every for arm in self.arms_of(one)}
        if idle := [arm for arm in self.arms if arm not in self.contrast and arm not in read]:
            raise ValueError(
                f"arms: {', '.join(idle)} is in no contrast and in no premise by name; a comparison has "
                f"both arms in its contrast, {{{next(iter(self.contrast))}: 1, {idle[0]}: -1}}"
            )
        if not isinstance(self.measure, str) and set(self.measure) != set(self.contrast):
            raise ValueError(
                f"measure must name the arms of the contrast, {', '.join(self.contrast)}, and no others"
            )
        if (self.over is None) != (self.of is None):
            raise ValueError("over and of belong together: points, and what is made of the runs over them")
        if self.over is not None and len(self.over) != 1:
            raise ValueError(f"over = {', '.join(self.over)}: allowed is one field with its points")
        if (self.of == "ceiling") != (self.slack is not None):
            raise ValueError("slack belongs to of = ceiling, and ceiling needs it")
        if (self.of == "vertex") != (self.profile is not None):
            raise ValueError("profile belongs to of = vertex, and vertex needs it")
        if self.profile is not None and set(self.profile) != set(self.arms):
            raise ValueError(f"profile must name the arms, {', '.join(self.arms)}, and no others")
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
        return self

    @model_validator(mode="after")
    def _says_what_matters(self) -> Self:
        if len(self.contrast) > 1 and (self.margin is None or not self.premises):
            raise ValueError("a difference needs a margin, what would matter, and premises")
        if len(self.contrast) == 1 and self.margin is not None and self.margin.cec is not None:
            raise ValueError("margin.cec is of a difference; of a single arm's value say a value, and why")
        if self.margin is None and (self.holds.names_margin or any(map(by_margin, self.premises))):
            raise ValueError("a rule names the margin, and there is none")
        if self.margin is not None and self.margin.cec is not None:
            _known("margin.arm", [self.margin.arm or ""], self.arms)
            if self.over is not None or not isinstance(self.measure, str) or self.scale != "linear":
                raise ValueError("margin.cec is of a loss, on a linear scale and without points")
        return self

    def _check(self, premise: Premise) -> None:
        _known("it names arms", self.arms_of(premise), self.arms)
        match premise:
            case Inside() if premise.over != (self.tune.field if self.tune else self.field):
                raise ValueError(f"over = {premise.over} is neither what is tuned nor what the points are of")
            case Number():
                self._check_measure(premise)
                if premise.of == "ceiling" and self.slack is None:
                    raise ValueError("of = ceiling needs the slack of a claim that is itself of a ceiling")
            case Contrast() | Again():
                self._check_measure(premise)
                other = premise.measure not in (None, self.measure)
                if other and self.over is not None and premise.at is None:
                    raise ValueError("another measure than the claim's is of one point: say at which")
        if isinstance(premise, Contrast):
            _a_difference("contrast", premise.contrast)
            if isinstance(premise.measure, dict):
                _known("measure", premise.contrast, premise.measure)
            if premise.measure in (None, self.measure) and _proportional(premise.contrast, self.contrast):
                raise ValueError("it reads the claim's own contrast, which only the verdict may")

    def _check_measure(self, premise: Measuring) -> None:
        of_points = premise.at is not None or (isinstance(premise, Number) and premise.of is not None)
        if of_points and self.over is None:
            raise ValueError("at and of are about points, and the claim has none over a field")
        if premise.measure is None and not isinstance(self.measure, str):
            raise ValueError("measure is missing: the claim has several")


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
