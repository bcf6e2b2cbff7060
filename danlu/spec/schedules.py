"""Specifications of schedules; built by ``danlu.optim.schedules``.

A schedule gives the factor of the peak rate at every update: a linear warm-up, then a shape of its own.
Durations are shares of the run, ``2000 steps`` or ``375M tokens`` (``danlu.spec.durations``).
"""

from __future__ import annotations

from typing import Annotated, Literal, Self

from pydantic import Field, ValidationError, model_validator

from danlu.spec.base import (
    Fraction,
    NonNegativeFloat,
    PositiveFloat,
    Spec,
)
from danlu.spec.durations import Duration, length
from danlu.spec.families import Family

Shape = Literal["linear", "cosine", "sqrt"]


class WarmUp(Spec):
    """What every schedule has: the rate rises in a straight line over the first ``warmup``."""

    warmup: Duration = 0.02


class Falling(WarmUp):
    """What a schedule has that falls from the peak to ``floor`` times the peak at the run's end."""

    floor: Fraction = 0.1


class Constant(WarmUp):
    """The peak from the warm-up to the end."""

    kind: Literal["constant"] = "constant"


class Linear(Falling):
    """Straight down from the end of the warm-up to that of the run."""

    kind: Literal["linear"] = "linear"


class Cosine(Falling):
    """Half a cosine from the end of the warm-up to that of the run (Loshchilov & Hutter 2017, eq. 5)."""

    kind: Literal["cosine"] = "cosine"


class WSD(Falling):
    """Warm-up, stable, decay (Hu et al. 2024, section 4): the peak until the last ``decay`` of the run, then
    down to ``floor``; ``sqrt`` is 1 − √x (Hägele et al. 2024)."""

    kind: Literal["wsd"] = "wsd"
    decay: Duration = 0.2
    shape: Shape = "linear"
    floor: Fraction = 0.0


class Rsqrt(WarmUp):
    """Inverse square root: the peak until ``hold``, then √(hold/t). Left out, ``hold`` is the warm-up
    (Vaswani et al. 2017, eq. 3); T5 has none and holds for 10k steps (Raffel et al. 2020, section 3.1.2)."""

    kind: Literal["rsqrt"] = "rsqrt"
    hold: Duration | None = None

    @model_validator(mode="after")
    def _falls_from_somewhere(self) -> Self:
        if length(self.warmup if self.hold is None else self.hold).amount == 0:
            raise ValueError(
                f"hold = {self.hold or 'none'} with warmup = {self.warmup} leaves nothing from which "
                "√(hold/t) could fall; set hold, for T5 '10k steps'"
            )
        return self


class Drops(WarmUp):
    """Multiplied by ``by`` at each of the moments ``at``."""

    kind: Literal["drops"] = "drops"
    at: tuple[Duration, ...] = (0.5, 0.75)
    by: Fraction = 0.1


class AmosDecay(WarmUp):
    """1/(κt + 1), or with ``squared`` 1/(κt + 1)² (Tian & Parikh 2022, section 4; Su 2022): ½ at ``half``, or
    with ``kappa`` as κ for each update. The warm-up multiplies it."""

    kind: Literal["amos"] = "amos"
    half: Duration = 0.1
    kappa: PositiveFloat | None = None
    squared: bool = False

    @model_validator(mode="after")
    def _halves(self) -> Self:
        if length(self.half).amount == 0:
            raise ValueError(f"half = {self.half} leaves no time to fall to ½; allowed: more than 0")
        return self


class Piece(Spec):
    """From the value before it to ``to`` (left out: it stays as it is), by ``shape``, until a moment counted
    from the run's beginning (left out: its end). ``sqrt`` is 1 − √x."""

    to: NonNegativeFloat | None = None
    until: Duration | None = None
    shape: Shape = "linear"


def _in_order(name: str, moments: list[Duration | None]) -> None:
    """Raises ValueError where moments of one unit, one after another, do not come later and later."""
    last: dict[str, float] = {}
    for i, moment in enumerate(moments):
        if moment is None:
            if i < len(moments) - 1:
                raise ValueError(f"{name}.{i} lasts to the end of the run: what follows would never begin")
            return
        amount, unit = length(moment)
        if amount <= last.get(unit, 0):
            raise ValueError(f"{name}.{i}.until = {moment} is not later than what comes before it")
        last[unit] = amount


class Pieces(WarmUp):
    """After the warm-up, one piece after another, each from where the last one ended."""

    kind: Literal["pieces"] = "pieces"
    pieces: Annotated[tuple[Piece, ...], Field(min_length=1)] = (Piece(),)

    @model_validator(mode="after")
    def _one_after_another(self) -> Self:
        _in_order("pieces", [piece.until for piece in self.pieces])
        for i, piece in enumerate(self.pieces):
            if piece.to is not None and piece.to > 1:
                raise ValueError(f"pieces.{i}.to = {piece.to} is above the peak; allowed: 0 to 1")
        return self


SCHEDULE = Family("schedule", base=WarmUp, place="schedule", functions=True)
Schedule = Annotated[Constant | Linear | Cosine | Rsqrt | Drops | WSD | AmosDecay | Pieces, SCHEDULE]


class Vary(Spec):
    """A ``setting`` of the optimizer that is not the same all through the run: from ``start`` (left out: its
    value in ``optimizer``) through ``pieces``. Without pieces it is multiplied by the rate's factor."""

    setting: str
    start: NonNegativeFloat | None = None
    pieces: tuple[Piece, ...] = ()

    @model_validator(mode="after")
    def _one_after_another(self) -> Self:
        _in_order("pieces", [piece.until for piece in self.pieces])
        return self


RATES = ("lr", "adamw_lr")


def check_vary(vary: tuple[Vary, ...], optimizer: Spec) -> None:
    """Raises ValueError where a setting is not one of ``optimizer``'s, or takes a value that it may not."""
    own = optimizer.settings()
    known = [name for name, value in own.items() if isinstance(value, float) and name not in RATES]
    for i, v in enumerate(vary):
        if v.setting not in known:
            why = "follows the schedule" if v.setting in RATES else "is not a number of optimizer"
            kind = getattr(optimizer, "kind", "")
            raise ValueError(
                f"vary.{i}.setting = {v.setting} {why} (kind {kind}); allowed: {', '.join(known)}"
            )
        if any(v.setting == other.setting for other in vary[:i]):
            raise ValueError(f"vary.{i}.setting = {v.setting} is there twice; give it more pieces")
        if v.setting == "weight_decay" and not own[v.setting]:
            raise ValueError(
                f"vary.{i}.setting = weight_decay varies in proportion to optimizer.weight_decay, which is 0"
            )
        for value in (v.start, *(piece.to for piece in v.pieces)):
            if value is not None:
                try:
                    type(optimizer).model_validate({**dict(optimizer), v.setting: value})
                except ValidationError as error:
                    said = error.errors()[0]["msg"].lower()
                    raise ValueError(f"vary.{i} takes {v.setting} to {value}: {said}") from None
