"""The three approaches side by side: as many as the points allow, and whether they contradict one another."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from itertools import combinations
from typing import Any, NamedTuple

import numpy as np

from danlu.laws.approaches.envelope import curves, envelope
from danlu.laws.approaches.frontier import Frontier, line
from danlu.laws.approaches.isoflop import Method, Profiles, of_profiles, profiles
from danlu.laws.approaches.parametric import division, of_fit
from danlu.laws.base import Array
from danlu.laws.doubt import clusters, leverage
from danlu.laws.errors import LawError, Warned
from danlu.laws.fit import Fit, fit, refit
from danlu.laws.formulas.chinchilla import CHINCHILLA
from danlu.laws.table import Points

LEVEL = 0.05  # of all comparisons together
COPIES = 200  # simulated sets of points
MOST_TOLD = 200  # optima; of an envelope there are as many as budgets looked at
MARGIN = (0.05, 0.01)  # a bias of ln N_opt and of a that is smaller is not worth a warning

Lines = Callable[[Array], Array]


class Bias(NamedTuple):
    """``a``: by how much the exponent is off; ``n``: by which factor N_opt at the largest compute is."""

    a: float
    n: float


@dataclass(frozen=True)
class Pair:
    """Two approaches. ``exponent``: the difference of their a; ``error``: its standard error, of points that
    the fitted law made. ``ratio``: of their N_opt at ``flops``, the largest compute of the points.
    ``expected``: the difference of a that they have for points of the law itself. ``p``: of Hotelling's test
    that both lines are one, adjusted for the number of pairs (Holm 1979). ``explained``: the same of what the
    law's points do not show as well."""

    one: str
    other: str
    exponent: float
    error: float
    expected: float
    flops: float
    ratio: float
    p: float
    explained: float

    @property
    def disagree(self) -> bool:
        """At ``LEVEL``, all pairs together."""
        return self.p < LEVEL

    def __str__(self) -> str:
        said = (
            f"{self.one} and {self.other} disagree: a differs by {self.exponent:+.3f} ± {self.error:.3f}, "
            f"N_opt at {self.flops:.3g} FLOP by a factor of {self.ratio:.2f} (p = {self.p:.2g}, level "
            f"{LEVEL:g} of all pairs)"
        )
        if self.explained >= LEVEL:
            return f"{said}; the methods' bias explains it (a by {self.expected:+.3f})"
        return f"{said}; the methods' bias does not explain it (a by {self.expected:+.3f})"


@dataclass(frozen=True)
class Sides:
    """``frontiers``: by approach. ``absent``: why the others are not there. ``biases``: by approach, how
    far its median over points of the fitted law is from the law itself. ``pairs``: each two.
    ``profiles``, ``fit``: what isoflop and parametric were read off."""

    points: Points
    frontiers: dict[str, Frontier]
    absent: dict[str, str]
    biases: dict[str, Bias]
    pairs: list[Pair]
    warnings: list[Warned]
    profiles: Profiles | None = None
    fit: Fit | None = None

    def json(self, flops: Sequence[float]) -> dict[str, Any]:
        """Plain values; ``flops``: budgets to say the best size and data of, with 95 % intervals."""
        return {
            "approaches": {name: _frontier(one, flops) for name, one in self.frontiers.items()},
            "absent": self.absent,
            "biases": {name: bias._asdict() for name, bias in self.biases.items()},
            "pairs": [{**asdict(pair), "disagree": pair.disagree} for pair in self.pairs],
            "level": LEVEL,
        }


