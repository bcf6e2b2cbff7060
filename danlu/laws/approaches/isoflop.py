"""Approach 2: IsoFLOP profiles, the loss over size at equal compute, and lines through the lowest points."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from danlu.laws.approaches.budgets import budgets
from danlu.laws.approaches.frontier import Frontier, frontier, line, positive
from danlu.laws.approaches.sizes import Sizes, by_size, scatter_of_repeats
from danlu.laws.base import Array
from danlu.laws.doubt import interval
from danlu.laws.errors import LawError, Warned
from danlu.laws.table import Points

Method = Literal["parabola", "akima"]
METHODS: tuple[Method, ...] = ("parabola", "akima")
# An optimum nearer to an end of the sampled sizes than this share of their range (in ln N) is off centre.
CENTRE = 0.25
# Of the noisy profiles of a budget, at least this share must have an optimum inside the sampled sizes.
INSIDE = 0.5
TOLD = 4  # budgets of which a sentence says why they have no optimum
FEWEST_SIZES = 4  # of a profile
FEWEST_REPEATS = 3  # degrees of freedom from which on repeats tell the noise
MIXED = 0.05  # of the loss; seeds differ by 3.5 % at most (Choshen et al. 2024, arXiv:2410.11840)
PER_GAP = 25  # values of ln N between two sizes, on which an interpolated profile is searched


@dataclass(frozen=True)
class Profiles:
    """The profiles that an IsoFLOP frontier is read off.

    ``sizes``: of each budget that has enough. ``slope``: of ln loss over ln C along the best sizes.
    ``noise``: standard deviation of the loss from run to run, a number or of each size of each budget.
    ``source``: where that comes from, in words. ``refused``: budgets with too few sizes, a sentence each.
    """

    points: Points
    method: Method
    sizes: list[Sizes]
    slope: float
    noise: float
    source: str
    refused: list[str]

    @property
    def mixed(self) -> str:
        """Why runs of equal points cannot be of one experiment, or nothing."""
        share = self.noise / float(np.median(self.points["loss"]))
        if not self.source.startswith("from runs") or share < MIXED:
            return ""
        return (
            f"runs of equal n and c differ by {share:.1%} of their loss, more than chance does: the file "
            "mixes experiments or settings; fit one at a time (--where), or take the lowest (--lowest)"
        )

    def optima(self, losses: Array) -> Array:
        """ln N_opt of every budget, (budgets, copies), of losses of all points, (points, copies); NaN where
        it lies outside the sampled sizes."""
        return np.array([self.lowest(one, one.losses(losses, self.slope))[0] for one in self.sizes])

    def curve(self, log_n: Array, loss: Array, at: Array) -> Array:
        """The loss of a profile at other ln N, (samples,)."""
        if self.method == "akima":
            return _akima(log_n, loss, at)
        middle = log_n.mean()
        return np.polyval(np.polyfit(log_n - middle, loss, 2), at - middle)

    def lowest(self, one: Sizes, losses: Array) -> tuple[Array, Array]:
        """ln N_opt and the loss there, (copies,) each, of the losses of one budget's sizes."""
        return (_vertices if self.method == "parabola" else _interpolated)(one.log_n, losses)


def profiles(
    points: Points,
    *,
    method: Method = "parabola",
    noise: float | None = None,
    lowest: bool = False,
    tolerance: float | None = None,
) -> Profiles:
    """The profiles of points with n, loss, and c or d; the arguments are those of ``isoflop``."""
    if method not in METHODS:
        raise LawError(f"method = {method!r}; allowed: {', '.join(METHODS)}")
    for name in ("n", "loss"):
        if name not in points:
            raise LawError(f"IsoFLOP profiles need a column {name}; there are {', '.join(points)}")
    points = points.with_compute()
    if "c" not in points:
        raise LawError(f"IsoFLOP profiles need a column c or d; there are {', '.join(points)}")
    positive(points, ("n", "d", "c", "loss"))
    sizes, refused = [], list[str]()
    for one in by_size(points, budgets(points["c"], tolerance), lowest=lowest):
        if len(one.log_n) < FEWEST_SIZES:
            count = len(one.log_n)
            refused.append(
                f"{one.flops:.3g} FLOP: {count} size{'s are' if count != 1 else ' is'} too few for a profile"
            )
        else:
            sizes.append(one)
    slope = _slope(points, sizes)
    source = "as given"
    if noise is None:
        noise, free = scatter_of_repeats(points, sizes)
        source = f"from runs of equal points ({free} degrees of freedom)" if free >= FEWEST_REPEATS else ""
        if not source:
            noise = _misfit(points, sizes, slope)
            source = "from the misfit of parabolas, as too few points are repeated: it is too large where "
            source += "profiles are no parabolas"
    return Profiles(points, method, sizes, slope, noise, source, refused)


