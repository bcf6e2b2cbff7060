"""Rows of several sources in one file: other scales of the loss, or another way of counting FLOP."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from danlu.laws.audit.groups import EXACT
from danlu.laws.audit.parts import two_parts
from danlu.laws.base import Array
from danlu.laws.fit import Fit
from danlu.laws.table import FLOPS_PER_PARAMETER_AND_TOKEN, Points, label, rank_correlation, ranks, same_size

LEVEL = 0.01  # of a false alarm, for all columns together
LEVELS = 30  # values that a column of sources has at most
FEWEST = 4  # rows of a source
EXPLAINED = 0.15  # share of the variance of residuals that a source explains at least
SWEEPS = 30  # of effects of sizes and of values, one after the other
COUNTED = 0.1  # by which ln C/6ND of sources differs at least
FOLLOWS = 0.9  # rank correlation from which on a column of numbers is another name of size, data or compute
APART = 0.83  # of a split in two; a normal distribution has .64, a uniform one .75
SMALLER = 0.1  # share of the smaller part of such a split


@dataclass(frozen=True)
class Source:
    """``value``: of the column; ``rows``: how many; ``residual``: the median of measured/predicted − 1
    (of measured − predicted for a law in linear space); ``counted``: the median of C/6ND, None where C was
    not given."""

    value: str
    rows: int
    residual: float
    counted: float | None


@dataclass(frozen=True)
class Sources:
    """``column``: by which the rows differ, None where the residuals alone fall in two parts.
    ``explained``: the share of the variance of the residuals; ``scale``: whether it is the loss that differs
    (else C/6ND alone)."""

    column: str | None
    explained: float
    scale: bool
    sources: tuple[Source, ...]


def sources(
    fit: Fit,
    table: Mapping[str, Sequence[Any]],
    cluster: NDArray[np.int64] | None = None,
) -> Sources | None:
    """The column by whose values rows differ most, or two parts of the residuals; None: neither is found.

    The test is an analysis of variance of the normal scores of the residuals (Conover 1999, section 5.2), of
    the means of clusters where each lies within one value, at 1 % for all columns together. A column that
    only names a size, a number of tokens or a budget, or grows with one (layers, steps), is left out: the law
    knows these.
    """
    from scipy.special import ndtri

    counted = _counted(fit.points)
    score = ndtri(ranks(fit.residuals) / (len(fit.residuals) + 1))
    best: tuple[float, Sources] | None = None
    columns = {
        name: one for name, values in table.items() if (one := _levels(values, fit.points)) is not None
    }
    sizes = same_size(fit.points["n"]) if "n" in fit.points else None
    for name, (level, numbers) in columns.items():
        # Numbers, as of heads, may say something of the size, and then sizes are what varies.
        p, explained = _explained(score, level, sizes if cluster is None and numbers else cluster)
        scale = p < LEVEL / len(columns) and explained >= EXPLAINED
        other = counted is not None and sizes is not None and _otherwise(counted, level, sizes)
        rank = explained + other
        if (scale or other) and (best is None or rank > best[0] + 0.02):
            best = rank, Sources(name, explained, scale, _told(fit, level, table[name], counted))
    if best is not None:
        return best[1]
    return _two(fit) or _beside(fit)


def _beside(fit: Fit) -> Sources | None:
    """Whether two laws side by side fit far better than one, though the residuals of one run together."""
    upper = two_parts(fit)
    if upper is None:
        return None
    r = fit.residuals
    parts = [("the upper law", upper), ("the lower law", ~upper)]
    outer = sum(at.sum() * (r[at].mean() - r.mean()) ** 2 for _, at in parts)
    made = [Source(f"{name}, {_span(at)}", int(at.sum()), _share(fit, r[at]), None) for name, at in parts]
    return Sources(None, float(outer / max(((r - r.mean()) ** 2).sum(), 1e-300)), True, tuple(made))


def _span(at: NDArray[np.bool_]) -> str:
    """Rows in words: ``rows 31–60`` where they follow each other."""
    rows = np.flatnonzero(at) + 1
    if np.ptp(rows) == len(rows) - 1:
        return f"rows {rows[0]}–{rows[-1]}"
    told = ", ".join(str(row) for row in rows[:4])
    return f"rows {told}" + (", …" if len(rows) > 4 else "")


def _counted(points: Points) -> Array | None:
    """ln C/6ND; None where C was not given, but computed."""
    if not {"n", "d", "c"} <= points.keys():
        return None
    ratio = np.log(points["c"] / (FLOPS_PER_PARAMETER_AND_TOKEN * points["n"] * points["d"]))
    return ratio if np.abs(ratio).max() > 1e-6 else None


def _levels(values: Sequence[Any], points: Points) -> tuple[NDArray[np.int64], bool] | None:
    """The value of each row as a number, 0 …; −1 for values of few rows; and whether the values are numbers.
    None for no column of sources."""
    names, level, count = np.unique([*map(label, values)], return_inverse=True, return_counts=True)
    if not 2 <= len(names) <= LEVELS or (count >= FEWEST).sum() < 2:
        return None
    level = np.where(count[level] >= FEWEST, level, -1)
    whole, used = points.with_compute(), level >= 0
    known = [np.log(whole[name]) for name in ("n", "d", "c", "x") if name in whole]
    if any(max(np.ptp(one[level == value]) for value in np.unique(level[used])) < 0.05 for one in known):
        return None
    try:
        number = names.astype(float)[level[used]]
    except ValueError:  # texts
        return level, False
    if len(np.unique(number)) > 2 and any(
        abs(rank_correlation(number, one[used])) >= FOLLOWS for one in known
    ):
        return None
    return level, True


def _explained(
    score: Array, level: NDArray[np.int64], cluster: NDArray[np.int64] | None
) -> tuple[float, float]:
    """The chance of differences as large by F, and the share of the variance between the values."""
    from scipy.special import fdtrc

    used = level >= 0
    score, level = score[used], level[used]
    if cluster is not None:
        _, first, inverse = np.unique(cluster[used], return_index=True, return_inverse=True)
        if (level == level[first][inverse]).all():
            score, level = np.bincount(inverse, score) / np.bincount(inverse), level[first]
    _, level = np.unique(level, return_inverse=True)
    count = np.bincount(level)
    between, free = len(count) - 1, len(score) - len(count)
    if free < 2 or between < 1:
        return 1.0, 0.0
    means = np.bincount(level, score) / count
    inner = float(((score - means[level]) ** 2).sum())
    outer = float((count * (means - score.mean()) ** 2).sum())
    F = outer / between / max(inner / free, 1e-300)
    return float(fdtrc(between, free, F)), outer / max(inner + outer, 1e-300)


def _otherwise(counted: Array, level: NDArray[np.int64], size: NDArray[np.int64]) -> bool:
    """Whether the middles of ln C/6ND differ, and by more than rows of one value do.

    Where most rows have a size that several values have too, rows of one size are compared, by effects of
    sizes and of values: what a network computes beside its weights goes by its size.
    """
    used = level >= 0
    size, counted = size[used], counted[used]
    level = np.unique(level[used], return_inverse=True)[1]
    pairs = np.unique(np.stack([size, level]), axis=1)
    shared = np.bincount(pairs[0], minlength=size.max() + 1)[size] > 1
    if 2 * shared.sum() > len(shared):
        size, level, counted = size[shared], level[shared], counted[shared]
        by_size = by_level = np.zeros(len(size))
        for _ in range(SWEEPS):
            by_size, by_level = _means(counted - by_level, size), _means(counted - by_size, level)
        counted = counted - by_size
    parts = [counted[level == one] for one in np.unique(level)]
    middles = [float(np.median(part)) for part in parts]
    within = np.median([np.median(np.abs(part - np.median(part))) for part in parts])
    return bool(np.ptp(middles) > max(COUNTED, 4 * within))


def _means(values: Array, group: NDArray[np.int64]) -> Array:
    """The mean of each row's group, (points,)."""
    return (np.bincount(group, values) / np.maximum(np.bincount(group), 1))[group]


