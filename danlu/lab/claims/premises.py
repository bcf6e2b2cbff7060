"""Premises: what must be true of the arms before a claim's effect means anything. Here as they are written;
``danlu.lab.claims.checks`` judges them.

The kind of a premise is told by the words that only it has (``with_kind``), and need not be written.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal, Self

from pydantic import Field, model_validator

from danlu.lab.claims.rules import Rule
from danlu.lab.claims.values import Made
from danlu.spec.base import ByKind, Spec


class _Premise(Spec):
    name: str


class Number(_Premise):
    """A number of one or several arms. ``arms``: names; ``all``: of each it must hold; ``any``: of at least
    one. ``measure``: left out, the claim's. Where a claim has points: at each of them, ``at`` one of them, or
    ``of``, what is made of them."""

    kind: Literal["number"] = "number"
    arm: str | None = None
    arms: Literal["all", "any"] | tuple[str, ...] | None = None
    measure: str | None = None
    at: float | None = None
    of: Made | None = None
    rule: Rule

    @model_validator(mode="after")
    def _whole(self) -> Self:
        if (self.arm is None) == (self.arms is None):
            raise ValueError("name either arm: NAME or arms: [NAMES] (or all, or any)")
        if self.of is not None and self.at is not None:
            raise ValueError("at is one point and of is made of all: name one of them")
        return self


class Contrast(_Premise):
    """An effect that is known, seen here: Σ weight · arm, as that of a claim. Where a claim has points: of
    what is made of them, or ``at`` one of them."""

    kind: Literal["contrast"] = "contrast"
    contrast: Annotated[dict[str, float], Field(min_length=2)]
    measure: str | dict[str, str] | None = None
    at: float | None = None
    scale: Literal["linear", "log2"] = "linear"
    rule: Rule


class Again(_Premise):
    """An arm against itself with other seeds: nothing must be seen as nothing. ``at``: as of a contrast;
    without a ``rule`` the 99 % interval must hold zero. Its noise is that of two runs which share nothing,
    more than that of a pair."""

    kind: Literal["again"] = "again"
    again: str
    measure: str | None = None
    at: float | None = None
    rule: Rule | None = None


class Inside(_Premise):
    """The best of the points ``over`` a field lies inside of them, in every arm; the grid grows by two points
    at most ``extend`` times."""

    kind: Literal["inside"] = "inside"
    over: str
    interior: Literal[True] = True
    extend: Annotated[int, Field(ge=0, le=3)] = 3


class Regime(_Premise):
    """The regime of the runs that are compared, as a condition: without it the verdict is marked early."""

    kind: Literal["regime"] = "regime"
    tokens_per_parameter: Rule | None = None
    updates: Rule | None = None
    bits_below_chance: Rule | None = None
    warmup: Rule | None = None
    whole_schedule: Literal[True] | None = None

    @model_validator(mode="after")
    def _some(self) -> Self:
        if not self.asked:
            raise ValueError(f"it names none of {', '.join(REGIME)}")
        return self

    @property
    def asked(self) -> dict[str, Rule | bool]:
        """What it says, by field."""
        return {name: said for name in REGIME if (said := getattr(self, name)) is not None}


REGIME = ("tokens_per_parameter", "updates", "bits_below_chance", "warmup", "whole_schedule")


# The words that tell a kind, in the order in which they are looked for.
_TOLD_BY = {"contrast": ("contrast",), "again": ("again",), "inside": ("over",), "regime": REGIME}


def with_kind(written: Any) -> Any:
    """A premise as it is written, with its kind."""
    if not isinstance(written, dict) or "kind" in written:
        return written
    told = (kind for kind, words in _TOLD_BY.items() if any(word in written for word in words))
    return {"kind": next(told, "number"), **written}


Measuring = Number | Contrast | Again  # those that take a measure of runs
Premise = Annotated[Number | Contrast | Again | Inside | Regime, ByKind]


def by_margin(premise: Premise) -> bool:
    """Whether it is judged by the claim's margin."""
    return isinstance(premise, Measuring) and premise.rule is not None and premise.rule.names_margin
