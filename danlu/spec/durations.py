"""How long something lasts, or when it ends: a share of the run, or so many updates or tokens."""

from __future__ import annotations

import re
from functools import lru_cache
from typing import Annotated, Any, Literal, NamedTuple

from pydantic import BeforeValidator

from danlu.files.numbers import SCALES, SUFFIXES
from danlu.files.yaml import brief

Unit = Literal["run", "steps", "tokens"]

_WRITTEN = re.compile(r"([0-9]+)(?:\.([0-9]+))?([kKmMbBgGtT]?) (steps|tokens)")


class Length(NamedTuple):
    """A duration taken apart. ``run``: a share from 0 to 1; ``steps`` and ``tokens``: a whole number."""

    amount: float
    unit: Unit


@lru_cache
def length(duration: float | str) -> Length:
    """The amount and the unit of a duration. Raises ValueError with a sentence where it is none."""
    if isinstance(duration, str):
        if match := _WRITTEN.fullmatch(duration):
            whole, decimals, suffix, unit = match.groups(default="")
            scale, parts = SUFFIXES.get(suffix.lower(), 1), 10 ** len(decimals)
            if parts <= scale:
                return Length(
                    int(whole + decimals) * scale // parts, "steps" if unit == "steps" else "tokens"
                )
    elif not isinstance(duration, bool) and 0 <= duration <= 1:
        return Length(float(duration), "run")
    raise ValueError(
        f"{brief(duration)} is not a share of the run from 0 to 1, "
        "nor a number of steps or tokens such as '2000 steps' or '375M tokens'"
    )


def _canonical(duration: Any) -> float | str:
    """``0.02``, ``2000 steps``, ``375M tokens``: one way of writing each, so that equal ones are equal."""
    if not isinstance(duration, str | int | float):
        raise ValueError(f"{brief(duration)} is not a duration such as 0.02, '2000 steps' or '375M tokens'")
    amount, unit = length(duration)
    if unit == "run":
        return amount
    count = int(amount)
    for suffix, scale in SCALES:
        if count >= max(scale, 10_000) and count % scale == 0:
            return f"{count // scale}{suffix} {unit}"
    return f"{count} {unit}"


Duration = Annotated[float | str, BeforeValidator(_canonical)]
