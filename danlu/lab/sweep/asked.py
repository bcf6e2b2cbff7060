"""What the words of a sweep ask for, checked before anything runs."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from danlu.lab.errors import LabError
from danlu.lab.forecast import Alike, Forecast
from danlu.lab.grids import Dimension, written
from danlu.lab.limits import POINTS, SEEDS, within
from danlu.lab.measures import Measure, measure
from danlu.lab.sweep import halving as halves
from danlu.lab.sweep.experiments import Experiments
from danlu.lab.sweep.search import check_sampler
from danlu.lab.sweep.space import Point, Space, value_said

COUNTED = 8  # points whose FLOPs are counted for a forecast; the dearest stands for all


@dataclass(frozen=True)
class Asked:
    """``by``: grid, or how points are drawn; ``points``: all of them, or, where they are proposed one by one,
    those by which one sees whether the space can be searched; ``trials`` in all. ``rungs``: of halving."""

    space: Space
    experiments: Experiments
    by: str
    points: list[Point]
    trials: int
    seeds: int
    measured: Measure
    rungs: list[halves.Rung]


def ask(
    words: Sequence[str],
    *,
    seeds: int = 1,
    trials: int | None = None,
    sampler: str = "random",
    halving: bool = False,
    metric: str | None = None,
) -> Asked:
    """As ``danlu.lab.sweep.sweep`` is asked. Raises ``LabError`` where the words span nothing, or a point is
    no experiment."""
    check_sampler(sampler)
    space = Space.read(words)
    if seeds > 1 and "train.seed" in space.names:
        raise LabError("train.seed is a dimension of the space; leave --seeds out")
    if trials is None and sampler != "random":
        raise LabError(f"--sampler {sampler} needs to know how many trials: --trials 30")
    if halving and sampler != "random":
        raise LabError(f"--halving starts from a grid or from random trials; leave --sampler {sampler} out")
    within("--seeds", seeds, SEEDS)
    by = sampler if trials is not None else "grid"
    if trials is not None or space.size < math.inf:
        within("the number of trials", space.size if trials is None else trials, POINTS)
    points = space.grid() if by == "grid" else space.drawn(trials or 0) if by == "random" else space.corners()
    metrics = space.experiment(points[0]).objective.metrics
    measured = measure(metric or metrics[0].name, metrics)
    experiments = Experiments(space)
    experiments.check(points)
    rungs = halves.plan(len(points), experiments.steps(points)) if halving else []
    if halving:
        experiments.check(points, rungs[0].steps)
    count = len(points) if by in ("grid", "random") else trials or 0
    return Asked(space, experiments, by, points, count, seeds, measured, rungs)


def forecast(asked: Asked) -> Forecast:
    """What it will run."""
    from danlu.lab.budget import Budget

    runs, most = [], asked.trials * asked.seeds
    some = asked.space.corners()[:COUNTED]

    def dearest(what: str, runs: int, steps: int | None) -> Alike:
        each = [asked.experiments(point, steps) for point in some]
        counted = [Alike.of("", what, one, Budget.of(one).steps(one), runs) for one in each]
        return max(counted, key=lambda one: one.flops or 0.0)

    if asked.rungs:
        for rung in asked.rungs:
            what = "all points" if rung is asked.rungs[0] else f"the best {rung.points} of them"
            runs.append(dearest(what, rung.points * asked.seeds, rung.steps))
    else:
        runs.append(dearest("all points", most, None))
    metric = asked.measured.metric
    first = asked.experiments(asked.points[0]).train.seed
    return Forecast(
        asks=f"which of {asked.trials} points is best? by {metric.name}, {metric.better} is better",
        arms=[(one.name, _values(one)) for one in asked.space.dimensions],
        runs=runs,
        seeds=range(first, first + asked.seeds),
        notes=["FLOPs are those of the dearest point"] if len(some) > 1 else [],
    )


def _values(dimension: Dimension) -> str:
    if dimension.span is not None:
        return " to ".join(map(written, dimension.span))
    return ", ".join(map(value_said, dimension.values))
