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
POINTS, ROUNDS = 33, 9  # of a grid, and how many grids, each a sixteenth as wide
WIDE = 12.0  # of the first grid, in ln N to either side of the plain optimum


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
    with np.errstate(all="ignore"):
        # N·(6·D + 2·T) is the cost, so that N is below what serving alone allows.
        centre, wide = log_cost[..., None] / 2, log_cost.max() / 2 if np.isfinite(log_cost).all() else 60.0
        steps, wide = np.linspace(-1, 1, POINTS), max(WIDE, wide)
        for _ in range(ROUNDS):
            x = centre + wide * steps
            n = np.exp(x)
            d = (np.exp(log_cost[..., None] - x) - SERVING * served) / FLOPS_PER_PARAMETER_AND_TOKEN
            told = LAW.predict(theta, {"n": n, "d": np.maximum(d, 1e-300), "u": np.full(d.shape, unique)})
            at = np.argmin(np.where((d > 0) & np.isfinite(told), told, np.inf), axis=-1)
            centre, wide = np.take_along_axis(x, at[..., None], -1), wide / 16 * 1.5
        n = np.exp(centre[..., 0])
        return n, (np.exp(log_cost) / n - SERVING * served) / FLOPS_PER_PARAMETER_AND_TOKEN
