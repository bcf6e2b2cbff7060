"""What a table of trials says beside its best: whether that lies on the border, what each value can come to,
and how much the best found is chance."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

from danlu.lab.grids import Dimension, number
from danlu.lab.sweep.axis import Axis, best_by
from danlu.lab.sweep.trials import Trial

MARGIN = 0.05  # of a dimension's length: what lies so near to an end lies on the border
QUANTILE = 0.95


@dataclass(frozen=True)
class Border:
    """The best lies at an end of a dimension. ``end``: lower or upper."""

    field: str
    value: float
    end: str

    @property
    def sentence(self) -> str:
        way = "upwards" if self.end == "upper" else "downwards"
        return f"the best lies at the {self.end} end of {self.field} ({self.value:g}): extend it {way}"

    def json(self) -> dict[str, Any]:
        return asdict(self) | {"sentence": self.sentence}


def border(best: Trial, trials: Sequence[Trial], dimensions: Sequence[Dimension]) -> list[Border]:
    """Where ``best`` lies at an end of what was tried: at one of the two ends of a list, or within 5 % of the
    length of a range, in the logarithm where all is positive. Choices have no ends."""
    found = []
    for dimension in dimensions:
        here = number(best.entry.point[dimension.name])
        tried = [number(trial.entry.point[dimension.name]) for trial in trials]
        ends = [value for value in (*tried, *(dimension.span or ())) if value is not None]
        if here is None or len(ends) < len(tried) or min(ends) == max(ends):
            continue
        low, high, at = (_scaled(value, min(ends) > 0) for value in (min(ends), max(ends), here))
        place = (at - low) / (high - low)
        if min(place, 1 - place) <= (MARGIN if dimension.span else 0):
            found.append(Border(dimension.name, here, "upper" if place > 0.5 else "lower"))
    return found


def isolation(trials: Sequence[Trial], name: str) -> list[dict[str, Any]]:
    """For each value of a dimension, or each part of its length where there are many, the best over the other
    dimensions: what it can come to (Godbole et al. 2023, Deep Learning Tuning Playbook, isolation plots)."""
    axis = Axis(trials, name)
    best = best_by(trials, axis)
    rows = []
    for part, label in enumerate(axis.labels):
        inside = [trial for trial in trials if axis.part(trial) == part]
        found = best.get((part,))
        rows.append({
            "value": label if axis.parted or not axis.numeric else axis.centres[part],
            "best": found and found.value,
            "number": found and found.entry.number,
            "trials": len(inside),
            "diverged": sum(trial.state == "diverged" for trial in inside),
        })  # fmt: skip
    return rows


@dataclass(frozen=True)
class Variance:
    """How much the best found is chance: the difference between the bests of two random halves of the trials.
    ``mean``, and ``high``, which 95 % of the divisions don't exceed."""

    trials: int
    mean: float
    high: float

    @property
    def sentence(self) -> str:
        return (
            f"the bests of two random halves of the {self.trials} trials differ by {self.mean:.4f} "
            f"on average and by no more than {self.high:.4f} in 95 % of the divisions"
        )

    def json(self) -> dict[str, Any]:
        return asdict(self) | {"sentence": self.sentence}


def study_variance(costs: Sequence[float]) -> Variance | None:
    """Over all divisions of the trials into two halves, exactly. What diverged counts as the worst that is
    finite; None for fewer than four trials that are known, or none that is finite.

    With costs v₁ ≤ … ≤ vₙ one half has v₁, and vⱼ is the best of the other if v₁ … vⱼ₋₁ are all in the first:
    where that has h trials, with probability C(n−j, h−j+1) / C(n−1, h−1).
    """
    known = sorted(finite(costs))
    n = len(known)
    if n < 4:
        return None
    chances: dict[int, float] = {}
    for half, weight in ((n // 2, (n // 2) / n), (n - n // 2, (n - n // 2) / n)):
        for j in range(2, half + 2):
            ways = math.comb(n - j, half - j + 1) / math.comb(n - 1, half - 1)
            chances[j] = chances.get(j, 0.0) + weight * ways
    gaps = {j: known[j - 1] - known[0] for j in chances}
    mean = sum(chance * gaps[j] for j, chance in chances.items())
    reached, high = 0.0, 0.0
    for j in sorted(chances):
        reached, high = reached + chances[j], gaps[j]
        if reached >= QUANTILE:
            break
    return Variance(n, mean, high)


def finite(costs: Sequence[float]) -> list[float]:
    """Costs without those not known (NaN); an infinite one as the worst finite one. Empty where none is."""
    worst = max((cost for cost in costs if math.isfinite(cost)), default=math.nan)
    if math.isnan(worst):
        return []
    return [min(cost, worst) for cost in costs if not math.isnan(cost)]


def _scaled(value: float, log: bool) -> float:
    return math.log(value) if log else value
