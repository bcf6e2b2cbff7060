"""Chinchilla's three approaches to dividing compute: envelope of curves, IsoFLOP profiles, fitted law.

Each ends in a ``Frontier``: N_opt ∝ C^a and D_opt ∝ C^b with intervals (Hoffmann et al. 2022,
arXiv:2203.15556, section 3).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from scipy.interpolate import Akima1DInterpolator
from scipy.ndimage import gaussian_filter1d

from danlu.laws.base import Array
from danlu.laws.doubt import Interval, bootstrap, interval, rungs_of
from danlu.laws.errors import LawError
from danlu.laws.fit import fit
from danlu.laws.formulas.chinchilla import CHINCHILLA, allocation
from danlu.laws.table import FLOPS_PER_PARAMETER_AND_TOKEN, Points

# An optimum nearer to an end of the sampled sizes than this share of their range (in ln N) is off centre.
CENTRE = 0.25
# Of the noisy profiles of a budget, at least this share must have an optimum inside the sampled sizes.
INSIDE = 0.5
PER_GAP = 25  # values of ln N between two sizes, on which an interpolated profile is searched


@dataclass(frozen=True)
class Frontier:
    """How the best size and the tokens grow with compute.

    ``a``, ``b``: the exponents of N_opt and of D_opt. ``optima``: columns c, n, d and loss of the optima that
    the lines were laid through (none for the parametric approach). ``lines``: (draws, 4), the intercept and
    slope of ln n over ln c, then of ln d; the first is the estimate, the others are resamples.
    ``refused``: budgets without an optimum that can be used, a sentence each. ``warnings``: of the others.
    """

    approach: str
    a: Interval
    b: Interval
    optima: Points
    lines: Array
    refused: list[str]
    warnings: list[str]

    def optimum(self, flops: float, level: float = 0.95) -> tuple[Interval, Interval]:
        """N_opt and D_opt of a budget in FLOP."""
        log_c = np.log(flops)
        n = np.exp(self.lines[:, 0] + self.lines[:, 1] * log_c)
        d = np.exp(self.lines[:, 2] + self.lines[:, 3] * log_c)
        return interval(n[0], n[1:], level), interval(d[0], d[1:], level)


def envelope(
    curves: Points,
    *,
    run: str = "run",
    budgets: int = 1500,
    smooth: float = 0.0,
    resamples: int = 1000,
    seed: int = 0,
    level: float = 0.95,
) -> Frontier:
    """Approach 1: at each of many budgets the run with the lowest loss, and lines through these.

    ``curves``: points of training curves, with n, d, loss and a column ``run`` that tells the runs apart.
    ``smooth``: points of a Gaussian over each curve (the paper: 10). The runs are resampled.
    A budget counts only where the best run has a smaller and a larger rival, as its optimum may else lie
    beyond the sizes tried. Raises LawError where no two sizes are ever the best.
    """
    for name in ("n", "d", "loss", run):
        if name not in curves:
            raise LawError(f"the envelope needs a column {name}; there are {', '.join(curves)}")
    curves = curves.with_compute()
    positive(curves, ("n", "d", "c", "loss"))
    log_c = np.linspace(np.log(curves["c"].min()), np.log(curves["c"].max()), budgets)
    table, sizes, factors = [], [], []
    for label in np.unique(curves[run]):
        one = curves.take(curves[run] == label)
        one = one.take(np.argsort(one["d"], kind="stable"))
        if len(np.unique(one["n"])) > 1:
            raise LawError(f"run {label:g} has more than one size n")
        loss = np.log(one["loss"])
        loss = gaussian_filter1d(loss, smooth, mode="nearest") if smooth else loss
        table.append(np.interp(log_c, np.log(one["c"]), loss, left=np.inf, right=np.inf))
        sizes.append(np.log(one["n"][0]))
        factors.append(np.median(np.log(one["c"] / (one["n"] * one["d"]))))
    losses, log_n, factor = np.array(table), np.array(sizes), np.array(factors)
    generator, runs = np.random.default_rng(seed), len(losses)
    lines, optima = [], None
    for resample in range(resamples + 1):
        drawn = np.unique(generator.integers(runs, size=runs)) if resample else np.arange(runs)
        kept, best = _lowest(losses[drawn], log_n[drawn])
        winner, at = drawn[best[kept]], log_c[kept]
        if len(np.unique(log_n[winner])) < 2:
            if not resample:
                raise LawError(
                    "the envelope needs two sizes that are the best, between smaller and larger ones"
                )
            continue
        log_d = at - log_n[winner] - factor[winner]
        lines.append([*_line(at, log_n[winner]), *_line(at, log_d)])
        if optima is None:
            loss = np.exp(losses[winner, np.flatnonzero(kept)])
            optima = Points(c=np.exp(at), n=np.exp(log_n[winner]), d=np.exp(log_d), loss=loss)
    assert optima is not None
    return _frontier("envelope", np.array(lines), optima, [], [], level)


def isoflop(
    points: Points,
    *,
    method: Literal["parabola", "akima"] = "parabola",
    noise: float | None = None,
    weighted: bool = False,
    resamples: int = 1000,
    seed: int = 0,
    level: float = 0.95,
) -> Frontier:
    """Approach 2: for each budget the size of the lowest loss, and lines through these.

    ``points``: n, loss, and c or d; the values of c within 5 % of one another are a budget.
    ``method``: ``parabola`` takes the vertex of a parabola of loss over ln N (Hoffmann et al.); ``akima``
    interpolates ln loss over ln N and takes the median optimum of noisy copies (Porian et al. 2024,
    arXiv:2406.19146, section 3). ``noise``: standard deviation of the loss from run to run; left out, that
    about the parabolas. ``weighted``: a budget counts by 1/variance of its noisy optima, the standard
    deviation at least a third of the gap between sizes. Resamples draw noise and budgets.

    A budget is refused where its optimum lies outside the sampled sizes (or does for half of its noisy
    copies), and an optimum near their end is warned of. Raises LawError where fewer than two are left.
    """
    for name in ("n", "loss"):
        if name not in points:
            raise LawError(f"IsoFLOP profiles need a column {name}; there are {', '.join(points)}")
    points = points.with_compute()
    if "c" not in points:
        raise LawError(f"IsoFLOP profiles need a column c or d; there are {', '.join(points)}")
    points = points.with_compute()
    positive(points, ("n", "d", "c", "loss"))
    profiles, refused, warnings = [], list[str](), list[str]()
    rung = rungs_of(points["c"])
    for number in range(rung.max() + 1):
        one = _lowest_of_each_size(points.take(rung == number))
        if one.size < 4:
            refused.append(f"{one['c'][0]:.3g} FLOP: {one.size} sizes are too few for a profile")
        else:
            profiles.append(one)
    noise = _scatter(profiles) if noise is None else noise
    generator = np.random.default_rng(seed)
    rows, draws, weights = [], [], []
    for one in profiles:
        budget, log_n = float(np.exp(np.mean(np.log(one["c"])))), np.log(one["n"])
        noisy = one["loss"][:, None] + noise * generator.standard_normal((one.size, resamples))
        both = np.concatenate([one["loss"][:, None], noisy], axis=1)
        at, loss = _vertices(log_n, both) if method == "parabola" else _interpolated(log_n, both)
        inside = np.isfinite(at[1:])
        if not np.isfinite(at[0]) or inside.mean() < INSIDE:
            low, high = one["n"][[0, -1]]
            refused.append(f"{budget:.3g} FLOP: no optimum inside the sampled sizes, {low:.3g} to {high:.3g}")
            continue
        # A noisy copy without an optimum inside stands for the middle of the others.
        copies = np.where(inside, at[1:], np.median(at[1:][inside]))
        best, best_loss = at[0], loss[0]
        gap, spread = (log_n[-1] - log_n[0]) / (one.size - 1), np.std(at[1:][inside])
        if method == "akima":
            best, best_loss = np.median(copies), np.median(loss[1:][inside])
        share = (best - log_n[0]) / (log_n[-1] - log_n[0])
        if not CENTRE <= share <= 1 - CENTRE:
            side = "smallest" if share < 0.5 else "largest"
            warnings.append(
                f"{budget:.3g} FLOP: the optimum, {np.exp(best):.3g}, is off centre, near the "
                f"{side} size sampled; sample beyond it"
            )
        factor = np.interp(best, log_n, np.log(one["c"] / (one["n"] * one["d"])))
        rows.append([np.log(budget), best, np.log(budget) - best - factor, best_loss])
        draws.append(copies)
        weights.append((max(spread, gap / 3) / inside.mean()) ** -2 if weighted else 1.0)
    if len(rows) < 2:
        told = "; ".join(refused)
        raise LawError(f"IsoFLOP profiles need optima of two budgets, not {len(rows)}{told and ': ' + told}")
    log_c, log_n, log_d, loss = np.array(rows).T
    lines, weight, copies = [[*_line(log_c, log_n, np.array(weights))]], np.array(weights), np.array(draws)
    lines[0] += _line(log_c, log_d, weight)
    for copy in range(resamples):
        counts = generator.multinomial(len(rows), np.full(len(rows), 1 / len(rows)))
        if np.count_nonzero(counts) < 2:
            continue
        n, d = copies[:, copy], log_d + log_n - copies[:, copy]
        lines.append([*_line(log_c, n, weight * counts), *_line(log_c, d, weight * counts)])
    if len(rows) == 2:
        warnings.append("only two budgets: nothing tests that the optima follow a power law")
    optima = Points(c=np.exp(log_c), n=np.exp(log_n), d=np.exp(log_d), loss=loss)
    return _frontier(f"isoflop, {method}", np.array(lines), optima, refused, warnings, level)


def parametric(
    points: Points,
    *,
    resamples: int = 1000,
    by: str | Array | None = None,
    seed: int = 0,
    level: float = 0.95,
    **options: Any,
) -> Frontier:
    """Approach 3: the law of ``chinchilla`` fitted to the points, its best division, its bootstrap.

    ``by``: of ``bootstrap``. ``options``: of ``fit`` (``loss``, ``weights``, ``starts``).
    """
    found = fit(CHINCHILLA, points.with_compute(), **options)
    draws = bootstrap(found, resamples, by=by, seed=seed)
    G, a, b = allocation(np.concatenate([found.vector[None], draws.theta]))
    six, log_G = np.log(FLOPS_PER_PARAMETER_AND_TOKEN), np.log(G)
    lines = np.stack([log_G - a * six, a, -log_G - b * six, b], axis=-1)
    return _frontier("parametric", lines, Points(), [], [*found.warnings], level)


def positive(points: Points, names: tuple[str, ...]) -> None:
    """Raise LawError where one of these columns has a value that is not positive."""
    for name in names:
        if (points[name] <= 0).any():
            first = int(np.flatnonzero(points[name] <= 0)[0])
            raise LawError(f"{name} must be positive, but point {first + 1} has {points[name][first]:g}")


def _frontier(
    approach: str, lines: Array, optima: Points, refused: list[str], warnings: list[str], level: float
) -> Frontier:
    lines = lines[np.isfinite(lines).all(-1)]
    if len(lines) < 3:
        raise LawError(
            f"{approach}: hardly any resample has a power law; more budgets, sizes or runs are needed"
        )
    a, b = (interval(lines[0, k], lines[1:, k], level) for k in (1, 3))
    return Frontier(approach, a, b, optima, lines, refused, warnings)


def _line(x: Array, y: Array, weight: Array | None = None) -> list[float]:
    """The intercept and slope of least squares."""
    weight = np.ones_like(x) if weight is None else weight
    middle_x, middle_y = np.average(x, weights=weight), np.average(y, weights=weight)
    slope = float(weight * (x - middle_x) @ (y - middle_y) / (weight * (x - middle_x) @ (x - middle_x)))
    return [float(middle_y - slope * middle_x), slope]


def _lowest(losses: Array, log_n: Array) -> tuple[Array, Array]:
    """Which budgets have a best run between two rivals, (budgets,) bool, and which run it is, (budgets,)."""
    best = np.argmin(losses, axis=0)
    there = np.isfinite(losses)
    smaller = (there & (log_n[:, None] < log_n[best])).any(0)
    larger = (there & (log_n[:, None] > log_n[best])).any(0)
    return smaller & larger, best


def _lowest_of_each_size(points: Points) -> Points:
    order = np.lexsort((points["loss"], points["n"]))
    first = np.unique(points["n"][order], return_index=True)[1]
    return points.take(order[first])


def _scatter(profiles: list[Points]) -> float:
    """The standard deviation of the loss about parabolas, over all budgets."""
    squares, free = 0.0, 0
    for one in profiles:
        x = np.log(one["n"])
        squares += float(
            np.sum((one["loss"] - np.polyval(np.polyfit(x - x.mean(), one["loss"], 2), x - x.mean())) ** 2)
        )
        free += one.size - 3
    return float(np.sqrt(squares / free)) if free else 0.0


def _vertices(log_n: Array, losses: Array) -> tuple[Array, Array]:
    """The vertices, (copies,), of parabolas through losses (sizes, copies), and the loss there; else NaN."""
    middle = log_n.mean()
    second, first, constant = np.polyfit(log_n - middle, losses, 2)
    with np.errstate(divide="ignore", invalid="ignore"):
        at = np.where(second > 0, -first / (2 * second), np.nan)
        at = np.where((at + middle > log_n[0]) & (at + middle < log_n[-1]), at, np.nan)
    return at + middle, constant + first * at / 2


def _interpolated(log_n: Array, losses: Array) -> tuple[Array, Array]:
    """The lowest points, (copies,), of Akima's curves through losses (sizes, copies); at an end NaN."""
    grid = np.linspace(log_n[0], log_n[-1], PER_GAP * (len(log_n) - 1))
    curve = Akima1DInterpolator(log_n, np.log(losses))(grid)
    best = np.argmin(curve, axis=0)
    edge = (best == 0) | (best == len(grid) - 1)
    return np.where(edge, np.nan, grid[best]), np.exp(curve.min(axis=0))