def isoflop(
    points: Points,
    *,
    method: Method = "parabola",
    noise: float | None = None,
    weighted: bool = False,
    lowest: bool = False,
    tolerance: float | None = None,
    resamples: int = 1000,
    seed: int = 0,
    level: float = 0.95,
) -> Frontier:
    """Approach 2: for each budget the size of the lowest loss, and lines through these.

    ``points``: n, loss, and c or d. ``tolerance``: of ``budgets``, which says what a budget is; points are
    moved to it along the slope of the lowest losses. Runs of one point (same n, c, lr, b and u) are averaged,
    of several settings the best one counts; ``lowest``: always the best one.
    ``method``: ``parabola`` takes the vertex of a parabola of loss over ln N (Hoffmann et al.); ``akima``
    interpolates ln loss over ln N and takes the median optimum of noisy copies (Porian et al. 2024,
    arXiv:2406.19146, section 3). ``noise``: standard deviation of the loss from run to run; left out, that
    of repeated points, and where these are too few, that about the parabolas. ``weighted``: a budget counts
    by 1/variance of its noisy optima, the standard deviation at least a third of the gap between sizes.
    Resamples draw noise, and the scatter of optima from budget to budget that noise does not explain
    (Student's t, two degrees less than budgets). The optima's columns ``n_low`` and ``n_high`` are the ends
    of each budget's own interval, by noise alone; a noisy copy without an optimum counts beyond either end.

    A budget is refused where its optimum lies outside the sampled sizes (or does for half of its noisy
    copies), and an optimum near their end is warned of. Raises LawError where fewer than two are left.
    """
    made = profiles(points, method=method, noise=noise, lowest=lowest, tolerance=tolerance)
    return of_profiles(made, weighted=weighted, resamples=resamples, seed=seed, level=level)


def of_profiles(
    made: Profiles, *, weighted: bool = False, resamples: int = 1000, seed: int = 0, level: float = 0.95
) -> Frontier:
    """The frontier of profiles; the arguments, and what is raised, are those of ``isoflop``."""
    refused, warnings = list(made.refused), list[Warned]()
    generator = np.random.default_rng(seed)
    rows, draws, weights = [], [], []
    for one in made.sizes:
        best = _best(made, one, resamples, generator, level)
        if isinstance(best, str):
            refused.append(best)
            continue
        if best.off:
            warnings.append(Warned("off-centre", best.off))
        factor = np.interp(best.log_n, one.log_n, one.factor)
        log_c = np.log(one.flops)
        rows.append([log_c, best.log_n, log_c - best.log_n - factor, best.loss, *best.ends])
        draws.append(best.copies)
        weights.append(best.weight if weighted else 1.0)
    if len(rows) < 2:
        more = [f"and {len(refused) - TOLD} more"] if len(refused) > TOLD else []
        told = "; ".join([*refused[:TOLD], *more])
        raise LawError(f"IsoFLOP profiles need optima of two budgets, not {len(rows)}{told and ': ' + told}")
    log_c, log_n, log_d, loss, low, high = np.array(rows).T
    copies, count = np.array(draws).T, len(rows)
    weight = np.array(weights)
    beyond = _beyond(log_c, log_n, copies, weight)
    n = np.concatenate([log_n[None], copies + beyond * generator.standard_t(max(count - 2, 1), copies.shape)])
    weight = np.broadcast_to(weight, n.shape)
    lines = np.stack([*line(log_c, n, weight), *line(log_c, log_d + log_n - n, weight)], axis=-1)
    if made.mixed:
        warnings.append(Warned("repeats-differ", made.mixed))
    if count == 2:
        warnings.append(
            Warned("two-budgets", "only two budgets: nothing tests that the optima follow a power law")
        )
    return frontier(
        f"isoflop, {made.method}",
        lines,
        Points(
            {
                "c": np.exp(log_c),
                "n": np.exp(log_n),
                "d": np.exp(log_d),
                "loss": loss,
                "n_low": np.exp(low),
                "n_high": np.exp(high),
            }
        ),
        refused=refused,
        warnings=warnings,
        notes=[f"noise of the loss {made.noise:.3g}, {made.source}"],
        level=level,
    )


