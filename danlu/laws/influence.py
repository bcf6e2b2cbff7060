"""What each row and each cluster does to a fit: leverage, residual, and the decision without it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from danlu.laws.audit.whole import BUDGETS
from danlu.laws.base import Array
from danlu.laws.doubt import clusters, leverage, residual_rows
from danlu.laws.errors import LawError
from danlu.laws.fit import Fit, refit
from danlu.laws.formulas.chinchilla import CHINCHILLA, optimum
from danlu.laws.held_out import rungs_of
from danlu.laws.table import Points

EXACT = 400  # points up to which every row is left out in turn; of more, those that may move the fit most


@dataclass(frozen=True)
class Left:
    """The fit without some rows.

    ``what``: in words; ``rows``: indices. ``leverage``: the sum of theirs; ``standardised``: the residual of
    largest size, over s·√(1 − leverage). ``theta``: (parameters,) without them; ``decision``: without them;
    ``shift``: by how many of its standard errors the decision moves, where it moves most.
    """

    what: str
    rows: NDArray[np.int64]
    leverage: float
    standardised: float
    theta: Array
    decision: Array
    shift: float


@dataclass(frozen=True)
class Influence:
    """``names``: what is decided; ``decision``: with all rows. ``rows``, ``clusters``, ``groups``: the fit
    without each, the one that moves the decision most first. ``by``: what the clusters are."""

    fit: Fit
    names: tuple[str, ...]
    decision: Array
    rows: list[Left]
    clusters: list[Left]
    groups: list[Left]
    by: str


def influence(
    fit: Fit,
    *,
    by: str | Array | None = None,
    by_name: str = "cluster",
    groups: Sequence[tuple[str, NDArray[np.int64]]] = (),
    most: int = EXACT,
    flops: Sequence[float] | None = None,
) -> Influence:
    """Leave out each row, and each cluster, and fit again.

    ``by``: a column, or a label for each point; sizes within 5 % where not said and some repeat. ``by_name``:
    what labels are called. ``groups``: further sets of rows, with what each is called. ``most``: rows left
    out; of more, those with the largest influence by a step of the law made linear. ``flops``: budgets of the
    decision; 1, 10 and 100 times the largest compute where not said. The decision is the tokens per parameter
    for ``chinchilla``, the prediction at the largest point for other laws.
    """
    names, of = decision_of(fit, flops)
    points, known = fit.points, leverage(fit)
    error, step = _errors(fit, of)
    sets = [(f"data row {i + 1}", np.array([i])) for i in np.argsort(-step, kind="stable")[:most].tolist()]
    single = len(sets)
    name, whole = _clusters(points, by, by_name)
    sets += [*whole, *groups]
    keep = np.ones((len(sets), points.size))
    for number, (_, rows) in enumerate(sets):
        keep[number, rows] = 0.0
    theta = refit(fit, weights=keep * fit.weights, starts=1).theta
    now, without = of(fit.vector), of(theta)
    left = []
    for (what, rows), one, value in zip(sets, theta, without, strict=True):
        size = known.standardised[rows]
        move = np.abs(np.log(value / now)) / error
        left.append(Left(
            what, rows, float(known.leverage[rows].sum()), float(size[np.argmax(np.abs(size))]), one, value,
            float(np.nan_to_num(move, nan=np.inf).max()),
        ))  # fmt: skip
    rows_, clusters_, groups_ = (
        sorted(part, key=lambda one: -one.shift)
        for part in (left[:single], left[single : single + len(whole)], left[single + len(whole) :])
    )
    return Influence(fit, names, now, rows_, clusters_, groups_, name)


def _clusters(
    points: Points, by: str | Array | None, name: str
) -> tuple[str, list[tuple[str, NDArray[np.int64]]]]:
    """What the clusters are, and the rows of each; none where there are fewer than two."""
    if by is None:
        if "n" not in points:
            return "", []
        rung = rungs_of(points["n"])
        if rung.max() + 1 == points.size:
            return "", []
        sizes = [np.flatnonzero(rung == i) for i in range(rung.max() + 1)]
        made = [(f"n near {np.exp(np.log(points['n'][rows]).mean()):.3g}", rows) for rows in sizes]
        return "sizes", made if len(made) > 1 else []
    group = clusters(points, by)
    sets = [np.flatnonzero(group == i) for i in range(group.max() + 1)]
    if isinstance(by, str):
        made = [(f"{by} = {points[by][rows[0]]:.4g}", rows) for rows in sets]
    elif name in points:
        made = [(f"{name} near {points[name][rows].mean():.3g}", rows) for rows in sets]
    else:
        made = [(f"the {name} of data row {rows[0] + 1}", rows) for rows in sets]
    return by if isinstance(by, str) else name, made if len(made) > 1 else []


def decision_of(
    fit: Fit, flops: Sequence[float] | None = None
) -> tuple[tuple[str, ...], Callable[[Array], Array]]:
    """What a fit is for, in words, and as a function of theta (…, parameters) to (…, values)."""
    points = fit.points.with_compute()
    if fit.law.name == CHINCHILLA.name:
        largest = points["c"].max()
        budgets = np.array(flops or [float(f"{largest * times:.2g}") for times in BUDGETS])

        def ratio(theta: Array) -> Array:
            n, d = optimum(theta[..., None, :], budgets)
            return d / n

        return tuple(f"D/N at {budget:.3g} FLOP" for budget in budgets), ratio
    if flops:
        raise LawError(f"only chinchilla divides a budget; leave out the budgets for {fit.law.name}")
    first = fit.law.columns[-1]
    last = fit.points.take([int(np.argmax(fit.points[first]))])
    where = ", ".join(f"{name} = {last[name][0]:.3g}" for name in fit.law.columns)
    return (f"{fit.law.target} at {where}",), lambda theta: fit.law.predict(theta, last)


def _errors(fit: Fit, of: Callable[[Array], Array]) -> tuple[Array, Array]:
    """The standard error of ln decision, (values,), and by how many of these it moves without each row,
    (points,), by one step of the law made linear."""
    rows = residual_rows(fit) * np.sqrt(fit.weights)
    size = np.maximum(np.linalg.norm(rows, axis=-1), 1e-300)
    scaled = rows / size[:, None]
    inverse = np.linalg.pinv(scaled @ scaled.T, rcond=1e-12, hermitian=True)
    g = fit.law.slopes(lambda theta: np.log(of(theta)), fit.vector)[fit.free] / size[:, None]
    spread = 1.4826 * float(np.median(np.abs(fit.residuals)))
    # Where ρ is |r| all but everywhere, a mean of noise is π/2 times as uncertain as by least squares.
    wide = np.sqrt(np.pi / 2) if fit.loss.delta < spread else 1.0
    error = wide * spread * np.sqrt(np.einsum("ij,ik,kj->j", g, inverse, g))
    toward = g.T @ inverse @ scaled * np.clip(fit.residuals, -3 * spread, 3 * spread)
    error = np.maximum(error, 1e-12)
    return error, np.abs(toward / error[:, None]).max(0)
