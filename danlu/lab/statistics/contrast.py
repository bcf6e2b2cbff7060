"""Two sides, seed by seed → the interval of their difference and its p value; what runs that are lost do to a
verdict.

``danlu try`` compares in pairs; the referee, whose programs may give the runs of a seed nothing in common,
does so where they correlate. What follows from that choice is the same.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from statistics import fmean
from typing import Literal

from danlu.lab.statistics.means import UNKNOWN, Interval, Verdict, p_value, paired, unpaired, unpaired_p
from danlu.lab.statistics.sequential import anytime, evidence

Kind = Literal["paired", "unpaired", "anytime"]  # the last for whoever looked before the end, in pairs


@dataclass(frozen=True)
class Contrast:
    """Values of both sides in the order of their seeds, nan where a run has none; only seeds of which both
    have one count. ``doubt``: by how much differences of pairs may be lower and higher (≥ 0)."""

    baseline: Sequence[float]
    variant: Sequence[float]
    kind: Kind = "paired"
    doubt: tuple[float, float] = (0.0, 0.0)

    @cached_property
    def rows(self) -> list[tuple[float, float]]:
        """The values of both sides, of the seeds that count."""
        rows = zip(self.baseline, self.variant, strict=True)
        return [(b, v) for b, v in rows if math.isfinite(b) and math.isfinite(v)]

    @cached_property
    def differences(self) -> list[float]:
        """Variant − baseline, of the seeds that count."""
        return [v - b for b, v in self.rows]

    def interval(self, level: float) -> Interval:
        """Of the mean difference, from the low end at the one end of the ``doubt`` to the high end at the
        other; infinite below two pairs, and without one its value is nan."""
        if not self.rows:
            return UNKNOWN
        if self.kind == "unpaired":
            return unpaired(*self._apart, level)
        found = [(anytime if self.kind == "anytime" else paired)(end, level) for end in self._ends]
        return Interval(fmean(self.differences), found[0].low, found[-1].high)

    @property
    def p(self) -> float:
        """Of no difference: Student's, Welch's, or the inverse of the evidence, which holds at any moment;
        the larger of those at the two ends of the ``doubt``, 1 where these lie on both sides of zero."""
        match self.kind:
            case "anytime":
                return min(1.0, 1 / self.e)
            case "paired":
                return 1.0 if self._undecided else max(map(p_value, self._ends))
        return unpaired_p(*self._apart)

    @property
    def e(self) -> float:
        """The evidence of the pairs against no difference; the smaller of those at the two ends of the
        ``doubt``, 1 at most where these lie on both sides of zero."""
        least = min(map(evidence, self._ends))
        return min(1.0, least) if self._undecided else least

    @property
    def _apart(self) -> tuple[list[float], list[float]]:
        return [b for b, _ in self.rows], [v for _, v in self.rows]

    @cached_property
    def _ends(self) -> list[list[float]]:
        """The differences at the low and the high end of the ``doubt``; without one, once."""
        found = self.differences
        if not any(self.doubt):
            return [found]
        return [[x - self.doubt[0] for x in found], [x + self.doubt[1] for x in found]]

    @property
    def _undecided(self) -> bool:
        """Whether the doubt alone leaves the sign of the mean difference open."""
        means = [sum(end) for end in self._ends]
        return any(self.doubt) and min(means) <= 0 <= max(means)


# ``lost``: runs of the baseline and of the variant that ended without a value where the other side's did not.


def beaten(lost: tuple[int, int], of: int) -> Verdict | None:
    """The verdict where a side lost all of at least two pairs; None where neither did."""
    if of < 2 or of not in lost:
        return None
    return "worse" if lost[1] == of else "better"


def stands(verdict: str, lost: tuple[int, int]) -> bool:
    """Whether a verdict on the other pairs may be given: a side of which a run was lost cannot have won by
    them, nor be equivalent."""
    barred = {"better": lost[1], "worse": lost[0], "equivalent": sum(lost)}
    return not barred.get(verdict, 0)
