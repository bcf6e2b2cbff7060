"""One fitter for every law: robust residuals, many starts, and what can be said of the convergence."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from danlu.laws.base import Array, Law, Parameter
from danlu.laws.errors import LawError, Warned
from danlu.laws.solve import HUBER, Loss, Solution, solve
from danlu.laws.table import Points, check

# Two starts agree where their objectives differ by at most this share, …
SAME_OBJECTIVE = 1e-6
# … and their parameters by at most this share (of exponents and floors: of the larger of the two and 0.01).
SAME_PARAMETERS = 1e-3


@dataclass(frozen=True)
class Fit:
    """A law with the parameters that the points speak for.

    ``theta``: values by name; ``vector``: the same, (parameters,). ``objective``: the *sum* over the points
    of weight·ρ(residual), at its lowest. ``residuals``: (points,), ln prediction − ln target (or the plain
    difference, where the law is fitted in linear space).
    ``starts``, ``agreeing_starts``: how many were tried and how many came to rest at these very parameters.
    ``equal_starts``: how many reached the same objective, whatever their parameters.
    ``gradient_norm``: the largest derivative of the objective to a parameter (to its logarithm, where the law
    says so); ``converged``: it is rounding noise beside the terms that it is the sum of.
    """

    law: Law
    points: Points
    loss: Loss
    theta: dict[str, float]
    vector: Array
    objective: float
    starts: int
    agreeing_starts: int
    equal_starts: int
    gradient_norm: float
    iterations: int
    converged: bool
    residuals: Array
    weights: Array
    free: NDArray[np.bool_]
    warnings: list[Warned] = field(default_factory=list)

    def held(self, name: str) -> str:
        """What holds a parameter: ``fixed``, ``= α``, or nothing."""
        place = self.law.place(name)
        lead = self.law.leads[place] if self.law.leads else place
        if lead != place:
            return f"= {self.law.names[lead]}"
        return "" if self.free[place] else "fixed"

    def predict(self, points: Mapping[str, Array]) -> Array:
        """What the law says of other points, (points,)."""
        return self.law.predict(self.vector, points)


def residuals(law: Law, theta: Array, points: Mapping[str, Array]) -> Array:
    """(…, points): ln prediction − ln target, or the plain difference where the law lives in linear space."""
    prediction = law.predict(theta, points)
    if law.space == "linear":
        return prediction - points[law.target]
    return np.log(prediction) - np.log(points[law.target])


def objective(law: Law, theta: Array, points: Mapping[str, Array], loss: Loss = HUBER) -> Array:
    """Σᵢ ρ(residualᵢ) of given parameters, (…,)."""
    return loss.value(residuals(law, theta, points)).sum(-1)


def fit(
    law: Law,
    points: Points,
    *,
    loss: Loss | None = HUBER,
    weights: Array | None = None,
    starts: Array | None = None,
    fixed: Mapping[str, float] | None = None,
) -> Fit:
    """Fit a law to points from many starts, all solved at once.

    ``loss``: what is minimised; None for Huber's of a width that suits the scatter (``suited``).
    ``weights``: (points,), not negative. ``starts``: (starts, parameters) instead of the law's own.
    ``fixed``: values of parameters that are not fitted; see ``restrict`` for ties and bounds.
    Raises LawError where the points cannot determine the law, or no start has a finite objective.
    """
    if loss is None:
        loss = suited(fit(law, points, weights=weights, starts=starts, fixed=fixed))
    begin, free = _begin(law, points, starts, fixed or {})
    weights = _weights(weights, points.size)
    found = solve(law, points, points[law.target], begin, loss=loss, weights=weights, free=free)
    best = int(np.argmin(found.objective))
    if not np.isfinite(found.objective[best]):
        raise LawError(f"{law.name} has no finite objective at any of {len(begin)} starts")
    return _report(law, points, loss, weights, free, found, best)


def suited(fit: Fit) -> Loss:
    """Huber's loss of a width that suits the scatter: 1.345 standard deviations, told by the median size of
    the residuals but for as many of the smallest as are fitted, which a robust fit makes vanish.

    On normal noise 95 % as efficient as least squares (Holland and Welsch 1977,
    doi:10.1080/03610927708827533), where δ = 0.001 is near least absolute deviations, with 64 %.
    """
    sizes = np.sort(np.abs(fit.residuals))[int(fit.free.sum()) :]
    spread = 1.4826 * float(np.median(sizes)) if len(sizes) else 0.0
    return Loss(1.345 * spread) if spread > 0 else fit.loss


def refit(
    fit: Fit,
    *,
    weights: Array | None = None,
    targets: Array | None = None,
    jitter: float = 0.05,
    starts: int = 3,
    seed: int = 0,
) -> Solution:
    """The same law on many resamples at once, each from the fit's parameters and a few perturbed ones.

    ``weights``: (resamples, points), how often each point was drawn (or any weights). ``targets``:
    (resamples, points), other values of what is predicted. One of the two at least.
    ``jitter``: relative size of the perturbations of the further starts; ``starts``: how many per resample.
    The solution's arrays are (resamples, …): of each resample's starts the one with the lowest objective.
    """
    given = weights if weights is not None else targets
    if given is None:
        raise LawError("a refit needs its own weights or targets")
    resamples, law, generator = len(given), fit.law, np.random.default_rng(seed)
    low, high = law.natural(law.bounds[0]), law.natural(law.bounds[1])
    target = fit.points[law.target] if targets is None else targets
    weights = fit.weights if weights is None else weights
    best: Solution | None = None
    for number in range(starts):
        begin = np.tile(fit.vector, (resamples, 1))
        if number:
            noise = 1 + jitter * generator.standard_normal(begin.shape)
            begin = np.clip(begin * np.where(fit.free, noise, 1.0), low, high)
        found = solve(law, fit.points, target, begin, loss=fit.loss, weights=weights, free=fit.free)
        best = found if best is None else _better(best, found)
    assert best is not None
    return best


def _better(one: Solution, other: Solution) -> Solution:
    wins = other.objective < one.objective

    def pick(a: Array, b: Array) -> Array:
        return np.where(wins[:, None] if a.ndim == 2 else wins, b, a)

    return Solution(
        theta=pick(one.theta, other.theta),
        objective=pick(one.objective, other.objective),
        gradient=pick(one.gradient, other.gradient),
        iterations=one.iterations + other.iterations,
        converged=np.where(wins, other.converged, one.converged),
    )


def _begin(
    law: Law, points: Points, starts: Array | None, fixed: Mapping[str, float]
) -> tuple[Array, NDArray[np.bool_]]:
    """Where the descents start, (starts, parameters), and which parameters move, (parameters,)."""
    free, values = law.own, {}
    for name, value in fixed.items():
        place = law.leads[law.place(name)] if law.leads else law.place(name)
        if not free[place]:
            raise LawError(f"{name} is tied to a parameter that has a value already; give one of the two")
        if not np.isfinite(value) or (law.parameters[place].log and value <= 0):
            allowed = "a number above zero" if law.parameters[place].log else "a number"
            raise LawError(f"{name} = {value:g} cannot be: it is {allowed}")
        _possible(law.parameters[place], value, points[law.target])
        free[place], values[place] = False, value
    check(law, points, held=len(free) - int(free.sum()))
    if not free.any():
        raise LawError(f"every parameter of {law.name} is held, so that nothing is left to fit")
    begin = np.array(law.starts(points, points[law.target]) if starts is None else starts, dtype=np.float64)
    if begin.ndim != 2 or begin.shape[1] != len(law.parameters):
        raise LawError(f"starts of {law.name} have shape (starts, {len(law.parameters)}), not {begin.shape}")
    for place, value in values.items():
        begin[:, place] = value
    return (np.unique(begin, axis=0) if values else begin), free


def _possible(parameter: Parameter, value: float, target: Array) -> None:
    """Raises LawError for a value to be held that the law, or what was measured, cannot have."""
    if not parameter.low <= value <= parameter.high:
        raise LawError(f"{parameter.name} = {value:g}; allowed: from {parameter.low:g} to {parameter.high:g}")
    if parameter.floor and value >= np.median(target):
        raise LawError(
            f"{parameter.name} = {value:g} is above half of what was measured; it is a floor: allowed: below "
            f"{target.min():.4g}, the lowest"
        )


def _weights(weights: Array | None, size: int) -> Array:
    if weights is None:
        return np.ones(size)
    weights = np.asarray(weights, dtype=np.float64)
    if weights.shape != (size,):
        raise LawError(f"weights must be one for each of the {size} points, not of shape {weights.shape}")
    if not (np.isfinite(weights).all() and (weights >= 0).all() and weights.any()):
        raise LawError("weights must be finite, not negative and not all zero")
    return weights


def _report(
    law: Law, points: Points, loss: Loss, weights: Array, free: NDArray[np.bool_], found: Solution, best: int
) -> Fit:
    lowest, vector = found.objective[best], found.theta[best]
    exact = float(weights.sum() * loss.value(np.array(1e-9)))  # as good as no residual at all
    equal = found.objective <= lowest * (1 + SAME_OBJECTIVE) + exact
    size = np.maximum(np.maximum(np.abs(found.theta), np.abs(vector)), np.where(law.logs, 0.0, 0.01))
    near = np.all(np.abs(found.theta - vector) <= SAME_PARAMETERS * size, axis=-1)
    agreeing, warnings = int(np.sum(equal & near)), list[Warned]()

    def warn(code: str, text: str) -> None:
        warnings.append(Warned(code, text))

    if not found.converged[best]:
        warn(
            "not-at-rest",
            f"the fit of {law.name} has not come to rest: gradient {found.gradient[best]:.1e} "
            f"after {found.iterations[best]} steps",
        )
    others = int(equal.sum()) - agreeing
    if len(found.objective) > 1 and agreeing == 1 and not others:
        warn("one-start", f"only one of {len(found.objective)} starts found these parameters of {law.name}")
    if others > 0:
        warn("equal-starts", (
            f"{others} start{'s fit' if others > 1 else ' fits'} as well with other parameters: the points "
            "cannot tell them apart"
        ))  # fmt: skip
    low, high = law.bounds
    inner = law.inner(vector)
    rows = zip(law.parameters, inner, low, high, free, law.own & ~free, strict=True)
    for parameter, value, below, above, moves, fixed in rows:
        told = law.named(vector)[parameter.name]
        if parameter.floor and fixed and told > (least := points[law.target].min()):
            warn("floor-above", (
                f"{parameter.name} = {told:g}, a floor, is held above the lowest that was measured, "
                f"{least:.4g}"
            ))  # fmt: skip
        if moves and (value <= below or value >= above):
            warn("at-bound", f"{parameter.name} is at its bound, {told:g}")
    if points.size == int(free.sum()):
        warn(
            "no-freedom",
            f"{law.name} has as many parameters as there are points, so that nothing tests it: no intervals",
        )
    return Fit(
        law=law,
        points=points,
        loss=loss,
        theta=law.named(vector),
        vector=vector,
        objective=float(lowest),
        starts=len(found.objective),
        agreeing_starts=agreeing,
        equal_starts=int(equal.sum()),
        gradient_norm=float(found.gradient[best]),
        iterations=int(found.iterations[best]),
        converged=bool(found.converged[best]),
        residuals=residuals(law, vector, points),
        weights=weights,
        free=free,
        warnings=warnings,
    )
