"""How often a small bed decided as a large one did."""

from __future__ import annotations

import math
from collections.abc import Sequence

from danlu.lab.errors import LabError
from danlu.lab.statistics.means import LEVEL, Interval, check_level


def wilson(hits: int, of: int, level: float = LEVEL) -> Interval:
    """A share and its interval (Wilson 1927): (p̂ + z²/2n ± z√(p̂(1−p̂)/n + z²/4n²))/(1 + z²/n). All of [0,
    1] where nothing was counted."""
    check_level(level)
    if not 0 <= hits <= of:
        raise LabError(f"{hits} of {of} is no share: give no more hits than there are cases")
    if not of:
        return Interval(math.nan, 0.0, 1.0)
    from scipy.special import ndtri

    z2, share = float(ndtri((1 + level) / 2)) ** 2, hits / of
    middle = (share + z2 / (2 * of)) / (1 + z2 / of)
    half = math.sqrt(z2 * (share * (1 - share) / of + z2 / (4 * of**2))) / (1 + z2 / of)
    return Interval(share, max(0.0, middle - half), min(1.0, middle + half))


def confirmed(small: Sequence[float], large: Sequence[float], level: float = LEVEL) -> Interval:
    """The share of ideas whose effect has the same sign on both beds, with Wilson's interval. Ideas without
    an effect on either, 0 or nan, do not count."""
    signs = [s * b for s, b in zip(small, large, strict=True)]
    kept = [sign for sign in signs if math.isfinite(sign) and sign != 0]
    return wilson(sum(sign > 0 for sign in kept), len(kept), level)


def decision_accuracy(small: Sequence[float], large: Sequence[float]) -> float:
    """The share of pairs of arms whose order at the small bed is that at the large one (Magnusson et al.
    2025, DataDecide). Pairs that tie at the large one do not count, ties at the small one count half; nan
    without a pair. No interval: pairs that share an arm depend on each other."""
    arms = list(zip(small, large, strict=True))
    pairs = [(a[0] - b[0], a[1] - b[1]) for i, a in enumerate(arms) for b in arms[:i] if a[1] != b[1]]
    if not pairs:
        return math.nan
    return sum(0.5 if s == 0 else float((s > 0) == (b > 0)) for s, b in pairs) / len(pairs)