def _told(
    fit: Fit, level: NDArray[np.int64], values: Sequence[Any], counted: Array | None
) -> tuple[Source, ...]:
    texts = np.array([*map(label, values)])
    made = []
    for one in np.unique(level[level >= 0]):
        at = level == one
        ratio = None if counted is None else float(np.exp(np.median(counted[at])))
        made.append(Source(str(texts[at][0]), int(at.sum()), _share(fit, fit.residuals[at]), ratio))
    return tuple(made)


def _share(fit: Fit, r: Array) -> float:
    """The median of measured/predicted − 1; of measured − predicted for a law in linear space."""
    middle = -float(np.median(r))
    return float(np.expm1(middle)) if fit.law.space == "log" else middle


def _two(fit: Fit) -> Sources | None:
    """Whether residuals fall in two parts: the split with the least variance within (Otsu 1979)."""
    r = np.sort(fit.residuals)
    n, k = len(r), np.arange(1, len(r))
    if n < 20 or np.median(np.abs(r)) < EXACT:
        return None
    first = np.cumsum(r)[:-1]
    between = k * (n - k) / n**2 * (first / k - (r.sum() - first) / (n - k)) ** 2
    fair = (k >= max(FEWEST, SMALLER * n)) & (n - k >= max(FEWEST, SMALLER * n))
    at = int(np.argmax(np.where(fair, between, -1.0)))
    explained = float(between[at] / np.var(r))
    if explained < APART:
        return None
    low, high = r[: at + 1], r[at + 1 :]
    return Sources(
        None,
        explained,
        True,
        (
            Source("above the law", len(low), _share(fit, low), None),
            Source("below the law", len(high), _share(fit, high), None),
        ),
    )
