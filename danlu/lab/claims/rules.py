"""Where a number must lie, what would matter, what runs spend, and what a machine must have: the small words
of a claim."""

from __future__ import annotations

import math
from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from danlu.lab.tuning import Grid
from danlu.spec.base import PositiveFloat, Spec

MARGIN, MINUS = "margin", "-margin"
Bound = float | Literal["margin", "-margin"]


class Rule(Spec):
    """Where a number must lie: ``above`` another, ``below`` one, ``within`` two. In place of a number may
    stand ``margin`` or ``-margin``, and ``within: margin`` is between the two."""

    above: Bound | None = None
    below: Bound | None = None
    within: tuple[float, float] | Literal["margin"] | None = None

    @model_validator(mode="after")
    def _one(self) -> Self:
        if sum(bound is not None for bound in (self.above, self.below, self.within)) != 1:
            raise ValueError("a rule is one of above: x, below: x, within: [a, b]")
        if isinstance(self.within, tuple) and not self.within[0] < self.within[1]:
            raise ValueError(f"within = {list(self.within)} is empty; the first must be below the second")
        return self

    @property
    def names_margin(self) -> bool:
        """Whether the rule needs to know the margin."""
        return MARGIN in (self.above, self.below, self.within) or MINUS in (self.above, self.below)

    def bounds(self, margin: float = math.nan) -> tuple[float, float]:
        """Between which two numbers it must lie, infinite where there is none."""
        if self.within is not None:
            return (-margin, margin) if isinstance(self.within, str) else self.within
        return (
            -math.inf if self.above is None else _number(self.above, margin),
            math.inf if self.below is None else _number(self.below, margin),
        )

    def __str__(self) -> str:
        if self.within is not None:
            return "within ± margin" if self.within == MARGIN else "within {:g} and {:g}".format(*self.within)
        return f"above {_said(self.above)}" if self.above is not None else f"below {_said(self.below)}"


def _number(bound: Bound, margin: float) -> float:
    if isinstance(bound, str):
        return margin if bound == MARGIN else -margin
    return bound


def _said(bound: Bound | None) -> str:
    return "the margin" if bound == MARGIN else "−margin" if bound == MINUS else f"{bound:g}"


class Margin(Spec):
    """What would matter, in the unit of the effect; fixed before anything runs. One of:

    ``of``: the claim whose effect on this bed is known, and the ``share`` of it; ``cec``: what so many times
    the compute gives the ``arm``, a baseline; ``value`` with the reason ``why``.
    """

    of: str | None = None
    share: Annotated[PositiveFloat, Field(le=1)] | None = None
    cec: Annotated[float, Field(gt=1, le=2)] | None = None
    arm: str | None = None
    value: PositiveFloat | None = None
    why: str | None = None

    @model_validator(mode="after")
    def _one(self) -> Self:
        said = {name for name in type(self).model_fields if getattr(self, name) is not None}
        if said not in ({"of", "share"}, {"cec", "arm"}, {"value", "why"}):
            raise ValueError(
                "a margin is one of {of: CLAIM, share: x}, {cec: x, arm: ARM}, {value: x, why: WORDS}"
            )
        return self

    def __str__(self) -> str:
        if self.of is not None:
            return f"{self.share:g} of the effect of {self.of}"
        if self.cec is not None:
            return f"what {self.cec:g} times the compute gives {self.arm}"
        return f"{self.value:g}, {self.why}"


class Tune(Grid):
    """What each arm gets its own best of. ``arms``: these alone, where the others are said to need none."""

    arms: tuple[str, ...] | None = None


class Profile(Spec):
    """What each run of an arm spends, in place of ``train.steps``: it reads D tokens, ``compute`` = 6·N·D. N,
    by which a ``vertex`` is told too, counts the ``embeddings``, positions and readout (Hoffmann et al.
    2022), or leaves them out (Kaplan et al. 2020)."""

    compute: PositiveFloat
    embeddings: bool = True

    def __str__(self) -> str:
        return f"6·N·D = {self.compute:.3g}, N {'with' if self.embeddings else 'without'} embeddings"


class Needs(Spec):
    """What the runs of a claim need that a small machine does not have: ``parameters`` of a model, ``tokens``
    and ``flops`` of a run, the ``device``."""

    parameters: PositiveFloat | None = None
    tokens: PositiveFloat | None = None
    flops: PositiveFloat | None = None
    device: Literal["gpu"] | None = None

    @model_validator(mode="after")
    def _some(self) -> Self:
        if not any(getattr(self, name) is not None for name in type(self).model_fields):
            raise ValueError("needs names at least one of parameters, tokens, flops, device")
        return self

    def __str__(self) -> str:
        amounts = [
            f"{value:.2g} {name}" if name != "flops" else f"{value:.2g} FLOPs a run"
            for name in ("parameters", "tokens", "flops")
            if (value := getattr(self, name)) is not None
        ]
        return ", ".join([*amounts, *(["a GPU"] if self.device else [])])
