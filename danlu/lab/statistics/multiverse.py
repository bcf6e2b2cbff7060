"""A verdict among the other reasonable analyses of the same runs, its multiverse (Steegen et al. 2016).

The analysis that was set beforehand decides, and no other is chosen in its place: with so many, one shows
something by chance. They say whether the verdict hangs on a choice that nobody would defend.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import groupby
from typing import NamedTuple

from danlu.lab.statistics.means import Interval

MOST_FLIPPED = 16  # pairs; Student's t and sign flips agree beyond


class Reading(NamedTuple):
    """What the runs say by another analysis: the ``way`` ("without the pair of seed 3") and its verdict."""

    way: str
    verdict: str


def flipped(differences: Sequence[float], level: float) -> Interval | None:
    """The interval of the mean by sign flips, which holds for any distribution that is symmetric: what the
    randomisation test does not reject (Fisher 1935). Its ends are means of subsets, of which the centre lies
    between each two neighbours with the same probability 2⁻ⁿ (Hartigan 1969). None where there are too few
    differences for ``level`` (five for 95 %), or more than ``MOST_FLIPPED``."""
    n = len(differences)
    outside = int((1 - level) / 2 * 2**n + 1e-9)
    if n > MOST_FLIPPED or outside < 1:
        return None
    import numpy as np

    sums, counts = np.zeros(1), np.zeros(1)
    for x in differences:
        sums, counts = np.concatenate([sums, sums + x]), np.concatenate([counts, counts + 1])
    means = np.sort(sums[1:] / counts[1:])
    return Interval(float(sums[-1] / n), float(means[outside - 1]), float(means[-outside]))


def differing(readings: Sequence[Reading], verdict: str) -> str:
    """The readings that say something else than ``verdict``, in a line; "" where none does."""
    other = sorted((one for one in readings if one.verdict != verdict), key=lambda one: one.verdict)
    said = "; ".join(f"{verdict} {_listed(of)}" for verdict, of in groupby(other, lambda one: one.verdict))
    return f"{len(other)} of {len(readings)} would say otherwise: {said}" if other else ""


def _listed(readings: Iterable[Reading]) -> str:
    *before, last = [one.way for one in readings]
    return f"{', '.join(before)} and {last}" if before else last
