"""Groups of rows that lie off the law together: in a group each masks the others, so sets are searched.

The search goes from a core outwards. Fits that leave out the most remote rows of one order each (of loss, N,
D, D/N, of residuals) begin, rows of the largest residuals are let go twice more, and the fit with the
smallest sum of the residuals kept is the core (concentration steps, Rousseeuw and Van Driessen 1999). Each
row gets the chance p of a residual like its own by the scatter of the others; sets of rows at one end of an
order, and those of the smallest p, are compared with sets of as many rows of noise (by simulation, points of
one cluster together). Then rows come back (forward search, Atkinson and Riani 2000), as long as the fit stays
within one standard error of that without all rows that are off: the others are named.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from danlu.laws.base import Array
from danlu.laws.doubt import residual_rows
from danlu.laws.fit import Fit, refit, residuals
from danlu.laws.scatter import powers
from danlu.laws.table import Points

Rows = NDArray[np.int64]

LEVEL = 0.01  # of a false alarm, for all sets together; bench/audit.py measures what comes of it
MOST = 0.06  # share of the rows that a group is looked for in
LENGTHS = 10  # sizes of sets that are tried, from one row to that share
TAILS = (2.0, 3.0, 4.0, 6.0, 10.0, 30.0)  # degrees of freedom that the noise may have …
BEFORE = np.log((0.25, 0.3, 0.2, 0.1, 0.1, 0.05))  # … and their weights before the points speak
SURE = 200  # rows whose middle may speak for the tails: more rows of a wrong family would be too sure
SIMULATED = 400
RESAMPLES = 40  # for the standard errors by which a fit's movement is told
EXACT = 1e-8  # residuals as small are no noise, so that nothing can be told by it
OFF = 1e-3  # a row is off the law where noise of its kind gets so far with this chance
# A few rows beyond a gap: so many, how many standard deviations off each, and how many times as far as the
# next one. Of noise with tails like |x|⁻³ the ratio of the k-th largest size to the next passes r with chance
# r⁻³ᵏ (Rényi 1953): 1.6 % for one row, .1 % for two and for three.
GAPS = ((1, 10.0, 4.0), (2, 7.0, 3.0), (3, 7.0, 2.2))


@dataclass(frozen=True)
class Group:
    """Rows off the law together.

    ``rows``: indices. ``ends``: the orders of which they are the end, by name and whether the largest.
    ``others``: further rows that are off, but hardly move the fit. ``p``: how often noise has such a group.
    ``moves``: the rows move a parameter by more than its standard error.
    ``without``: (parameters,) of the fit without ``rows``. ``deviations``: (points,), residuals about that
    fit in standard deviations of one row.
    """

    rows: Rows
    ends: tuple[tuple[str, bool], ...]
    others: Rows
    p: float
    moves: bool
    without: Array
    deviations: Array


def group(fit: Fit, cluster: NDArray[np.int64] | None = None, seed: int = 0) -> Group | None:
    """The group of rows without which the fit is another, or that noise does not explain; None: none is.

    ``cluster``: (points,), 0 …, of points that are not independent.
    """
    points, n = fit.points, fit.points.size
    most, free = max(2, int(np.ceil(MOST * n))), int(fit.free.sum())
    if not searched(n, free) or np.median(np.abs(fit.residuals)) < EXACT:
        return None
    orders = _orders(points, fit.law.target)
    lengths = np.unique(np.round(np.geomspace(1, most, LENGTHS)).astype(int))
    kept, deviation = _core(fit, orders, most)
    chances, correlated = _chances(fit, deviation, kept, lengths, cluster)
    found, chosen, p = _significance(chances, orders, lengths, cluster, correlated, seed)
    beyond, rare = _beyond(np.abs(deviation) / _spread(fit, deviation, kept), cluster if correlated else None)
    if found > LEVEL:  # tails that 60 rows allow hide a row 50 standard deviations off, but it is alone there
        found, chosen = rare, beyond
    off = _off(p, chosen, beyond)
    if not len(chosen) or not len(off):
        return None
    # Once more from all rows that are not off, which is the better fit.
    _, deviations = _without(fit, fit.vector, [off])
    p = _chances(fit, deviations[0], _mask(n, off), np.array([len(off)]), cluster)[0][0]
    off = _off(p, chosen, beyond)
    return _named(fit, off, orders, found) if len(off) else None


def searched(n: int, free: int) -> bool:
    """Whether there are enough points for a search of groups."""
    return n - max(2, int(np.ceil(MOST * n))) >= 2 * free + 2


def _beyond(size: Array, cluster: NDArray[np.int64] | None) -> tuple[Rows, float]:
    """The rows that a gap parts from all others, none or a few, and how often noise has such a gap; rows of
    one cluster count once."""
    order = np.argsort(-size, kind="stable")
    for number in range(min(len(size) - 1, 4 * len(GAPS)), 0, -1):
        rows, least = order[:number], size[order[number - 1]]
        count = number if cluster is None else len(np.unique(cluster[rows]))
        for gap_count, far, ratio in GAPS:
            if count == gap_count and least >= far and least >= ratio * size[order[number]]:
                return rows, float((size[order[number]] / least) ** (3 * count))
    return order[:0], 1.0


def _orders(points: Points, target: str) -> dict[tuple[str, bool], Rows]:
    """Rows from one end of an order on, by its name and whether the largest come first."""
    whole = points.with_compute()
    values = {"loss": points[target]} | {x.upper(): whole[x] for x in ("n", "d", "c") if x in whole}
    if {"n", "d"} <= whole.keys():
        values["D/N"] = whole["d"] / whole["n"]
    if not {"n", "d", "c"} & whole.keys():
        values |= {name: column for name, column in points.items() if name in ("x", "s", "b", "u", "lr")}
    orders: dict[tuple[str, bool], Rows] = {}
    for name, value in values.items():
        for largest in (True, False):
            orders[name, largest] = np.argsort(-value if largest else value, kind="stable")
    return orders


def _mask(n: int, rows: Rows) -> NDArray[np.bool_]:
    kept = np.ones(n, bool)
    kept[rows] = False
    return kept


def _without(fit: Fit, begin: Array, sets: list[Rows]) -> tuple[Array, Array]:
    """Fits without each set, all at once: (sets, parameters), and deviations, (sets, points)."""
    kept = np.stack([_mask(fit.points.size, rows) for rows in sets])
    found = refit(fit, weights=kept * fit.weights, starts=1)
    return found.theta, np.stack(
        [_deviations(fit, theta, mask) for theta, mask in zip(found.theta, kept, strict=True)]
    )


def _deviations(fit: Fit, theta: Array, kept: NDArray[np.bool_]) -> Array:
    """Residuals over their standard deviations: smaller where the row took part in the fit, and larger where
    it did not (√(1 ∓ leverage)); the scale is that of the rows kept."""
    r = residuals(fit.law, theta, fit.points)
    rows = residual_rows(replace(fit, vector=theta))
    size = np.abs(rows).max(-1, keepdims=True)  # leverage knows no scale, and squares may overflow
    rows = rows / np.where(size > 0, size, 1.0)
    inverse = np.linalg.pinv(rows[:, kept] @ rows[:, kept].T, rcond=1e-20, hermitian=True)
    leverage = np.einsum("ij,ik,kj->j", rows, inverse, rows)
    spread = np.where(kept, np.maximum(1 - leverage, 0.1), 1 + leverage)
    scale = 1.4826 * np.median(np.abs(r[kept]) / np.sqrt(spread[kept]))
    return r / (max(scale, 1e-12) * np.sqrt(spread))


def _core(fit: Fit, orders: Mapping[tuple[str, bool], Rows], most: int) -> tuple[NDArray[np.bool_], Array]:
    """Rows kept and deviations of the best fit that leaves out as many rows as a group may have."""
    n = fit.points.size
    deviation = _deviations(fit, fit.vector, np.ones(n, bool))
    sets = [np.argsort(-np.abs(deviation))[:most], *(rows[:most] for rows in orders.values())]
    for _ in range(3):
        theta, deviations = _without(fit, fit.vector, sets)
        sets = [np.argsort(-np.abs(one))[:most] for one in deviations]
    left = np.abs(np.stack([residuals(fit.law, one, fit.points) for one in theta]))
    best = int(np.argmin(np.sort(left, axis=-1)[:, : n - most].sum(-1)))
    return _mask(n, sets[best]), deviations[best]


def _chances(
    fit: Fit, deviation: Array, kept: NDArray[np.bool_], lengths: Rows, cluster: NDArray[np.int64] | None
) -> tuple[Array, float]:
    """The chance of a deviation as large as each row's, (lengths, points), and how far those of a cluster
    correlate.

    The scale is the median's, times one that follows the columns where the scatter does. The tails are
    Student's, the degrees of freedom weighed by the likelihood of all rows but the ``lengths`` largest.
    """
    from scipy import special

    size = np.abs(deviation) / _spread(fit, deviation, kept)
    n, median, ordered = len(size), np.median(size), np.sort(size)
    scales = median / special.stdtrit(TAILS, 0.75)
    df = np.array(TAILS)[:, None]
    tails = 2 * special.stdtr(df, -size / scales[:, None])
    constant = np.log(special.poch(df / 2, 0.5)) - np.log(np.pi * df) / 2 - np.log(scales[:, None] / 2)
    density = constant - (df + 1) / 2 * np.log1p((ordered / scales[:, None]) ** 2 / df)
    below = np.cumsum(density, axis=-1)
    chances = np.empty((len(lengths), n))
    for row, length in enumerate(lengths):
        rest = n - min(int(length), n - 2) - 1
        inside = special.stdtr(TAILS, ordered[rest] / scales) * 2 - 1
        weight = BEFORE + min(1.0, SURE / n) * (below[:, rest - 1] - rest * np.log(inside))
        weight = np.exp(weight - weight.max())
        chances[row] = weight @ tails / weight.sum()
    chances = np.clip(chances, 1e-300, 1.0)
    score = -special.ndtri(chances[-1] / 2) * np.sign(deviation)
    return chances, _correlation(score, kept, cluster)


def _spread(fit: Fit, deviation: Array, kept: NDArray[np.bool_]) -> Array:
    """How the size of deviations depends on the law's columns, (points,), as a product of powers; 1 where
    that cannot be told from chance."""
    columns = [np.log(fit.points[name]) for name in fit.law.columns if (fit.points[name] > 0).all()]
    if not columns:
        return np.ones(len(deviation))
    logs = np.stack(columns)
    size = np.abs(deviation)
    found = powers(np.log(size[kept] + 0.1 * np.median(size)), logs[:, kept])
    if found is None:
        return np.ones(len(deviation))
    away = logs - logs[:, kept].mean(-1, keepdims=True)
    return np.exp(np.clip(found[0] @ away, -np.log(10), np.log(10)))


def _correlation(z: Array, kept: NDArray[np.bool_], cluster: NDArray[np.int64] | None) -> float:
    """Of normal scores of rows of one cluster: the intraclass correlation, by the analysis of variance."""
    if cluster is None:
        return 0.0
    _, label = np.unique(cluster[kept], return_inverse=True)
    z, count = z[kept], np.bincount(label)
    n, g = len(z), len(count)
    if g in (1, n):
        return 0.0
    means = np.bincount(label, z) / count
    inner = ((z - means[label]) ** 2).sum() / (n - g)
    outer = (count * (means - z.mean()) ** 2).sum() / (g - 1)
    size = (n - (count**2).sum() / n) / (g - 1)
    between = max(0.0, (outer - inner) / size)
    return float(between / (between + inner)) if between + inner > 0 else 0.0


def _significance(
    chances: Array,
    orders: Mapping[tuple[str, bool], Rows],
    lengths: Rows,
    cluster: NDArray[np.int64] | None,
    correlation: float,
    seed: int,
) -> tuple[float, Rows, Array]:
    """How often noise has a set as unlikely as the least likely one of these; that set, and the chances of
    rows with as many left out of the tail."""
    from scipy.special import ndtr

    draw, n = np.random.default_rng(seed), chances.shape[-1]
    ends = np.stack([rows[: lengths[-1]] for rows in orders.values()])
    z = draw.standard_normal((SIMULATED, n))
    if cluster is not None and correlation > 0:
        shared = draw.standard_normal((SIMULATED, int(cluster.max()) + 1))[:, cluster]
        z = np.sqrt(correlation) * shared + np.sqrt(1 - correlation) * z
    noise = 2 * ndtr(-np.abs(z))
    found = np.stack([_surprise(p[None], ends, [k])[0, :, 0] for p, k in zip(chances, lengths, strict=True)])
    simulated = _surprise(noise, ends, lengths).max((-1, -2))
    chance = (1 + np.sum(simulated >= found.max())) / (1 + SIMULATED)
    length, which = np.unravel_index(int(found.argmax()), found.shape)
    p = chances[length]
    chosen = ends[which] if which < len(ends) else np.argsort(p, kind="stable")
    return float(chance), chosen[: lengths[length]], p


def _surprise(p: Array, ends: Rows, lengths: Iterable[int]) -> Array:
    """−ln of the chance of each set, (samples, orders + 1, lengths); the last order is that of p itself.

    Of rows at an end Fisher's sum of −ln p, which is Γ-distributed; of the smallest p the order statistic.
    """
    from scipy.special import betainc, gammaincc

    n, most = p.shape[-1], ends.shape[-1]
    k = np.array([*lengths])
    by_end = gammaincc(k, np.cumsum(-np.log(p[:, ends]), axis=-1)[..., k - 1])
    smallest = np.sort(np.partition(p, most - 1, axis=-1)[:, :most], axis=-1)[:, k - 1]
    by_size = betainc(k, n - k + 1, smallest)
    return -np.log(np.maximum(np.concatenate([by_end, by_size[:, None]], axis=1), 1e-300))


def _off(p: Array, chosen: Rows, beyond: Rows) -> Rows:
    """Rows off the law, the most remote first: beyond a gap, far off each, or less far and of the least
    likely set."""
    among = np.zeros(len(p), bool)
    among[chosen] = True
    far = (p < max(OFF, 0.2 / len(p))) | (among & (p < 0.02))
    far[beyond] = True
    return np.flatnonzero(far)[np.argsort(p[far], kind="stable")]


def _named(fit: Fit, off: Rows, orders: Mapping[tuple[str, bool], Rows], p: float) -> Group:
    """Which of the rows that are off are named first.

    The fewest that are the end of an order and at once the largest residuals, half of all at least, without
    which the others do not move the fit; else all.
    """
    is_off, place = ~_mask(fit.points.size, off), np.full(fit.points.size, len(off))
    place[off] = np.arange(len(off))
    sets = [off, off[:0]]
    for rows in orders.values():
        run = rows[: int(np.argmin(is_off[rows]))]
        agree = np.flatnonzero(np.maximum.accumulate(place[run]) == np.arange(len(run))) + 1
        sets += [run[:length] for length in agree if 2 * length >= len(off)]
    theta, deviations = _without(fit, fit.vector, sets)
    error = _errors(fit, theta[0], is_off)
    u = fit.law.inner(theta)
    with np.errstate(invalid="ignore"):
        moved = np.nan_to_num(np.abs(u - u[0])[:, fit.free] / error, nan=np.inf).max(-1)
    moves = bool(moved[1] > 1)
    enough = [i for i in range(2, len(sets)) if moves and moved[i] <= 1]
    best = min(enough, key=lambda i: len(sets[i]), default=0)
    rest = off[~np.isin(off, sets[best])]
    ends = {order: rows[: len(sets[best])] for order, rows in orders.items()}
    same = tuple(order for order, rows in ends.items() if set(rows) == set(sets[best]))
    return Group(sets[best], same, rest, p, moves, theta[best], deviations[best])


def _errors(fit: Fit, theta: Array, off: NDArray[np.bool_]) -> Array:
    """Standard errors of the free parameters, in the fit's coordinates, by resamples of rows that are not
    off; from the middle two thirds, as a few resamples may be far out."""
    draw, rows = np.random.default_rng(0), np.flatnonzero(~off)
    counts = np.zeros((RESAMPLES, len(off)))
    counts[:, rows] = draw.multinomial(len(rows), np.full(len(rows), 1 / len(rows)), RESAMPLES)
    found = refit(replace(fit, vector=theta), weights=counts * fit.weights, starts=1).theta
    low, high = np.quantile(fit.law.inner(found), [0.16, 0.84], axis=0)
    return np.maximum((high - low)[fit.free] / 2, 1e-300)
