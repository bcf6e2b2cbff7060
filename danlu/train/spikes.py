"""Loss spikes: how far a loss lies above those before it. No torch here."""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from statistics import median

WINDOW = 128  # losses that one is measured against, at most
FEWEST = 16  # and at least
THRESHOLD = 6.0  # in robust standard deviations
FLOOR = 1e-3  # of a standard deviation of ln L: a loss that hardly varies is no reason to flag a thousandth


class Detector:
    """Says of each loss how far it lies above those before: z = (ln L − m)/(1.4826·MAD + .001), where m and
    MAD are the median of the last 128 ln L and the median distance from it.

    The logarithm makes it a matter of proportion; median and MAD are moved little by the spikes themselves,
    where a mean and a deviation grow with the first one and hide the next. 1.4826·MAD is the standard
    deviation of normal numbers (Rousseeuw & Croux 1993). Only z above 6 is a spike: a loss far *below* the
    others is none. What is not finite is a spike (z = ∞) and never enters the window, nor does what is not
    above zero, which is no spike. ``state()`` and ``Detector(state)`` carry it over a resume.
    """

    def __init__(self, window: Iterable[float] = ()) -> None:
        self._window: deque[float] = deque(window, WINDOW)

    def judge(self, value: float) -> float:
        """z of ``value``, which then belongs to what the next is measured against. NaN while there are fewer
        than 16 before it, −∞ for a value of 0 or below, +∞ for one that is not finite."""
        found = self.z(value)
        if math.isfinite(value) and value > 0:
            self._window.append(math.log(value))
        return found

    def z(self, value: float) -> float:
        """``judge`` without taking the value in."""
        if not math.isfinite(value):
            return math.inf
        if value <= 0:
            return -math.inf
        if len(self._window) < FEWEST:
            return math.nan
        middle = median(self._window)
        spread = median(abs(x - middle) for x in self._window)
        return (math.log(value) - middle) / (1.4826 * spread + FLOOR)

    @property
    def usual(self) -> float:
        """The median of the values in the window; NaN where there is none."""
        return math.exp(median(self._window)) if self._window else math.nan

    def state(self) -> list[float]:
        """The window: ln L, the oldest first."""
        return list(self._window)


@dataclass(frozen=True)
class Spike:
    """Losses in a row that are flagged, or nearly so (a gap of up to ``WINDOW``/16 rows): ``first`` and
    ``last`` step, the highest ``loss`` at step ``top`` with its ``z``, ``usual``, the median before, and
    ``onset``, from which on all are flagged up to ``top``."""

    first: int
    onset: int
    last: int
    top: int
    loss: float
    z: float
    usual: float


GAP = WINDOW // 16


def find(losses: Iterable[tuple[int, float]]) -> list[Spike]:
    """The spikes among (step, loss), in their order."""
    detector = Detector()
    found: list[Spike] = []
    since = 0  # rows since the last that was flagged
    onset = 0  # the first of those flagged without a gap
    for step, loss in losses:
        usual, z = detector.usual, detector.judge(loss)
        since += 1
        if not z > THRESHOLD:
            continue
        onset = onset if found and since == 1 else step
        if found and since <= GAP:
            before = found[-1]
            higher = z > before.z or (z == before.z and loss > before.loss)
            top = (step, loss, z) if higher else (before.top, before.loss, before.z)
            begun = onset if higher else before.onset
            found[-1] = Spike(before.first, begun, step, *top, before.usual)
        else:
            found.append(Spike(step, step, step, step, loss, z, usual))
        since = 0
    return found


def flagged(losses: Sequence[float]) -> int:
    """How many of the losses lie more than six deviations above those before."""
    detector = Detector()
    return sum(detector.judge(loss) > THRESHOLD for loss in losses)
