"""The best rate of each arm, from the same number of runs for every arm, with seeds of their own."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

from danlu.lab.referee.errors import Void
from danlu.lab.referee.plan import Tune
from danlu.lab.referee.runs import Run, Runs
from danlu.lab.referee.seeds import Seeds
from danlu.lab.referee.words import fill, places_of, split
from danlu.lab.statistics.optimum import Optimum
from danlu.lab.statistics.search import EXTENSIONS, Search

POINTS, STEP = 5, 1.0  # octaves apart, about the start
SEEDS = 2


class Curve:
    """The losses of an arm by log2 of the rate, seed by seed; what they cost."""

    def __init__(self, start: float) -> None:
        self.search = Search(math.log2(start), POINTS, STEP, near=None)
        self.runs, self.seconds = 0, 0.0

    @property
    def optimum(self) -> Optimum:
        return self.search.found

    def json(self, sign: int) -> dict[str, Any]:
        """The best rate with its interval, what was tried, and what it cost."""
        found = self.optimum
        return {
            "rate": 2**found.x,
            "interval": [2**found.low, 2**found.high],
            "tried": [
                {"rate": 2**x, "values": [sign * loss if math.isfinite(loss) else None for loss in losses]}
                for x, losses in sorted(self.search.costs.items())
            ],
            "runs": self.runs,
            "seconds": self.seconds,
        }


def words(tune: Tune, octaves: float) -> list[str]:
    """What sets the rate 2^octaves: ``--lr 0.003`` or ``--lr=0.003``."""
    rate, template = f"{2**octaves:.5g}", split(tune.flag, "tune.flag", ("value",))
    return fill(template, {"value": rate}) if places_of(template) else [*template, rate]


def tune(runs: Runs, seeds: Seeds, purpose: str, common: Mapping[str, Sequence[str]]) -> dict[str, Curve]:
    """The curve of every arm, the words of each being ``common``. Raises ``Void`` where the best rate of one
    is not inside its grid after three extensions. Where one arm's grid is extended, so are all others'."""
    plan = runs.plan
    assert plan.tune is not None
    curves = {arm: Curve(plan.tune.start) for arm in plan.arms}
    drawn: list[int | None] = [*seeds.of(purpose, SEEDS)] if plan.seeded else [None] * SEEDS
    for extension in range(EXTENSIONS + 1):
        for arm, curve in curves.items():
            curve.search.learn([_try(runs, curve, arm, common[arm], x, drawn) for x in curve.search.asked])
        outside = {arm: curve for arm, curve in curves.items() if not curve.optimum.interior}
        if not outside:
            return curves
        if extension < EXTENSIONS:
            for curve in curves.values():
                curve.search.extend()
    arm, curve = next(iter(outside.items()))
    tried = curve.search.costs
    raise Void(
        f"{arm} is untuned: {curve.optimum.why}, after {len(tried)} rates from {2 ** min(tried):.3g} to "
        f"{2 ** max(tried):.3g}; set tune.start nearer to the best"
    )


def _try(
    runs: Runs, curve: Curve, arm: str, common: Sequence[str], x: float, drawn: Sequence[int | None]
) -> list[float]:
    """The losses of the seeds at a rate."""
    plan, losses = runs.plan, []
    assert plan.tune is not None
    for number, seed in enumerate(drawn):
        rate = words(plan.tune, x)
        run = Run(arm, (*common, *rate), seed, 0 if plan.seeded else number, "tune")
        record = runs.carry_out(run, f"tuning {arm} at {' '.join(rate)}")
        losses.append(plan.metric.sign * record.value)
        curve.runs += 1
        curve.seconds += record.seconds
    return losses
