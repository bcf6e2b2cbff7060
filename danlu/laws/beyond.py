"""How far beyond the data a place lies, and from where on nothing is told of it without being asked twice."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from danlu.laws.base import Array
from danlu.laws.calibration import Calibration
from danlu.laws.errors import LawError, Warned
from danlu.laws.table import SAME_SIZE, Points

Ranges = Mapping[str, tuple[float, float]]
RATIO = "d/n"
WORDS = {"c": "compute", "n": "size", "d": "data", RATIO: "tokens per parameter, D/N"}
CODES = ("beyond", "far-beyond"), ("beyond-ratio", "far-ratio")  # of columns, and of D/N
SIDES = "beyond", "below"
ALLOWED = 3.0  # times beyond the data, where one always may go
NOT_KNOWN = Warned(
    "no-ranges",
    "the fit does not say what it was fitted to, so nothing tells whether this is an extrapolation",
)


def along(places: Points, ranges: Ranges, name: str) -> Array:
    """How many times above the largest, or below the smallest, value a column lies, (places,); 1 within, and
    where it is no other size."""
    return np.maximum(*_sides(places, ranges, name))


def _sides(places: Points, ranges: Ranges, name: str) -> Array:
    """``along`` of each side, above and below, (2, places)."""
    if name not in places or name not in ranges:
        return np.ones((2, places.size))
    low, high = ranges[name]
    times = np.array([places[name] / high, low / places[name]])
    return np.where(times <= SAME_SIZE, 1.0, times)


def word(name: str, columns: Mapping[str, str] | None = None) -> str:
    """What a column is called in sentences; ``columns``: what each of ours is in the file, where x is compute
    or a size."""
    return WORDS.get(name) or WORDS.get((columns or {}).get(name, ""), name)


def beyond(
    places: Points,
    ranges: Ranges,
    calibration: Calibration | None,
    far: bool,
    columns: Mapping[str, str] | None = None,
) -> tuple[Array, list[Warned]]:
    """How many times beyond the data each place lies, in the column or in D/N that is farthest, (places,),
    and warnings of places that lie beyond, one for each column and side. 1 is within. ``columns``: of
    ``word``.

    Within the ranges of n, d and c a model may still be far more, or less, over-trained than any measured
    one: so D/N has a range of its own, at a right angle to that of c.
    Raises LawError where a place lies beyond the ``limit``, unless ``far``. Of D/N nothing is calibrated.
    """
    whole, times, warned = with_ratio(places), np.ones(places.size), list[Warned]()
    for names, tested in (([*places], calibration), ([RATIO], None)):
        every = np.array([along(whole, ranges, name) for name in names])
        farthest, which = every.max(0), every.argmax(0)
        for place, column in enumerate(names):
            for side, each in zip(SIDES, _sides(whole, ranges, column), strict=True):
                at = (each > 1) & (which == place)
                if at.any():
                    codes, what = CODES[column == RATIO], (word(column, columns), side)
                    outside = np.array([each[at], whole[column][at]])
                    warned += _warned(outside, places.size, what, codes, ranges[column], tested, far)
        times = np.maximum(times, farthest)
    return times, warned


def with_ratio(points: Points) -> Points:
    """With the tokens per parameter, as RATIO, where n and d are known."""
    if not {"n", "d"} <= points.keys():
        return points
    return points.with_columns(**{RATIO: points["d"] / points["n"]})


def limit(ends: tuple[float, float], calibration: Calibration | None = None) -> tuple[float, str]:
    """How many times beyond the data, from the least to the largest of a column, one may go, and why so far:
    as far as calibration went or the range of the data is wide, its root where nothing is calibrated; ALLOWED
    at least."""
    span = ends[1] / ends[0]
    if calibration is None:
        far, why = span**0.5, f"these data carry √{span:.3g} = {span**0.5:.3g} times"
    elif calibration.farthest < span:
        far = calibration.farthest
        why = f"smaller budgets could be tested on runs up to {far:.3g} times beyond them"
    else:
        far, why = span, f"these data carry as much as they span, {span:.3g} times"
    return (far, why) if far >= ALLOWED else (ALLOWED, f"{why}, and {ALLOWED:g} are always allowed")


def _warned(
    outside: Array,
    places: int,
    what: tuple[str, str],
    codes: tuple[str, str],
    ends: tuple[float, float],
    calibration: Calibration | None,
    far: bool,
) -> list[Warned]:
    """Of places ``outside`` the ends, how many times and their values, (2, places): of those within the
    limit, and of the others. ``what``: the column and the side."""
    low, high = ends
    times = outside[0]
    most, why = limit(ends, calibration)

    def told(some: Array) -> str:
        so_far, value = (" to ".join(dict.fromkeys(f"{one:.3g}" for one in (x.min(), x.max()))) for x in some)
        at = f", at {some.shape[1]} of {places} places" if some.shape[1] > 1 else ""
        return (
            f"{what[0]} = {value} is {so_far} times {what[1]} what was measured ({low:.3g} to {high:.3g}){at}"
        )

    near, farther = outside[:, times <= most], outside[:, times > most]
    if farther.size and not far:
        raise LawError(f"{told(farther)}; {why}: no answer without --far (far=True in Python)")
    made = []
    if near.size:
        made.append(Warned(codes[0], f"{told(near)}: the law itself may not hold there"))
    if farther.size:
        made.append(Warned(codes[1], f"{told(farther)}; {why}: no measured error speaks for so far"))
    return made