@dataclass(frozen=True)
class _Best:
    """``copies``: (copies,) ln N_opt of noisy profiles; ``ends``: the interval that these leave;
    ``weight``: 1/variance; ``off``: why off centre."""

    log_n: float
    loss: float
    copies: Array
    ends: tuple[float, float]
    weight: float
    off: str


def _best(
    made: Profiles, one: Sizes, resamples: int, generator: np.random.Generator, level: float
) -> _Best | str:
    """The optimum of one budget and those of noisy copies, or why there is none."""
    loss = one.losses(made.points["loss"][:, None], made.slope)
    noisy = loss + made.noise / np.sqrt(one.runs)[:, None] * generator.standard_normal((len(loss), resamples))
    at, value = made.lowest(one, np.concatenate([loss, noisy], axis=1))
    inside: NDArray[np.bool_] = np.isfinite(at[1:])
    log_n = one.log_n
    if not np.isfinite(at[0]) or inside.mean() < INSIDE:
        low, high = np.exp(log_n[[0, -1]])
        return f"{one.flops:.3g} FLOP: no optimum inside the sampled sizes, {low:.3g} to {high:.3g}"
    # A noisy copy without an optimum inside stands for the middle of the others.
    copies = np.where(inside, at[1:], np.median(at[1:][inside]))
    best, lowest = float(at[0]), float(value[0])
    if made.method == "akima":
        best, lowest = float(np.median(copies)), float(np.median(value[1:][inside]))
    low, high = (interval(best, np.where(inside, at[1:], end), level) for end in (log_n[0], log_n[-1]))
    ends = min(low.low, best), max(high.high, best)
    gap, spread = (log_n[-1] - log_n[0]) / (len(log_n) - 1), np.std(at[1:][inside])
    share, off = (best - log_n[0]) / (log_n[-1] - log_n[0]), ""
    if not CENTRE <= share <= 1 - CENTRE:
        side = "smallest" if share < 0.5 else "largest"
        off = (
            f"{one.flops:.3g} FLOP: the optimum, {np.exp(best):.3g}, is off centre, near the "
            f"{side} size sampled; sample beyond it"
        )
    return _Best(best, lowest, copies, ends, float((max(spread, gap / 3) / inside.mean()) ** -2), off)


def _beyond(log_c: Array, log_n: Array, copies: Array, weight: Array) -> float:
    """The standard deviation of ln N_opt about the line that noise does not explain."""
    count = len(log_c)
    if count < 3:
        return 0.0
    start, slope = line(log_c, log_n, weight)
    off = log_n - start - slope * log_c
    share = weight / weight.mean()
    excess = float((share * off**2).sum()) / (count - 2) - float((share * copies.var(0)).mean())
    return float(np.sqrt(max(excess, 0.0)))


def _slope(points: Points, sizes: list[Sizes]) -> float:
    """Of ln loss over ln C along the lowest losses; 0 where the points of a budget have the same compute."""
    if len(sizes) < 2 or max(np.abs(one.drift).max() for one in sizes) < 1e-6:
        return 0.0
    lowest = np.array([one.losses(points["loss"][:, None]).min() for one in sizes])
    return float(line(np.log([one.flops for one in sizes]), np.log(lowest))[1])


def _misfit(points: Points, sizes: list[Sizes], slope: float) -> float:
    """The standard deviation of the loss about parabolas, over all budgets."""
    squares, free = 0.0, 0
    for one in sizes:
        x, loss = one.log_n - one.log_n.mean(), one.losses(points["loss"][:, None], slope)[:, 0]
        squares += float(np.sum((loss - np.polyval(np.polyfit(x, loss, 2), x)) ** 2))
        free += len(x) - 3
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
    curve = _akima(log_n, losses, grid)
    best = np.argmin(curve, axis=0)
    edge = (best == 0) | (best == len(grid) - 1)
    return np.where(edge, np.nan, grid[best]), curve.min(axis=0)


def _akima(log_n: Array, losses: Array, at: Array) -> Array:
    """The loss at other ln N, (samples, …), by Akima's curves of ln loss through losses (sizes, …)."""
    from scipy.interpolate import Akima1DInterpolator

    return np.exp(Akima1DInterpolator(log_n, np.log(losses))(at))
