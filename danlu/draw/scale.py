"""Scales: from values to places on an axis, and the round values marked there."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from typing import NamedTuple

LARGEST, SMALLEST = 1e300, 1e-300  # beyond these the arithmetic of scales would overflow
ROOM = 0.04  # of the range, left free at either side
PRACTICALLY_EQUAL, NOTHING = 1e-9, 1e-290  # a range of this share of its values, or of this width, is none


class Tick(NamedTuple):
    value: float
    label: str


def number(value: object) -> float:
    """A float; NaN for None."""
    return math.nan if value is None else float(value)  # type: ignore[arg-type]


class Scale:
    """From values to places between ``begin`` and ``end`` (pixels); ``log``: of their logarithm.

    The range is that of the values that can be drawn, with some room; of none at all it is 0 to 1 (1 to 10).
    """

    def __init__(
        self, values: Iterable[float], begin: float, end: float, *, log: bool = False, room: float = ROOM
    ) -> None:
        self.log, self.begin, self.end = log, begin, end
        inner = [self._inner(value) for value in values if self.can(value)] or [0.0, 1.0]
        low, high = min(inner), max(inner)
        size = max(abs(low), abs(high))
        if high - low > max(PRACTICALLY_EQUAL * size, NOTHING):
            beside = room * (high - low)
        else:
            beside = 0.5 if log or size < NOTHING else 0.05 * size
        self.low, self.high = low - beside, high + beside

    def can(self, value: float) -> bool:
        """Whether the value can be drawn: finite, and above zero on a logarithmic axis."""
        return (SMALLEST if self.log else -LARGEST) <= value <= LARGEST

    def _inner(self, value: float) -> float:
        return math.log10(value) if self.log else value

    def at(self, value: float) -> float:
        """The place of a value; NaN where it cannot be drawn."""
        if not self.can(value):
            return math.nan
        return self.begin + (self._inner(value) - self.low) / (self.high - self.low) * (self.end - self.begin)

    def ticks(self, about: int = 6) -> list[Tick]:
        """Round values within the range, about so many."""
        ticks = (log_ticks if self.log else linear_ticks)(self.low, self.high, about)
        return [tick for tick in ticks if self.can(tick.value)]


class Names(Scale):
    """An axis of names: the i-th stands at i."""

    def __init__(self, names: Sequence[str], begin: float, end: float) -> None:
        super().__init__([-0.5, max(len(names), 1) - 0.5], begin, end, room=0)
        self.names = names

    def ticks(self, about: int = 6) -> list[Tick]:
        return [Tick(i, name) for i, name in enumerate(self.names)]


def linear_ticks(low: float, high: float, about: int) -> list[Tick]:
    """Multiples of 1, 2 or 5 times a power of ten, from ``low`` to ``high``."""
    rough = (high - low) / max(about, 1)
    power = math.floor(math.log10(rough))
    unit = next(k for k in (1, 2, 5, 10) if k * 10.0**power >= rough * (1 - 1e-9))
    if unit == 10:
        unit, power = 1, power + 1
    step = unit * 10.0**power
    multiples = range(math.ceil(low / step - 1e-9), math.floor(high / step + 1e-9) + 1)
    # Through decimal text, so that 3 × 0.1 is 0.3.
    values = [float(f"{k * unit}e{power}") for k in multiples]
    largest = max(map(abs, values), default=0.0)
    return [Tick(value, _label(value, power, largest)) for value in values]


def log_ticks(low: float, high: float, about: int) -> list[Tick]:
    """Powers of ten from 10^low to 10^high; 1, 2, 5 of each decade where they are few; else linear ticks."""
    decades = range(math.ceil(low - 1e-9), math.floor(high + 1e-9) + 1)
    every = max(1, math.ceil(len(decades) / max(about, 1)))
    kept = [k for k in decades if k % every == 0]
    values = [float(f"1e{k}") for k in (kept if len(kept) > 1 else decades[::every])]
    if len(values) < 4:
        around = range(math.floor(low), math.ceil(high) + 1)
        fine = [float(f"{unit}e{k}") for k in around for unit in (1, 2, 5)]
        fine = [value for value in fine if value and low - 1e-9 <= math.log10(value) <= high + 1e-9]
        values = fine if len(fine) <= 2 * about else values
    if len(values) < 3 and high - low < 1:
        return linear_ticks(10.0**low, 10.0**high, about)
    return [Tick(value, short(value)) for value in values]


def _label(value: float, power: int, largest: float) -> str:
    """With as many digits as the step of a linear axis, 10^power, needs."""
    if value == 0 or 1e-3 <= largest < 1e6:
        return f"{value:.{max(0, -power) if value else 0}f}"
    digits = max(0, math.floor(math.log10(abs(value))) - power)
    return _plain_exponent(f"{value:.{digits}e}")


def short(value: float) -> str:
    """A number for a label or a tooltip: 0.001, 1e-4, 3.14159, 2e6."""
    if value != 0 and math.isfinite(value) and not 1e-3 <= abs(value) < 1e6:
        return _plain_exponent(f"{value:.5e}")
    return f"{value:.6g}"


def _plain_exponent(label: str) -> str:
    mantissa, _, exponent = label.partition("e")
    mantissa = mantissa.rstrip("0").rstrip(".") if "." in mantissa else mantissa
    return f"{mantissa}e{int(exponent)}"