def sides(
    points: Points,
    *,
    run: Array | None = None,
    by: str | Array | None = None,
    method: Method = "parabola",
    noise: float | None = None,
    weighted: bool = False,
    lowest: bool = False,
    tolerance: float | None = None,
    smooth: float = 0.0,
    resamples: int = 1000,
    seed: int = 0,
    level: float = 0.95,
) -> Sides:
    """All approaches that the points allow.

    ``run``: (points,) labels of training curves; without it there is no envelope. ``by``: of ``resample``,
    the runs where not said. The others are arguments of ``isoflop`` and ``envelope``.

    Two approaches are compared by points that the fitted law makes, its residuals with random signs (a sign
    for each cluster): from these comes the covariance of the difference of their lines, since both read the
    same noise. Raises LawError, with every reason, where no approach is possible.
    """
    points = points.with_compute()
    by = run if by is None else by
    frontiers, absent, fits = dict[str, Frontier](), dict[str, str](), list[Fit]()
    made: Profiles | None = None

    def by_profiles() -> Frontier:
        nonlocal made
        made = profiles(points, method=method, noise=noise, lowest=lowest, tolerance=tolerance)
        return of_profiles(made, weighted=weighted, resamples=resamples, seed=seed, level=level)

    ways: dict[str, Callable[[], Frontier]] = {
        "isoflop": by_profiles,
        "envelope": lambda: envelope(
            points, run=_given(run), smooth=smooth, resamples=resamples, seed=seed, level=level
        ),
        "parametric": lambda: of_fit(
            _once(fits, points), resamples=min(resamples, COPIES), by=by, starts=1, seed=seed, level=level
        ),
    }  # fmt: skip
    for name, way in ways.items():
        try:
            frontiers[name] = way()
        except LawError as error:
            absent[name] = str(error)
    if not frontiers:
        raise LawError("; ".join(f"{name}: {why}" for name, why in absent.items()))
    if "isoflop" not in frontiers:
        made = None
    if "parametric" not in frontiers or len(frontiers) < 2:
        return Sides(points, frontiers, absent, {}, [], [], made)
    found = fits[0]
    lines = {"parametric": lambda targets: division(refit(found, targets=targets, starts=1).theta)[:, :2]}
    if made is not None:
        lines["isoflop"] = lambda targets: _of_profiles(made, frontiers["isoflop"], targets)
    if "envelope" in frontiers:
        lines["envelope"] = lambda targets: _of_curves(points, _given(run), smooth, targets)
    return replace(_compared(found, frontiers, absent, lines, by, seed), profiles=made, fit=found)


def _once(fits: list[Fit], points: Points) -> Fit:
    """The fit of the law, kept for the comparison."""
    fits.append(fit(CHINCHILLA, points))
    return fits[0]


def _given(run: Array | None) -> Array:
    if run is None:
        raise LawError("it needs training curves, and nothing tells which points are of one run")
    return run


def _of_profiles(made: Profiles, found: Frontier, targets: Array) -> Array:
    """Lines of ln N_opt, (copies, 2), through the budgets of the frontier."""
    used = np.isin(
        np.round([np.log(one.flops) for one in made.sizes], 9), np.round(np.log(found.optima["c"]), 9)
    )
    log_n = made.optima(targets.T)[used].T
    log_c = np.log(found.optima["c"])
    there = np.isfinite(log_n)
    return np.stack(line(log_c, np.where(there, log_n, 0.0), there.astype(float)), axis=-1)


def _of_curves(points: Points, run: Array, smooth: float, targets: Array) -> Array:
    made = curves(points, run, smooth=smooth, budgets=300)
    rows = [made.lines(made.table(one)) for one in targets]
    return np.array([np.full(2, np.nan) if row is None else row[:2] for row in rows])


