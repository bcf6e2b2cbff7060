"""Answers over sizes without runs."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

from danlu.lab.across.answer import Across, AtRung, Look, Scaled
from danlu.lab.across.rates import Rated
from danlu.lab.across.rungs import Rung
from danlu.lab.errors import LabError
from danlu.lab.regime import Regime
from danlu.lab.statistics import Interval
from danlu.lab.statistics.across import judge
from danlu.lab.statistics.ahead import Way
from danlu.lab.statistics.gain import AtCost, gains
from danlu.lab.statistics.shrink import Shrunken
from danlu.lab.study import Study
from danlu.lab.trial.cost import Cost
from danlu.lab.trial.timing import Ratio
from danlu.spec import resolve

BED = resolve("bed")
REGIME = Regime(1.7, 60, 0.25, 0.1, False, False)


def across(*ideas: Scaled, **more: Any) -> Across:
    rungs = tuple(one.rung for one in ideas[0].at)
    study, cost = Study(Path("nowhere")), Cost(34, 24, 4000.0, 1.9e12)
    return Across("bed", study, rungs, ideas, cost, Look(len(rungs), 3), **more)


def scaled(*effects: float, noise: float = 0.002, **more: Any) -> Scaled:
    """An idea with these differences, variant − baseline, at rungs of four times the compute."""
    at = []
    for level, effect in enumerate(effects):
        rung = Rung(level, BED, 54_000 * 2**level, 1_080_000 * 2**level, 2100, 1e12 * 4**level)
        before = [3.0 - 0.3 * level + noise * k for k in (-1, 0, 1)]
        after = [value + effect + 0.1 * noise * k * k for k, value in enumerate(before)]
        rate = Rated(BED, 0.004, trials=10)
        ratio = Ratio(Interval(1.1, 1.05, 1.15), "20 pairs, timed in turns")
        at.append(AtRung(rung, rate, rate, (0, 1, 2), tuple(before), tuple(after), 1.05 * rung.flops, ratio))
    metric = BED.objective.metrics[0]
    found = gains([AtCost(a.rung.flops, a.before, a.after, a.flops) for a in at]) if len(at) > 1 else []
    target = math.log(at[-1].rung.flops * 16)
    try:
        judged = judge(found, target) if found else None
    except LabError as error:
        judged, more = None, {"why": str(error), "verdict": "not shown"} | more
    said: dict[str, Any] = {
        "judged": judged, "judged_time": judged, "shrunk": Shrunken(0.1, 0.1) if judged else None,
        "verdict": judged.verdict if judged else "not shown",
        "why": judged.why if judged else "one rung says nothing of scale", "regime": REGIME,
        "ways": (Way(len(at) + 1, 1, 1e14, 0.05, 1e-16), Way(3, 2, 2e14, 0.06, 1e-16)),
    } | more  # fmt: skip
    return Scaled(
        idea="swiglu", statement="", metric=metric, at=tuple(at), gains=tuple(found), timed=tuple(found),
        **said,
    )  # fmt: skip
