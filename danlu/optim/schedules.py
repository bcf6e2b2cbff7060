"""The value of a schedule at a point of a run."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from danlu import spec
from danlu.nn.registry import build
from danlu.spec.durations import Duration, Unit, length
from danlu.spec.errors import SpecError
from danlu.spec.families import own_of

ROUNDING = 1e-9  # below 0, which a schedule may come to that ends there


@dataclass(frozen=True)
class Progress:
    """How far a run is before an update.

    ``progress`` is the share of the run that is done, 0 to 1; ``step`` and ``tokens`` count what is finished,
    ``batch`` the tokens of the next update. What share of the run a duration in steps or tokens is, is
    estimated from the pace so far; ``danlu.train.plan`` knows it exactly.
    """

    progress: float
    step: int = 0
    tokens: int = 0
    batch: int = 0

    def done(self, unit: Unit) -> float:
        """How much is done, in shares, steps or tokens."""
        return self.progress if unit == "run" else self.step if unit == "steps" else self.tokens

    def passed(self, duration: Duration) -> bool:
        """Whether as much as ``duration`` is done."""
        amount, unit = length(duration)
        return self.done(unit) >= amount

    def share(self, duration: Duration) -> float:
        """``duration``, counted from the run's beginning, as a share of the run."""
        amount, unit = length(duration)
        return amount if unit == "run" else self.progress * (amount / max(self.done(unit), 1))

    def last(self, duration: Duration) -> float:
        """The share of the run after which its last ``duration`` begins."""
        return 1.0 - self.share(duration)


def factor(s: spec.Schedule, now: Progress) -> float:
    """What multiplies the peak rate at ``now``.

    The first update has a rate above zero: a warm-up over n steps gives 1/n, 2/n, … 1, one in tokens counts
    those of the update, and one in shares is at least 0.01. At progress 1, which no update has, a schedule
    that falls to a floor is there exactly.
    """
    begin = now.share(s.warmup)
    match s:
        case spec.Linear():
            shape = along((spec.Piece(to=s.floor),), now, 1.0, begin)
        case spec.Cosine():
            shape = along((spec.Piece(to=s.floor, shape="cosine"),), now, 1.0, begin)
        case spec.WSD():
            shape = along((spec.Piece(to=s.floor, shape=s.shape),), now, 1.0, max(begin, now.last(s.decay)))
        case spec.Pieces():
            shape = along(s.pieces, now, 1.0, begin)
        case spec.Rsqrt():
            hold, unit = length(s.warmup if s.hold is None else s.hold)
            shape = math.sqrt(hold / max(now.done(unit), hold))
        case spec.Drops():
            shape = s.by ** sum(now.passed(moment) for moment in s.at)
        case spec.AmosDecay():
            half, unit = length(s.half)
            power = 2 if s.squared else 1
            # (1 + x)^-power is ½ at x = 2^(1/power) − 1
            x = now.done(unit) / half * (2 ** (1 / power) - 1) if s.kappa is None else s.kappa * now.step
            shape = (1.0 + x) ** -power
        case spec.Constant():
            shape = 1.0
        case _:
            shape = _own(s, now)
    return shape if now.progress >= 1 else _warm(s.warmup, now) * shape


def _own(s: spec.Schedule, now: Progress) -> float:
    """What an own schedule gives. Raises ``SpecError`` where that is no rate."""
    given = build(s)(now)
    try:
        value = float(given)
    except (TypeError, ValueError):
        value = math.nan
    if not -ROUNDING <= value < math.inf:
        raise SpecError(
            f"{own_of(type(s))} gives {given!r} before update {now.step + 1} (progress {now.progress:.4g}); "
            "allowed: 0 or a number above it"
        )
    return max(value, 0.0)


def _warm(warmup: Duration, now: Progress) -> float:
    if now.passed(warmup):
        return 1.0
    amount, unit = length(warmup)
    if unit == "run":
        return max(now.progress / amount, 0.01)
    return min(1.0, (now.done(unit) + (1 if unit == "steps" else now.batch)) / amount)


def along(pieces: Sequence[spec.Piece], now: Progress, value: float, begin: float = 0.0) -> float:
    """The value at ``now`` of ``pieces`` one after another, the first from ``value`` at share ``begin``."""
    for piece in pieces:
        to = value if piece.to is None else piece.to
        over = now.progress >= 1 if piece.until is None else now.passed(piece.until)
        if not over:
            end = 1.0 if piece.until is None else now.share(piece.until)
            if now.progress <= begin or to == value:
                return value
            return _between(value, to, piece.shape, min(1.0, (now.progress - begin) / (end - begin)))
        if piece.until is not None:
            begin = max(begin, now.share(piece.until))
        value = to
    return value


def _between(value: float, to: float, shape: str, x: float) -> float:
    match shape:
        case "cosine":
            left = 0.5 * (1.0 + math.cos(math.pi * x))
        case "sqrt":
            left = 1.0 - math.sqrt(x)
        case _:
            left = 1.0 - x
    return to + (value - to) * left
