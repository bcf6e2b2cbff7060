"""Which points were trained with one budget, where the budgets are not told but for their compute."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from danlu.laws.base import Array
from danlu.laws.errors import LawError

EXACT = 0.01  # as a difference of ln C: within this share budgets are equal, whatever the others do
CLEAR = 1.5  # budgets are apart by at least so many times the width of the widest of them
WIDEST = 0.4  # ln of the largest quotient within a budget (1.5)


def budgets(flops: Array, tolerance: float | None = None) -> NDArray[np.int64]:
    """The budget of each point, (points,), 0 the smallest.

    Points belong together where their FLOP, sorted, leave no gap wider than ``tolerance`` (a share: 0.1 is
    10 %). Left out, it is found: of all gaps the one that sets the budgets furthest apart beside their own
    width. Raises LawError where the compute is spread so evenly that it has no budgets.
    """
    order = np.argsort(flops, kind="stable")
    log_c = np.log(flops[order])
    gaps = np.diff(log_c)
    if tolerance is not None:
        rungs = _split(gaps, np.log1p(tolerance))
    else:
        tried = [_split(gaps, at) for at in np.unique(np.maximum(gaps, EXACT))]
        scores = [_clear(log_c, one) for one in tried]
        best = int(np.argmax(scores)) if scores else -1
        if best < 0 or (scores[best] < CLEAR and tried[best].max() > 0):
            raise LawError(
                f"the compute of the points, {flops.min():.3g} to {flops.max():.3g} FLOP, does not gather at "
                "budgets; set a tolerance (0.1: gaps of 10 % part budgets), or take the envelope of curves"
            )
        rungs = tried[best]
    out = np.empty(len(flops), np.int64)
    out[order] = rungs
    return out


def _split(gaps: Array, widest: float) -> NDArray[np.int64]:
    return np.concatenate([[0], np.cumsum(gaps > widest)])


def _clear(log_c: Array, rungs: NDArray[np.int64]) -> float:
    """How many times its own width the nearest budgets are apart; 0 where one is too wide to be one."""
    first = np.searchsorted(rungs, np.arange(rungs[-1] + 1))
    last = np.append(first[1:], len(rungs)) - 1
    width = float((log_c[last] - log_c[first]).max())
    if width > WIDEST:
        return 0.0
    if rungs[-1] == 0:
        return CLEAR
    return float((log_c[first[1:]] - log_c[last[:-1]]).min()) / max(width, EXACT)
