"""What runs wrote of their insides, step by step, and the band that the baseline's runs stay in."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from statistics import fmean, variance

from danlu.inspection.table import plus
from danlu.lab.statistics.means import LEVEL, t_quantile
from danlu.train.folder import RunFolder
from danlu.train.metrics import read

Steps = dict[int, float]  # step → value
Course = dict[str, Steps]  # statistic → its course

GRADIENT, LOSS = "gradient norm", "loss"  # of rows of metrics; the rest is of `train.internals_every`
LEAST = 1e-3  # octaves: the noise that a statistic has at least


def course(folder: Path) -> Course:
    """What a run measured of its insides, the norm of its gradients and its loss, by step."""
    found: Course = {}
    for row in read(RunFolder(folder).metrics):
        values = {name: row[key] for name, key in ((GRADIENT, "grad_norm"), (LOSS, "loss")) if key in row}
        for name, value in (values | row.get("inside", {})).items():
            found.setdefault(name, {})[row["step"]] = value
    return found


def octaves(name: str, values: Mapping[int, float]) -> Steps | None:
    """log₂ of the values, each with what the statistic needs to be positive; None where one still is not."""
    raised = {step: value + plus(name) for step, value in values.items()}
    if not all(math.isfinite(value) and value > 0 for value in raised.values()):
        return None
    return {step: math.log2(value) for step, value in raised.items()}


def left_at(baselines: Sequence[Steps], variants: Sequence[Steps]) -> int | None:
    """The step from which on the mean of the variants lies outside the baseline's band; None where it ends
    inside, or there are no two baselines.

    The band is where one more run of the baseline would be with 95 %: mean ± t·s·√(1 + 1/n), with the
    variance s² over seeds averaged over steps. All in octaves."""
    steps = sorted(set.intersection(*(set(one) for one in (*baselines, *variants)))) if variants else []
    n = len(baselines)
    if n < 2 or not steps:
        return None
    s = math.sqrt(fmean(variance([one[step] for one in baselines]) for step in steps) + LEAST**2)
    reach = t_quantile(n - 1, LEVEL) * s * math.sqrt(1 + 1 / n)
    left = None
    for step in reversed(steps):
        if abs(fmean(one[step] for one in variants) - fmean(one[step] for one in baselines)) <= reach:
            break
        left = step
    return left