def _compared(
    found: Fit,
    frontiers: dict[str, Frontier],
    absent: dict[str, str],
    lines: dict[str, Lines],
    by: str | Array | None,
    seed: int,
) -> Sides:
    group = clusters(found.points, by)
    signs = np.random.default_rng(seed).choice([-1.0, 1.0], size=(COPIES, int(group.max()) + 1))
    # A fit is nearer to its points than the truth is: each residual by 1/√(1 − leverage).
    wide = found.residuals / np.sqrt(np.maximum(1 - leverage(found).leverage, 0.1))
    law = found.predict(found.points)
    targets = law * np.exp(signs[:, group] * wide)
    log_c = np.log(found.points["c"])
    centre, end = float(log_c.mean()), float(log_c.max())

    def at(rows: Array, where: float) -> Array:
        """ln N_opt at some ln C, and the slope."""
        return np.stack([rows[..., 0] + rows[..., 1] * where, rows[..., 1]], axis=-1)

    drawn = {name: lines[name](targets) for name in frontiers}
    simulated = {name: at(rows, centre) for name, rows in drawn.items()}
    measured = {name: at(one.lines[0, :2], centre) for name, one in frontiers.items()}
    biases, warnings = {}, list[Warned]()
    for name, rows in drawn.items():
        off = np.nanmedian(at(rows, end), axis=0) - at(division(found.vector)[:2], end)
        biases[name] = Bias(float(off[1]), float(np.exp(off[0])))
        error = at(frontiers[name].lines[1:, :2], end).std(0)
        if (np.abs(off) > np.maximum(MARGIN, 0.5 * error)).any():
            warnings.append(Warned(
                "biased-approach",
                f"{name} is biased here: for points of the fitted law, its a is {off[1]:+.3f} off "
                f"and its N_opt at {np.exp(end):.3g} FLOP {np.exp(off[0]):.2f} times the law's, since "
                "exponents are unequal, or sizes off centre, too few or too far apart",
            ))  # fmt: skip
    pairs = []
    for one, other in combinations(frontiers, 2):
        off = measured[one] - measured[other]
        spread = simulated[one] - simulated[other]
        spread = spread[np.isfinite(spread).all(-1)]
        if len(spread) < COPIES // 2:
            continue
        middle = spread.mean(0)
        covariance = np.cov(spread.T) + 1e-18 * np.eye(2)
        ratio = float(np.exp(off[0] + off[1] * (end - centre)))
        error = float(np.sqrt(covariance[1, 1]))
        p, explained = (_hotelling(d, covariance, len(spread)) for d in (off, off - middle))
        pairs.append(Pair(
            one, other, float(off[1]), error, float(middle[1]), float(np.exp(end)), ratio, p, explained
        ))  # fmt: skip
    pairs = _holm(pairs)
    warnings += [Warned("approaches-disagree", str(pair)) for pair in pairs if pair.disagree]
    return Sides(found.points, frontiers, absent, biases, pairs, warnings)


def _frontier(one: Frontier, flops: Sequence[float]) -> dict[str, Any]:
    at = []
    for budget in flops:
        n, d = one.optimum(budget)
        at.append({"flops": budget, "n": n.json(), "d": d.json()})
    names = list(one.optima)
    optima = [
        dict(zip(names, row, strict=True))
        for row in zip(*(one.optima[name].tolist() for name in names), strict=True)
    ]
    return {
        "how": one.approach,
        "a": one.a.json(),
        "b": one.b.json(),
        "at": at,
        "optima": optima if len(optima) < MOST_TOLD else [],
        "refused": one.refused,
        "notes": one.notes,
    }


def _hotelling(off: Array, covariance: Array, draws: int) -> float:
    """p of a mean of zero, the covariance known from so many draws (Hotelling 1931)."""
    from scipy.special import fdtrc

    k = len(off)
    square = float(off @ np.linalg.solve(covariance, off))
    return float(fdtrc(k, draws - k, square * (draws - k) / (k * (draws - 1))))


def _holm(pairs: list[Pair]) -> list[Pair]:
    """The same with both p adjusted for their number."""
    p, explained = _adjusted([pair.p for pair in pairs]), _adjusted([pair.explained for pair in pairs])
    return [replace(pair, p=a, explained=b) for pair, a, b in zip(pairs, p, explained, strict=True)]


def _adjusted(p: list[float]) -> list[float]:
    """The r-th smallest of m times m − r + 1, and none below a smaller one (Holm 1979)."""
    order = np.argsort(p, kind="stable")
    out = np.empty(len(p))
    out[order] = np.maximum.accumulate(np.minimum(1.0, np.array(p)[order] * np.arange(len(p), 0, -1)))
    return [float(one) for one in out]
