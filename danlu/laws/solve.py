"""Many fits of one law at once: batched descent on a robust loss, with analytic gradients and bounds.

Every problem of a batch (a start, a resample) has its own parameter vector, and may have its own weights and
targets; the points are the same for all. Two descents follow each other. The first reweights: Gauss–Newton
steps with the weights ρ′(r)/r, which majorise a robust loss and lead down from far away. The second is
Newton's with the second derivatives of the law, which a robust loss needs to come to rest: only few points
lie in its quadratic middle, so that Gauss–Newton alone creeps. Both are damped after Marquardt and bounded.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from danlu.laws.base import Array, Data, Law
from danlu.laws.corners import settle
from danlu.laws.errors import LawError

CHUNK = 1 << 17  # problems × points × parameters that are worked on together: what stays in the cache
TOLERANCE = 1e-11  # of a gradient at rest, beside the sum of its terms' sizes
TINY = 1e-300


@dataclass(frozen=True)
class Loss:
    """Huber's loss of a residual r: ½r² within ±δ and δ·(|r| − ½δ) beyond, summed over the points.

    δ = ∞ is least squares (½r²); δ = 0 stands for least absolute deviations, |r|.
    """

    delta: float = 1e-3

    def __str__(self) -> str:
        if self.delta == 0:
            return "sum of |r|"
        return "sum of ½r²" if self.delta == np.inf else f"sum of Huber's loss, δ = {self.delta:g}"

    @classmethod
    def of(cls, said: str) -> Loss:
        """``huber:δ`` (``huber``: δ = 0.001), ``mse`` (least squares) or ``lad`` (least absolute deviations).
        Raises LawError for anything else."""
        kind, _, delta = said.partition(":")
        if said in ("huber", "mse", "lad"):
            return {"huber": HUBER, "mse": SQUARES, "lad": ABSOLUTE}[said]
        try:
            if kind == "huber" and 0 < float(delta) < np.inf:
                return cls(float(delta))
        except ValueError:
            pass
        raise LawError(
            f"--loss {said}: what is minimised is huber:1e-3 (any width above zero), huber:auto, mse or lad; "
            f"the column of the loss is --column loss={said}"
        )

    def value(self, r: Array) -> Array:
        """ρ(r), elementwise."""
        size = np.abs(r)
        if self.delta == 0:
            return size
        inside = np.minimum(size, self.delta)
        return inside * (size - 0.5 * inside)

    def slope(self, r: Array) -> Array:
        """ρ′(r), elementwise."""
        return np.sign(r) if self.delta == 0 else np.clip(r, -self.delta, self.delta)


HUBER, ABSOLUTE, SQUARES = Loss(1e-3), Loss(0.0), Loss(np.inf)
ABSOLUTE_STAGES = [Loss(1e-2), Loss(1e-3), Loss(1e-4), Loss(1e-5)]


@dataclass(frozen=True)
class Solution:
    """Where each problem came to rest.

    ``theta``: (problems, parameters), natural units. ``objective``: (problems,).
    ``gradient``: (problems,) largest derivative of the objective to a free coordinate (ln θ where the law
    says so); of a parameter at its bound only the part that points inwards.
    ``iterations``: (problems,). ``converged``: (problems,), the gradient is rounding noise beside its terms.
    """

    theta: Array
    objective: Array
    gradient: Array
    iterations: NDArray[np.int64]
    converged: NDArray[np.bool_]


def solve(
    law: Law,
    data: Data,
    target: Array,
    starts: Array,
    *,
    loss: Loss = HUBER,
    weights: Array | None = None,
    free: NDArray[np.bool_] | None = None,
    iterations: int = 200,
) -> Solution:
    """Minimise Σᵢ weightᵢ·ρ(residualᵢ) from every start.

    ``starts``: (problems, parameters), natural units.
    ``target``, ``weights``: (points,) or (problems, points).
    ``free``: (parameters,) or (problems, parameters); what is not free keeps its start's value.
    A start at which the objective is not finite stays there, with objective ∞.
    """
    problems, k = starts.shape
    points = target.shape[-1]
    free = np.broadcast_to(law.own if free is None else free, (problems, k))
    weights = np.broadcast_to(np.ones(points) if weights is None else weights, (problems, points))
    target = np.broadcast_to(target, (problems, points))
    size = max(1, CHUNK // (points * k))
    parts = [
        _solve_chunk(law, data, target[at], weights[at], starts[at], free[at], loss, iterations)
        for at in (slice(i, i + size) for i in range(0, problems, size))
    ]
    found = Solution(*(np.concatenate(column) for column in zip(*parts, strict=True)))
    theta = np.where(free, found.theta, starts)  # what is held, to the last bit
    if law.leads:
        theta = theta[:, law.leads]
    elif law.arrange is not None and free.all():  # what is held belongs to its own place
        theta = law.arrange(theta)
    return replace(found, theta=theta)


def _solve_chunk(
    law: Law,
    data: Data,
    target: Array,
    weights: Array,
    starts: Array,
    free: NDArray[np.bool_],
    loss: Loss,
    iterations: int,
) -> tuple[Array, Array, Array, NDArray[np.int64], NDArray[np.bool_]]:
    low, high = law.bounds
    u = law.inner(starts)
    u = np.where(free, np.clip(u, np.maximum(low, -np.finfo(float).max), high), u)
    batch = _Batch(law, data, target, weights, free, low, high)
    used = np.zeros(len(u), np.int64)
    # |r| has no middle at all, so it is reached over ever narrower ones.
    for stage in [loss] if loss.delta else ABSOLUTE_STAGES:
        u, took = batch.descend(u, stage, newton=False, iterations=min(iterations, 40), tolerance=1e-3)
        u, more = batch.descend(u, stage, newton=True, iterations=min(iterations, 200 if loss.delta else 20))
        used += took + more
    if loss.delta:
        r, J = batch.residuals(u, rows=True)
        g, noise = batch.slope(u, r, J, loss)
        gradient, rest = np.abs(g).max(-1, initial=0), np.all(np.abs(g) <= 10 * TOLERANCE * noise, axis=-1)
    else:
        u, gradient, rest = settle(batch, u)
    objective = batch.objective(batch.residuals(u)[0], loss)
    return law.natural(u), objective, gradient, used, rest & np.isfinite(objective)


class _Batch:
    """Problems of one chunk in the fit's coordinates u, (problems, parameters)."""

    def __init__(
        self,
        law: Law,
        data: Data,
        target: Array,
        weights: Array,
        free: NDArray[np.bool_],
        low: Array,
        high: Array,
    ) -> None:
        self.law, self.data, self.low, self.high = law, data, low, high
        self.target, self.weights, self.free = target, weights, free
        self.log = law.space == "log"

    def only(self, which: NDArray[np.bool_]) -> _Batch:
        """Some of the problems."""
        return _Batch(
            self.law,
            self.data,
            self.target[which],
            self.weights[which],
            self.free[which],
            self.low,
            self.high,
        )

    def residuals(self, u: Array, rows: bool = False) -> tuple[Array, Array]:
        """Residuals (problems, points) and, if asked for, their Jacobian (problems, parameters, points)."""
        theta = self.law.natural(u)
        with np.errstate(all="ignore"):
            f = self.law.predict(theta, self.data)
            r = np.log(f) - np.log(self.target) if self.log else f - self.target
            if not rows:
                return r, r
            J = np.asarray(self.law.gradient(theta, self.data), dtype=np.float64)
            J = J * np.where(self.law.logs, theta, 1.0)[..., None]
            if self.log:
                J /= f[..., None, :]
        return r, J

    def objective(self, r: Array, loss: Loss) -> Array:
        with np.errstate(invalid="ignore", over="ignore"):
            value = np.sum(self.weights * loss.value(r), axis=-1)
        return np.where(np.isnan(value), np.inf, value)

    def slope(self, u: Array, r: Array, J: Array, loss: Loss) -> tuple[Array, Array]:
        """The gradient, without what a bound holds back, and the size of the terms that it is the sum of."""
        psi = self.weights * loss.slope(r)
        with np.errstate(invalid="ignore", over="ignore"):
            g = np.matmul(J, psi[..., None])[..., 0]
            # A residual of 1e-12 is as good as none: without this the terms of an exact fit vanish as well.
            floor = np.minimum(1e-12, loss.delta) / TOLERANCE * self.weights
            noise = np.matmul(np.abs(J), np.maximum(np.abs(psi), floor)[..., None])[..., 0]
        held = ~self.free | ((u <= self.low) & (g > 0)) | ((u >= self.high) & (g < 0))
        return np.where(held, 0.0, g), noise

    def descend(
        self, u: Array, loss: Loss, *, newton: bool, iterations: int, tolerance: float = 0.0
    ) -> tuple[Array, NDArray[np.int64]]:
        """Damped steps downhill, at most so many; a problem leaves as soon as it is at rest.

        At rest: the gradient is rounding noise beside its terms; for reweighting, too, where a step gains
        less than the share ``tolerance`` of the objective.
        """
        u, used = u.copy(), np.zeros(len(u), np.int64)
        r, _ = self.residuals(u)
        value = self.objective(r, loss)
        damping = np.full(len(u), 1e-6 if newton else 1e-3)
        alive = np.isfinite(value)
        for _ in range(iterations):
            if not alive.any():
                break
            at = np.flatnonzero(alive)
            some = self.only(alive)
            r, J = some.residuals(u[at], rows=True)
            g, noise = some.slope(u[at], r, J, loss)
            rest = np.all(np.abs(g) <= TOLERANCE * noise, axis=-1) | ~np.isfinite(J).all(axis=(-1, -2))
            alive[at[rest]] = False
            at, some, r, J, g = at[~rest], some.only(~rest), r[~rest], J[~rest], g[~rest]
            if not len(at):
                break
            used[at] += 1
            step, gain = some.step(u[at], r, J, g, loss, damping[at], newton)
            new = np.clip(u[at] + step, self.low, self.high)
            new_value = some.objective(some.residuals(new)[0], loss)
            drop = value[at] - new_value
            # Near the end the objective cannot tell any more whether a step was good; the gradient goes on.
            rounding = gain <= 1e-13 * value[at]
            good = (drop > 1e-4 * gain) | (rounding & (drop >= -1e-13 * value[at]))
            u[at[good]], value[at[good]] = new[good], new_value[good]
            damping[at] = np.clip(np.where(good, damping[at] / 8, damping[at] * 8), 1e-14, 1e14)
            stuck = damping[at] >= 1e13
            if not newton:
                stuck |= good & (drop <= tolerance * new_value)
            alive[at[stuck]] = False
        return u, used

    def step(
        self, u: Array, r: Array, J: Array, g: Array, loss: Loss, damping: Array, newton: bool
    ) -> tuple[Array, Array]:
        """A step (problems, parameters), and by how much the quadratic model falls with it."""
        omega = self.weights * loss.slope(r) / np.where(r == 0, 1.0, r)
        omega = np.where(r == 0, self.weights * (1.0 if loss.delta else 0.0), omega)
        M = np.matmul(J * omega[..., None, :], J.mT)
        H = self.hessian(u, r, J, loss) if newton else M
        moving = self.free & ~((g == 0) & ((u <= self.low) | (u >= self.high)))
        scale = np.sqrt(np.maximum(np.diagonal(M, axis1=-2, axis2=-1), TINY))
        both = moving[..., :, None] & moving[..., None, :]
        scaled = np.where(both, H / (scale[..., :, None] * scale[..., None, :]), 0.0)
        # |eigenvalues|: a step leads down also where the objective bends the other way.
        values, vectors = np.linalg.eigh(np.nan_to_num(scaled, posinf=0.0, neginf=0.0))
        slope = np.matmul(vectors.mT, (np.where(moving, g, 0.0) / scale)[..., None])[..., 0]
        size = np.abs(values) + damping[..., None]
        along = -slope / size
        gain = -np.sum(along * slope, axis=-1) - 0.5 * np.sum(np.abs(values) * along**2, axis=-1)
        return np.where(moving, np.matmul(vectors, along[..., None])[..., 0] / scale, 0.0), gain

    def hessian(self, u: Array, r: Array, J: Array, loss: Loss) -> Array:
        """The second derivative of the objective in u, the kinks of ρ′ left aside."""
        psi = self.weights * loss.slope(r)
        inner = self.weights * (np.abs(r) <= loss.delta)
        law = self.law
        if law.curvature is None:
            return np.matmul(J * inner[..., None, :], J.mT) + self._bend(u, psi)
        theta = law.natural(u)
        tilt = psi
        if self.log:
            inner = inner - psi
            tilt = psi / law.predict(theta, self.data)
        factor = np.where(law.logs, theta, 1.0)
        k = range(len(law.parameters))
        with np.errstate(all="ignore"):  # the step takes care of what is not finite
            bend = law.curvature(theta, self.data, tilt) * factor[..., :, None] * factor[..., None, :]
            bend[..., k, k] += np.where(law.logs, np.matmul(J, psi[..., None])[..., 0], 0.0)
            return np.matmul(J * inner[..., None, :], J.mT) + bend

    def _bend(self, u: Array, psi: Array) -> Array:
        """Σᵢ psiᵢ·∂²residualᵢ by central differences of the Jacobian."""
        k = u.shape[-1]
        out = np.empty((*u.shape, k))
        with np.errstate(over="ignore", invalid="ignore"):
            for j in range(k):
                h = np.zeros_like(u)
                h[..., j] = 1e-5 * np.maximum(np.abs(u[..., j]), 1e-2)
                _, above = self.residuals(u + h, rows=True)
                _, below = self.residuals(u - h, rows=True)
                out[..., j] = np.matmul(above - below, psi[..., None])[..., 0] / (2 * h[..., j, None])
        return 0.5 * (out + out.mT)
