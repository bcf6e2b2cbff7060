"""The best size for a budget, under any law of n and d: where the loss is lowest for C = 6·N·D."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from danlu.laws.base import Array, Law
from danlu.laws.formulas.chinchilla import CHINCHILLA, optimum
from danlu.laws.table import FLOPS_PER_PARAMETER_AND_TOKEN

GRID = 65  # values of ln N, from one parameter to one token, among which valleys are looked for
GOLDEN = (np.sqrt(5) - 1) / 2
NARROWINGS = 40  # of a valley's ln N: down to 1e-8, a loss of 1e-16 off the best


def best_size(law: Law, theta: Array, flops: Array, others: Mapping[str, Array] | None = None) -> Array:
    """For each budget the n of the lowest prediction, d = flops/(6·n), (problems,).

    ``theta``: (problems or 1, parameters). ``flops``: (problems,). ``others``: the law's further columns,
    (problems,) each. Of Chinchilla's law by its closed form. Of others the deepest valley is found on a grid
    and narrowed by golden sections: some laws fall once more where models are absurd (Farseer's, with less
    than a token for each parameter), so that the lowest value of all tells nothing. Where there is no valley,
    it is the better end: one parameter, or one token. Of sizes that are as good it is about the smallest.
    """
    theta = np.broadcast_to(theta, (len(flops), np.shape(theta)[-1]))
    if law.predict is CHINCHILLA.predict:
        n = optimum(theta, flops)[0]
        if (np.isfinite(n) & (n > 0)).all():
            return n
    budget = (flops / FLOPS_PER_PARAMETER_AND_TOKEN)[:, None]
    columns = {name: np.asarray(column)[:, None] for name, column in (others or {}).items()}

    def loss(log_n: Array) -> Array:
        """(problems, sizes); infinite where the law says nothing."""
        n = np.exp(log_n)
        data = {name: np.broadcast_to(column, n.shape) for name, column in columns.items()}
        with np.errstate(all="ignore"):
            told = law.predict(theta, {**data, "n": n, "d": budget / n})
        return np.where(np.isnan(told), np.inf, told)

    log_n = np.log(budget) * np.linspace(0, 1, GRID)
    told = loss(log_n)
    valley = np.zeros(told.shape, bool)
    valley[:, 1:-1] = (told[:, 1:-1] < told[:, :-2]) & (told[:, 1:-1] <= told[:, 2:])
    valley |= ~valley.any(-1, keepdims=True)
    at = np.argmin(np.where(valley, told, np.inf), axis=-1)[:, None]
    low, high = (np.take_along_axis(log_n, np.clip(at + step, 0, GRID - 1), -1) for step in (-1, 1))
    a, b = high - GOLDEN * (high - low), low + GOLDEN * (high - low)
    at_a, at_b = loss(a), loss(b)
    for _ in range(NARROWINGS):
        left = at_a <= at_b
        low, high = np.where(left, low, a), np.where(left, b, high)
        new = np.where(left, high - GOLDEN * (high - low), low + GOLDEN * (high - low))
        at_new = loss(new)
        a, b = np.where(left, new, b), np.where(left, a, new)
        at_a, at_b = np.where(left, at_new, at_b), np.where(left, at_a, at_new)
    return np.exp((low + high) / 2)[:, 0]
