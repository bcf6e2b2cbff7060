"""What to run next for a verdict at a size beyond, and whether it is still worth it."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import median

from danlu.lab.errors import LabError
from danlu.lab.statistics.across import DELTA, Model, design
from danlu.lab.statistics.means import LEVEL, t_quantile
from danlu.lab.statistics.random_effects import TINY, solve

SHARES = (1.0, 1.0, 0.8, 0.6)  # of the pairs at the first rung; the last at all further ones
FEWEST = 3  # pairs at any rung, where so many are asked for
FUTILE = 0.05  # chance of *better* below which a study ends between two rungs
SLOPE = 0.05  # standard deviation of a gain's slope in ln compute before any run: ln 1.23 over 64 times
FUTURES = 1000


def pairs_at(level: int, asked: int) -> int:
    """How many pairs a rung gets, where the first (``level`` 0) has as many as ``asked``: fewer at the dear
    ones. Of five 5, 5, 4, 3, 3, …"""
    return max(min(FEWEST, asked), math.ceil(asked * SHARES[min(level, len(SHARES) - 1)] - 1e-9))


@dataclass(frozen=True)
class Ahead:
    """A rung still to be run: x = ln compute, the variance that its gain will have, its ``cost``."""

    x: float
    variance: float
    cost: float = 0.0


def chance_of_better(
    model: Model, rest: Sequence[Ahead], at: float, delta: float = DELTA, seed: int = 0
) -> float:
    """The predictive probability of *better* at x = ``at`` once the rungs of ``rest`` are run: futures are
    drawn from what the model says now and each is judged by the rule of the end (``across.better``).

    The model's line with τ² as it is, flat in β₀, and β₁ ~ N(0, .05²) before any run, for two or three rungs
    know no slope. A gate, "stop where this is below .05", cannot add a false *better*, whatever its prior:
    that needs every gate and the last test.
    """
    import numpy as np

    x, y, v = (np.asarray(part, float) for part in (model.x, model.y, model.v))
    every = np.concatenate([x, [one.x for one in rest]])
    random = np.random.default_rng(seed)
    basis = np.column_stack([x**0, x - x.mean()])
    weight = 1 / np.maximum(v + model.tau2, TINY)
    precision = basis.T @ (basis * weight[:, None]) + np.diag([0, SLOPE**-2])
    covariance = np.linalg.inv(precision)
    beta = random.multivariate_normal(covariance @ basis.T @ (weight * y), covariance, FUTURES)
    noise = np.array([one.variance for one in rest]) + model.tau2
    ahead = beta @ np.stack([np.ones(len(rest)), every[len(x) :] - x.mean()])
    ahead = ahead + np.sqrt(noise) * random.standard_normal(ahead.shape)
    later = np.concatenate([np.broadcast_to(y, (FUTURES, len(y))), ahead], axis=1)
    variances = np.concatenate([v, [one.variance for one in rest]])
    columns = design(every.tolist())
    found = solve(columns, later, variances)
    c = np.array([1.0, at - every.mean()])[: columns.shape[1]]
    value = found.beta @ c
    reach = t_quantile(len(every) - len(c), LEVEL)
    half = reach * np.sqrt(found.tau2 + np.einsum("i,...ij,j->...", c, found.covariance, c))
    return float(np.mean((value - half > 0) & (value >= delta)))


@dataclass(frozen=True)
class Way:
    """A way to narrow the interval: the number of ``rungs`` then, by what factor there are more ``pairs``,
    the ``cost``, half the interval at the target afterwards, by how much that falls per cost."""

    rungs: int
    pairs: int
    cost: float
    half: float
    fall: float


def ways(model: Model, cost_of_pairs: float, at: float, new: Ahead) -> list[Way]:
    """What to run next, best first: as many pairs again at every rung, for ``cost_of_pairs``, or the rung
    ``new``, by the predicted fall of the interval at x = ``at`` per cost.

    The new rung comes first where there are too few for a slope, and where τ² exceeds the median variance:
    more pairs at old rungs are wasted then. Raises ``LabError`` where a cost is not above 0."""
    if not (cost_of_pairs > 0 and new.cost > 0):
        raise LabError("what may be run next needs a cost above 0, in FLOPs or seconds, the same for both")
    rungs, now = len(model.x), _half(model.x, model.v, model.tau2, at)

    def way(count: int, pairs: int, cost: float, half: float) -> Way:
        return Way(count, pairs, cost, half, (now - half) / cost if math.isfinite(now) else math.inf)

    half = _half((*model.x, new.x), (*model.v, new.variance), model.tau2, at)
    rung = way(rungs + 1, 1, new.cost, half)
    twice = way(rungs, 2, cost_of_pairs, _half(model.x, [v / 2 for v in model.v], model.tau2, at))
    first = not model.line or model.tau2 > median(model.v) or rung.fall >= twice.fall
    return [rung, twice] if first else [twice, rung]


def _half(x: Sequence[float], v: Sequence[float], tau2: float, at: float) -> float:
    """Half the interval at x = ``at`` of values with these variances, whatever the values."""
    import numpy as np

    columns = design(x)
    weight = 1 / np.maximum(np.asarray(v, float) + tau2, TINY)
    c = np.array([1.0, at - float(np.mean(x))])[: columns.shape[1]]
    spread = c @ np.linalg.inv(columns.T @ (columns * weight[:, None])) @ c
    return t_quantile(len(x) - len(c), LEVEL) * math.sqrt(tau2 + float(spread))
