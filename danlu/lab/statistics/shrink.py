"""What is left of a gain once it is seen beside the many that were tried: winners were also lucky."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

USUAL = 0.05  # standard deviation of ln gain over ideas where fewer than eight have been tried
FEWEST = 8


class Shrunken(NamedTuple):
    """ln gain and its standard error."""

    value: float
    error: float


def spread_of_ideas(gains: Sequence[tuple[float, float]]) -> float:
    """The standard deviation τ of true ln gains over the ideas of a kind, from each one's (ln gain, standard
    error): τ² = max(0, mean y² − mean se²), about no gain at all (the method of moments; Efron & Morris
    1975). .05 below eight ideas. All ideas of the kind count, not the winners alone."""
    kept = [(y, error) for y, error in gains if math.isfinite(y) and math.isfinite(error)]
    if len(kept) < FEWEST:
        return USUAL
    return math.sqrt(max(0.0, sum(y**2 - error**2 for y, error in kept) / len(kept)))


def shrink(value: float, error: float, spread: float) -> Shrunken:
    """The gain that is to be expected given ``value`` ± ``error`` and that true gains scatter about none with
    ``spread``: y τ²/(τ² + se²), with variance τ² se²/(τ² + se²)."""
    if not (math.isfinite(value) and math.isfinite(error)):
        return Shrunken(0.0, spread)
    total = spread**2 + error**2
    share = spread**2 / total if total else 0.0
    return Shrunken(value * share, math.sqrt(share) * error)
