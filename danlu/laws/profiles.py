"""The objective along one parameter: how far the points let it move, and whether they determine it at all."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from danlu.laws.base import Array
from danlu.laws.doubt import residual_rows
from danlu.laws.errors import LawError
from danlu.laws.fit import Fit
from danlu.laws.solve import solve

DECADE = 10.0
NEAR = 2.0  # times: a bound so near is no end of a walk
STEPS = 24  # values of a profile


def significant(fit: Fit, parameter: str, *, level: float = 0.95) -> float:
    """The rise of the objective, this parameter held off its best value, that chance reaches in 1 − level.

    The likelihood-ratio test that holds without a likelihood (Kent 1982, doi:10.1093/biomet/69.1.19): twice
    the rise is (H⁻¹VH⁻¹)ⱼⱼ/(H⁻¹)ⱼⱼ·χ²₁ with H = Σwψ′xxᵀ and V = Σw²ψ²xxᵀ, x the gradient of a residual; so
    points may scatter unequally. t² and n/(n − k) stand for χ² where points are few. ψ′ is not zero only in
    ρ's quadratic middle; where that is narrow, a wider window stands for it (Powell 1991).
    """
    from scipy.special import stdtrit

    j, r, w, loss = _index(fit, parameter), fit.residuals, fit.weights, fit.loss
    n, k = int((w > 0).sum()), int(fit.free.sum())
    if n <= k:
        return np.inf
    inner = w
    if loss.delta != np.inf:
        spread = 1.4826 * np.median(np.abs(r[w > 0]))
        window = max(loss.delta, 1.06 * spread * n**-0.2, 1e-300)
        inner = w * (np.abs(r) <= window) * (loss.delta or 1.0) / window
    rows = residual_rows(fit)
    rows = rows / np.maximum(np.linalg.norm(rows, axis=-1, keepdims=True), 1e-300)
    H = (rows * inner) @ rows.T + 1e-12 * inner.sum() / n * np.eye(k)
    a = np.linalg.lstsq(H, np.eye(k)[int(fit.free[:j].sum())], rcond=None)[0]
    scatter = np.sum((w * loss.slope(r) * (a @ rows)) ** 2) * n / (n - k)
    return float(stdtrit(n - k, (1 + level) / 2) ** 2 * scatter / (2 * (a @ H @ a)))


@dataclass(frozen=True)
class Profile:
    """The lowest objective for each value of one parameter, the others fitted anew.

    ``values``: (values,) ascending, the best among them; ``theta``: (values, parameters);
    ``objective``: (values,). ``interval``: where the objective rises by less than is ``significant``; an end
    is infinite, or the parameter's bound, where it never does.
    """

    fit: Fit
    parameter: str
    values: Array
    theta: Array
    objective: Array
    threshold: float
    interval: tuple[float, float]


def profile(fit: Fit, parameter: str, *, level: float = 0.95) -> Profile:
    """The objective along one parameter, as far out as its rise is significant at the level.

    The walk outwards doubles its step and ends at the bound, or ten powers of ten away.
    Raises LawError for a parameter that the law does not have or the fit held fixed.
    """
    j, threshold = _index(fit, parameter), significant(fit, parameter, level=level)
    best = fit.law.inner(fit.vector)[j]
    ends, us, thetas, objectives = [], [best], [fit.vector], [fit.objective]
    for side in (-1.0, 1.0):
        end = _walk(fit, j, side, threshold)
        ends.append(end)
        if end != best:
            way = np.linspace(best, end, STEPS // 2 + 1)[1:]
            theta, value = _along(fit, j, way)
            us, thetas, objectives = [*us, *way], [*thetas, *theta], [*objectives, *value]
    order = np.argsort(us)
    u, value = np.array(us)[order], np.array(objectives)[order]
    theta = np.array(thetas)[order]
    rise = value - fit.objective
    below = _crossing(u[::-1], rise[::-1], best, threshold, -np.inf)
    above = _crossing(u, rise, best, threshold, np.inf)
    low, high = fit.law.bounds
    span = np.full((2, len(fit.vector)), 0.0) + fit.law.inner(fit.vector)
    span[:, j] = np.clip([below, above], low[j], high[j])
    natural = fit.law.natural(span)[:, j]
    return Profile(
        fit, parameter, theta[:, j], theta, value, threshold, (float(natural[0]), float(natural[1]))
    )


@dataclass(frozen=True)
class Flat:
    """A parameter that the points do not determine; ``str`` says so.

    ``factor``: by what it was multiplied; ``rise``: by which share of itself the objective rose, the others
    fitted anew; ``needed``: from which share on chance does not explain it.
    """

    parameter: str
    factor: float
    rise: float
    needed: float

    def __str__(self) -> str:
        times = f"{self.factor:g} times as large" if self.factor > 1 else f"at {self.factor:g} of its value"
        return (
            f"{self.parameter} is weakly determined: with {self.parameter} {times}, the other parameters "
            "fitted anew, the law is not worse than chance explains"
        )


def unidentified(fit: Fit, *, level: float = 0.95, factor: float = DECADE) -> list[Flat]:
    """The parameters of which the points do not even tell the power of ten.

    The criterion: the parameter is multiplied or divided by ``factor`` (or moved to its bound, where that is
    nearer) and held there; if the objective, fitted anew, rises by less than is ``significant`` at the level,
    the parameter is not identified on that side. At most one entry each, the flatter side.
    """
    low, high = fit.law.natural(fit.law.bounds[0]), fit.law.natural(fit.law.bounds[1])
    ends = [
        (j, end)
        for j in np.flatnonzero(fit.free).tolist()
        for times in (1 / factor, factor)
        if _moves(fit.vector[j], end := float(np.clip(fit.vector[j] * times, low[j], high[j])))
    ]
    if not ends:
        return []
    rises = _far(fit, ends)
    flat, size = [], max(fit.objective, 1e-300)
    for j in dict.fromkeys(j for j, _ in ends):
        least, end = min((rise, end) for rise, (i, end) in zip(rises, ends, strict=True) if i == j)
        threshold = significant(fit, fit.law.names[j], level=level)
        if least < threshold:
            flat.append(Flat(fit.law.names[j], end / fit.vector[j], least / size, threshold / size))
    return flat


def _moves(value: float, end: float) -> bool:
    """Whether the way to an end says something: one to a bound close by tells no power of ten."""
    return not 1 / NEAR < end / value < NEAR if value and end / value > 0 else end != value


def _far(fit: Fit, ends: list[tuple[int, float]]) -> list[float]:
    """The rise of the objective with parameter j held at each end, all walked to at once: a step at a time,
    each from where the last one came to rest, lest the far end be missed."""
    law, at, row = fit.law, [j for j, _ in ends], np.arange(len(ends))
    theta = np.tile(fit.vector, (len(ends), 1))
    free = np.tile(fit.free, (len(ends), 1))
    free[row, at] = False
    goal = theta.copy()
    goal[row, at] = [end for _, end in ends]
    ways = np.linspace(law.inner(theta)[row, at], law.inner(goal)[row, at], STEPS // 4 + 1)[1:]
    value = np.full(len(ends), fit.objective)
    for place in ways:
        u = law.inner(theta)
        u[row, at] = place
        found = solve(
            law, fit.points, fit.points[law.target], law.natural(u), loss=fit.loss, weights=fit.weights,
            free=free,
        )  # fmt: skip
        theta, value = found.theta, found.objective
    return [max(0.0, float(one) - fit.objective) for one in value]


def _index(fit: Fit, parameter: str) -> int:
    j = fit.law.place(parameter)
    if not fit.free[j]:
        raise LawError(f"{parameter} was held fixed, so that it has no profile")
    return j


def _held(fit: Fit, j: int, u: float, near: Array) -> tuple[Array, float]:
    """The best parameters, (parameters,), with the inner coordinate j held at u, and the objective."""
    start = fit.law.inner(near)[None].copy()
    start[0, j] = u
    free = fit.free.copy()
    free[j] = False
    theta = fit.law.natural(start)
    found = solve(
        fit.law, fit.points, fit.points[fit.law.target], theta, loss=fit.loss, weights=fit.weights, free=free
    )
    return found.theta[0], float(found.objective[0])


def _along(fit: Fit, j: int, us: Array) -> tuple[Array, Array]:
    """The profile at values of the inner coordinate, one after the other: (values, parameters), (values,)."""
    thetas, values, theta = [], [], fit.vector
    for u in us:
        theta, value = _held(fit, j, float(u), theta)
        thetas.append(theta)
        values.append(value)
    return np.array(thetas), np.array(values)


def _walk(fit: Fit, j: int, side: float, threshold: float) -> float:
    """How far the inner coordinate goes to one side until the objective has risen by the threshold."""
    low, high = (bound[j] for bound in fit.law.bounds)
    u = fit.law.inner(fit.vector)[j]
    logs = bool(fit.law.logs[j])
    far = np.log(DECADE) * 10 if logs else 1e10 * max(abs(u), 1e-2)
    step, theta, begun = 0.02 if logs else 0.005 * max(abs(u), 1e-2), fit.vector, u
    end = float(max(low, begun - far) if side < 0 else min(high, begun + far))
    while u != end:
        u = max(end, begun - step) if side < 0 else min(end, begun + step)
        theta, value = _held(fit, j, u, theta)
        if not value - fit.objective < threshold:
            break
        step *= 2
    return u


def _crossing(u: Array, rise: Array, best: float, threshold: float, otherwise: float) -> float:
    """Where the rise first exceeds the threshold beyond the best value, in the order of u."""
    side = 1 if otherwise > 0 else -1
    which = np.flatnonzero((u - best) * side >= 0)
    u, root = u[which], np.sqrt(np.maximum(rise[which], 0))
    over = np.flatnonzero(root > np.sqrt(threshold))
    if not len(over):
        return otherwise
    # √rise is nearly straight, so that a line between two neighbours is enough.
    k = int(over[0])
    share = (np.sqrt(threshold) - root[k - 1]) / (root[k] - root[k - 1])
    return float(u[k - 1] + share * (u[k] - u[k - 1]))
