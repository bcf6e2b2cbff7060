"""The gain of one fit over another of the same law: how many times as much the other needs to be as good.

By compute it is the compute-equivalent gain that the lab tells of an idea (``danlu.lab.statistics.gain``),
from fitted laws: each side at its own best division of compute between size and data. By data both have the
same size. Above 1 the one is better than its baseline.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

import numpy as np

from danlu.files.json import finite
from danlu.laws.answer import Answer
from danlu.laws.base import Array, Law
from danlu.laws.best import best_size
from danlu.laws.doubt import Draws
from danlu.laws.table import FLOPS_PER_PARAMETER_AND_TOKEN

FARTHEST = np.log(1e9)  # gains beyond a factor of this are told as without end
HALVINGS = 50  # of 2·FARTHEST: down to 4e-14


class Factor(NamedTuple):
    """A factor and its 95 % interval; None without resamples, ∞ where the baseline never is as good."""

    value: float
    low: float | None
    high: float | None


@dataclass(frozen=True)
class Gain:
    """``by``: of which column a factor. ``at``: where, by columns of the side that gains, and its loss."""

    by: str
    at: Mapping[str, float]
    loss: float
    factor: Factor

    def json(self) -> dict[str, Any]:
        """Plain values; None for no end."""
        made: dict[str, Any] = finite(
            {"by": self.by, "at": dict(self.at), "loss": self.loss, **self.factor._asdict()}
        )
        return made


def gains(one: Answer, baseline: Answer, *, together: bool = False) -> list[Gain]:
    """At the least, a middle and the most compute of the points of ``one`` (or size, or data, where the law
    has no other column), by each column that a factor of makes sense of; none for other laws than of loss.

    ``together``: both are parts of one fit, so that their resamples belong together; else they are apart, and
    what either leaves uncertain is added in squares of ln gain.
    """
    law, points = one.fit.law, one.fit.points.with_compute()
    by = _by(law)
    if law.target != "loss" or not by:
        return []
    order = np.argsort(points[by[0]], kind="stable")
    found = []
    for name in by:
        columns = law.columns if name in law.columns else (name,)
        for place in dict.fromkeys((order[0], order[len(order) // 2], order[-1])):
            at = {column: float(points[column][place]) for column in columns}
            found.append(_gain(one, baseline, name, at, together))
    return found


def _by(law: Law) -> tuple[str, ...]:
    if set(law.columns) == {"n", "d"}:
        return ("c", "d")
    return law.columns if len(law.columns) == 1 else ()


def _gain(one: Answer, baseline: Answer, by: str, at: Mapping[str, float], together: bool) -> Gain:
    law, vectors = one.fit.law, (one.fit.vector, baseline.fit.vector)

    def times(a: Array, b: Array) -> Any:
        a, b = np.broadcast_arrays(a, b)
        found = np.exp(log_gain(law, np.atleast_2d(a), np.atleast_2d(b), by, at))
        return found[0] if a.ndim == 1 else found

    value, low, high = float(times(*vectors)), None, None
    if one.draws is not None and baseline.draws is not None:
        if together:
            k = len(vectors[0])
            ends = _both(one.draws, baseline.draws).of(lambda theta: times(theta[..., :k], theta[..., k:]))
            below, above = np.log(value / ends.low), np.log(ends.high / value)
        else:
            sides = (
                one.draws.of(lambda theta: times(theta, vectors[1])),
                baseline.draws.of(lambda theta: times(vectors[0], theta)),
            )
            below = np.sqrt(sum(np.log(value / side.low) ** 2 for side in sides))
            above = np.sqrt(sum(np.log(side.high / value) ** 2 for side in sides))
        low, high = _factor(np.log(value) - below), _factor(np.log(value) + above)
    loss = float(_reached(law, vectors[0][None], by, at, np.zeros(1))[0])
    return Gain(by, at, loss, Factor(_factor(np.log(value)), low, high))


def _both(one: Draws, other: Draws) -> Draws:
    """Draws of the parameters of two parts of one fit, side by side."""
    fit = replace(one.fit, vector=np.concatenate([one.fit.vector, other.fit.vector]))
    without = None
    if one.without is not None and other.without is not None:
        theta = np.concatenate([one.without.theta, other.without.theta], axis=-1)
        without = one.without._replace(theta=theta)
    return Draws(fit, np.concatenate([one.theta, other.theta], axis=-1), one.lost, without)


def _factor(log: float) -> float:
    return float(np.exp(log)) if abs(log) < FARTHEST * (1 - 1e-9) else float("inf" if log > 0 else 0)


def log_gain(law: Law, one: Array, baseline: Array, by: str, at: Mapping[str, float]) -> Array:
    """ln of the factor of ``by`` with which the baseline reaches the loss of the one, (draws,).

    ``one``, ``baseline``: (draws, parameters). ``at``: the law's columns, or c alone: then N and D are the
    best under C = 6·N·D. ±ln 1e9 stands for more than that.
    """
    wanted = _reached(law, one, by, at, np.zeros(len(one)))
    low, high = np.full(len(one), -FARTHEST), np.full(len(one), FARTHEST)
    for _ in range(HALVINGS):
        middle = (low + high) / 2
        short = _reached(law, baseline, by, at, middle) > wanted
        low, high = np.where(short, middle, low), np.where(short, high, middle)
    return (low + high) / 2


def _reached(law: Law, theta: Array, by: str, at: Mapping[str, float], log_factor: Array) -> Array:
    """The loss with ``by`` times a factor, (draws,); with compute, of the best size for it."""
    data = {name: np.full((len(theta), 1), value) for name, value in at.items()}
    data[by] = data[by] * np.exp(log_factor)[:, None]
    if by in law.columns:
        return law.predict(theta, data)[:, 0]
    n = best_size(law, theta, data[by][:, 0])[:, None]
    return law.predict(theta, {"n": n, "d": data[by] / (FLOPS_PER_PARAMETER_AND_TOKEN * n)})[:, 0]
