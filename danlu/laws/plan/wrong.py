"""What it costs if the law is wrong: losses at the ends of the size's interval, and compute that is wasted.

Waste is compute beyond what the best run takes to the same loss, as a share of that.
"""

from __future__ import annotations

import numpy as np

from danlu.laws.base import Array
from danlu.laws.formulas.smaller import least_factor, overhead
from danlu.laws.plan import optimum
from danlu.laws.plan.asked import Question, Run
from danlu.laws.plan.basis import Basis
from danlu.laws.plan.lines import SHARE, Line, ends
from danlu.laws.table import FLOPS_PER_PARAMETER_AND_TOKEN

SMALLER = (0.75, 0.5, 0.25)  # sizes, beside the best one, whose overhead is told
GROUP = "if wrong"


def waste(theta: Array, flops: float, n: float, d: float, served: float) -> Array:
    """How much more compute a run takes than the best one of its loss, as a share, (…,); theta (…, 5)."""
    with np.errstate(all="ignore"):
        shape = np.asarray(theta).shape[:-1]
        loss = optimum.loss_of(theta, np.broadcast_to(n, shape), np.broadcast_to(d, shape))
        return flops / optimum.cost(*optimum.best(theta, "loss", loss, served), served) - 1


def wrong(asking: Question, basis: Basis, run: Run, size: Line) -> list[Line]:
    """The lines; ``size``: that of the run's parameters, with its interval."""
    lines: list[Line] = []
    n, d, flops, served = float(run.n), float(run.d), float(run.flops), asking.served
    if asking.unique is None:
        theta = basis.theta[:5]
        many = None if basis.draws is None else waste(basis.draws[:, :5], flops, n, d, served)
        own = float(waste(theta, flops, n, d, served))
        if many is not None or not asking.at_the_optimum:
            value = max(own, 0.0) if not asking.at_the_optimum else 0.0
            low, high = ends(many)
            why = "if the law is as in the resamples" if many is not None else "beside the best size"
            lines.append(Line("waste", f"extra compute, {why}", value, low, high, SHARE, basis.source, GROUP))
    if asking.at_the_optimum:
        for key, name, end in (("low", "smallest", size.low), ("high", "largest", size.high)):
            if end is None or "n" in asking.known:
                continue
            tokens = (flops / end - optimum.SERVING * served) / FLOPS_PER_PARAMETER_AND_TOKEN
            if tokens > 0:
                loss = float(asking.loss(basis.repeating(basis.theta), np.array(end), np.array(tokens)))
                said = f"loss of the {name} size of the interval"
                lines.append(
                    Line(f"loss_size_{key}", said, loss, None, None, "nats/token", basis.source, GROUP)
                )
        if asking.unique is None or d <= asking.unique:  # else the best size does not grow with C^a
            lines += _exponent(basis, float(run.training))
        if not served and asking.unique is None:
            lines += _smaller(basis)
    return lines


def _exponent(basis: Basis, flops: float) -> list[Line]:
    """Compute that is wasted where N grows with C^(a ± its error), from the middle of the points on."""
    error, budgets = basis.error_of_a, basis.ranges.get("c")
    if error is None or budgets is None:
        return []
    alpha, beta, middle = float(basis.theta[3]), float(basis.theta[4]), float(np.sqrt(np.prod(budgets)))
    lines = []
    for key, sign in (("low", -1), ("high", 1)):
        factor = (flops / middle) ** (sign * error)
        if factor > least_factor(alpha, beta):
            name = f"extra compute, if sizes grow with C^(a {'−' if sign < 0 else '+'} {error:.3f})"
            value = float(overhead(factor, alpha, beta))
            lines.append(Line(f"waste_exponent_{key}", name, value, None, None, SHARE, basis.source, GROUP))
    return lines


def _smaller(basis: Basis) -> list[Line]:
    """What models smaller than the best one take more to the same loss."""
    lines = []
    alpha, beta = float(basis.theta[3]), float(basis.theta[4])
    for share in SMALLER:
        if share > least_factor(alpha, beta):
            value = float(overhead(share, alpha, beta))
            low, high = ends(None if basis.draws is None else _overheads(share, basis.draws))
            name = f"extra compute of a model of {share:g} of the size"
            lines.append(
                Line(
                    f"waste_size_{share:g}".replace(".", "_"),
                    name,
                    value,
                    low,
                    high,
                    SHARE,
                    basis.source,
                    GROUP,
                )
            )
    return lines


def _overheads(share: float, draws: Array) -> Array:
    """Infinite where no number of tokens makes up for the size."""
    alpha, beta = draws[:, 3], draws[:, 4]
    can = share > least_factor(alpha, beta)
    out = np.full(len(draws), np.inf)
    out[can] = overhead(share, alpha[can], beta[can])
    return out
