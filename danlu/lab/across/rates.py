"""The rate of each side at each rung: tuned at the first, then it follows from the rungs below.

A best rate is a power of compute as far as is known (DeepSeek LLM 2024, arXiv:2401.02954, section 3): ln rate
is fitted by a straight line, a level one through one rung. Two runs, at half and twice the rate, then tell by
the curvature of the last tuned rung how far off the best is, and the rate is moved there. At a scatter of .01
bits and a curvature of .03 bits an octave² that finds it to an eighth of an octave, .0005 bits. Where a side
is more than an octave off, both sides are tuned at that rung as at the first.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from danlu import spec
from danlu.lab.errors import LabError
from danlu.lab.trial.sides import Side
from danlu.lab.tuning import FIRST_SEED, Grid, Runner, Tuned, at, tune, value_of

GRID = Grid()
BESIDE = (1 / GRID.factor, GRID.factor)  # times a rate that follows: where it is looked at how far off it is
OFF = 1.0  # octaves by which a rate is moved; where it is farther off, the rung is tuned


@dataclass(frozen=True)
class Rated:
    """A side at a rung. ``tuned``: how its rate was found there, None where it followed from the rungs below
    or the rule has no rate. ``trials``: runs that it took. ``off``: octaves from the rate that followed to
    the best, where that was looked at. ``why``: it is not at its best; empty: it is."""

    experiment: spec.Experiment
    rate: float | None
    tuned: Tuned | None = None
    trials: int = 0
    off: float | None = None
    why: str = ""

    def json(self) -> dict[str, Any]:
        """Plain values."""
        return {
            "rate": self.rate, "trials": self.trials, "off": self.off, "why": self.why,
            "tuned": None if self.tuned is None else self.tuned.json(),
        }  # fmt: skip


Below = Sequence[tuple[float, Rated]]  # ln compute and the side, at the rungs below


def tuned(queue: Runner, sides: Sequence[tuple[str, spec.Experiment, Below]]) -> list[Rated]:
    """The sides of a rung, each at its own best. The middle of a grid is the side's own rate, moved by whole
    steps to the best of the rung below."""
    found: dict[int, Rated] = {}
    asked: list[tuple[int, str, spec.Experiment]] = []
    for place, (name, experiment, below) in enumerate(sides):
        try:
            at(experiment, GRID.field, 1.0)
        except LabError:  # a rule that sets its own rate
            found[place] = Rated(experiment, None)
            continue
        if below and below[-1][1].rate is not None:
            steps = round(math.log2(below[-1][1].rate / value_of(experiment, GRID.field)) / GRID.step)
            experiment = at(experiment, GRID.field, GRID.factor**steps)
        asked.append((place, name, experiment))
    for (place, *_), one in zip(asked, tune(queue, [(name, e) for _, name, e in asked], GRID), strict=True):
        found[place] = Rated(one.experiment, one.value, one, one.trials, why=one.why)
    return [found[place] for place in range(len(sides))]


def followed(queue: Runner, sides: Sequence[tuple[str, spec.Experiment, Below]], x: float) -> list[Rated]:
    """The sides of a rung at ln compute ``x``, each at the rate that the line through the rungs below says,
    moved to where runs at half and twice that rate say that the best is. Where one is too far off for that,
    all are tuned, for equal trials."""
    found = [from_below(experiment, below, x) for _, experiment, below in sides]
    asked = [place for place, one in enumerate(found) if one.rate is not None]
    outcomes = queue.run(
        Side(sides[place][0], at(found[place].experiment, GRID.field, factor)).job(FIRST_SEED)
        for place in asked
        for factor in BESIDE
    )
    for i, place in enumerate(asked):
        sign = found[place].experiment.objective.metrics[0].sign
        low, high = (sign * outcome.metric for outcome in outcomes[2 * i : 2 * i + 2])
        off = _off(low, high, _curvature(sides[place][2]))
        found[place] = replace(moved(found[place], off), trials=len(BESIDE), off=off)
    if all(one.off is None or abs(one.off) <= OFF for one in found):
        return found
    return [
        replace(one, trials=one.trials + before.trials, off=before.off)
        for one, before in zip(tuned(queue, sides), found, strict=True)
    ]


def from_below(experiment: spec.Experiment, below: Below, x: float) -> Rated:
    """The side at ln compute ``x``, at the rate that follows from the rungs below."""
    known = [(c, math.log(one.rate)) for c, one in below if one.rate is not None]
    if not known:
        return Rated(experiment, None)
    rate = float(f"{math.exp(_line(known, x)):.3g}")
    return Rated(at(experiment, GRID.field, rate / value_of(experiment, GRID.field)), rate)


def moved(one: Rated, off: float) -> Rated:
    """The side with its rate moved by ``off`` octaves; as it is, where that is too far."""
    if not abs(off) <= OFF:
        return one
    assert one.rate is not None
    rate = float(f"{one.rate * 2**off:.3g}")
    return replace(one, experiment=at(one.experiment, GRID.field, rate / one.rate), rate=rate)


def _line(points: Sequence[tuple[float, float]], x: float) -> float:
    """The least-squares line at ``x``; level through one point."""
    n = len(points)
    mean_x, mean_y = (math.fsum(p[i] for p in points) / n for i in (0, 1))
    spread = math.fsum((a - mean_x) ** 2 for a, _ in points)
    slope = math.fsum((a - mean_x) * (b - mean_y) for a, b in points) / spread if spread else 0.0
    return mean_y + slope * (x - mean_x)


def _curvature(below: Below) -> float:
    """c of cost = a + b·x + c·x², x in octaves, through the lowest point of the last tuned rung and its
    neighbours."""
    tuned = next(one.tuned for _, one in reversed(below) if one.tuned is not None)
    sign = tuned.experiment.objective.metrics[0].sign
    curve = [(math.log2(rate), sign * value) for rate, value in sorted(tuned.curve.items())]
    fine = [(x, y) for x, y in curve if math.isfinite(y)]
    best = min(range(len(fine)), key=lambda i: fine[i][1])
    (x0, y0), (x1, y1), (x2, y2) = fine[max(0, min(best - 1, len(fine) - 3)) :][:3]
    return ((y2 - y1) / (x2 - x1) - (y1 - y0) / (x1 - x0)) / (x2 - x0)


def _off(low: float, high: float, curvature: float) -> float:
    """Octaves from the middle to the lowest point of the parabola through two costs, a step below it and a
    step above; not finite: it diverged."""
    if not math.isfinite(high):  # at twice the rate it diverges: below that is the edge
        return 0.0
    if not math.isfinite(low):
        return math.inf
    if curvature <= 0:
        return math.copysign(math.inf, low - high) if low != high else 0.0
    return (low - high) / (4 * curvature * GRID.step)
