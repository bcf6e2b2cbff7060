"""The best size where unique tokens are few: Muennighoff et al. 2023 (arXiv:2305.16264).

A repeated token is worth less each time, and so is a parameter beyond what the unique tokens need. The
optimum under that law has no closed form: it is searched for on grids about the best point so far.
"""

from __future__ import annotations

import numpy as np

from danlu.laws.base import Array
from danlu.laws.formulas.repeated import DATA_CONSTRAINED as LAW
from danlu.laws.formulas.repeated import effective as worth
from danlu.laws.plan.optimum import SERVING, Wanted, Yes, halve
from danlu.laws.table import FLOPS_PER_PARAMETER_AND_TOKEN

SOURCE = "Muennighoff et al. 2023"
FEW, MANY = 4.0, 16.0  # epochs: up to FEW nearly as good as fresh data, past MANY hardly worth anything
POINTS, ROUNDS = 33, 9  # of a grid, and how many grids, …
NARROWER = 1.5 / 16  # … each so much narrower: half a step more than to the neighbours of the best point
WIDE = 12.0  # of the first grid, in ln D to either side, beyond what the compute alone makes wide


def loss_of(theta: Array, n: Array, d: Array, unique: float) -> Array:
    """The loss of D tokens of which ``unique`` are different, (…,); theta (…, 7), n and d broadcast."""
    n, d = np.broadcast_arrays(np.asarray(n, float)[..., None], np.asarray(d, float)[..., None])
    return LAW.predict(theta, {"n": n, "d": d, "u": np.full(d.shape, unique)})[..., 0]


def effective(theta: Array, d: float, unique: float) -> float:
    """How many fresh tokens ``d`` tokens are worth of which ``unique`` are different; theta (7,)."""
    return float(worth(np.minimum(unique, d), np.asarray(d), theta[5]))


def best(
    theta: Array, wanted: Wanted, value: float, unique: float, served: float = 0.0
) -> tuple[Array, Array]:
    """N and D, (…,), of the lowest loss for their cost, where ``wanted`` has ``value``; theta (…, 7).

    As ``optimum.best``, under repetition of ``unique`` tokens.
    """
    shape = theta.shape[:-1]
    if wanted == "c":
        return _cheapest(theta, np.full(shape, np.log(value)), unique, served)

    def below(x: Array) -> Yes:
        n, d = _cheapest(theta, x, unique, served)
        if wanted == "loss":
            return loss_of(theta, n, d, unique) > value
        return {"n": n, "d": d}[wanted] < value

    with np.errstate(all="ignore"):
        return _cheapest(theta, halve(below, shape), unique, served)


def _cheapest(theta: Array, log_cost: Array, unique: float, served: float) -> tuple[Array, Array]:
    """N and D of the lowest loss for exp(log_cost) FLOP, (…,)."""
    cost = np.exp(log_cost)

    def size(d: Array) -> Array:
        return cost[..., None] / (FLOPS_PER_PARAMETER_AND_TOKEN * d + SERVING * served)

    with np.errstate(all="ignore"):
        steps, wide = np.linspace(-1, 1, POINTS), WIDE + np.abs(log_cost).max() / 2
        centre = log_cost[..., None] / 2  # of ln D
        for _ in range(ROUNDS):
            x = centre + wide * steps
            d = np.exp(x)
            told = LAW.predict(theta, {"n": size(d), "d": d, "u": np.full(d.shape, unique)})
            at = np.argmin(np.where(np.isfinite(told), told, np.inf), axis=-1)
            centre, wide = np.take_along_axis(x, at[..., None], -1), wide * NARROWER
        d = np.exp(centre)
        return size(d)[..., 0], d[..., 0]
