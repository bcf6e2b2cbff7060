"""Approach 1: the lower envelope of training curves, and lines through the sizes that are lowest."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from danlu.laws.approaches.frontier import Frontier, frontier, line, positive
from danlu.laws.audit.dependence import RUNS as NAMED
from danlu.laws.base import Array
from danlu.laws.errors import LawError
from danlu.laws.table import Points

BUDGETS = 1500
# Under these names, in this order, a column that can tell runs apart is taken for the one that does: those by
# which a fit's audit puts rows together, and some that name runs less often.
RUNS = tuple(dict.fromkeys(name.replace(" ", "_") for name in (*NAMED, "id", "experiment", "model")))
FEWEST = 3  # points of a curve, in the median over runs


@dataclass(frozen=True)
class Curves:
    """``log_c``: (budgets,) where curves are compared. Of each run: ``rows`` of the points in the order of
    compute, ``log_n``, and ``factor`` = ln C/(N·D). ``smooth``: points of the Gaussian over a curve."""

    points: Points
    log_c: Array
    rows: list[NDArray[np.int64]]
    log_n: Array
    factor: Array
    smooth: float

    def table(self, losses: Array) -> Array:
        """ln loss, (runs, budgets), of losses of all points, (points,); ∞ where a run has none."""
        from scipy.ndimage import gaussian_filter1d

        table = np.empty((len(self.rows), len(self.log_c)))
        for number, rows in enumerate(self.rows):
            loss = np.log(losses[rows])
            loss = gaussian_filter1d(loss, self.smooth, mode="nearest") if self.smooth else loss
            log_c = np.log(self.points["c"][rows])
            table[number] = np.interp(self.log_c, log_c, loss, left=np.inf, right=np.inf)
        return table

    def lines(self, table: Array, drawn: NDArray[np.int64] | slice = slice(None)) -> Array | None:
        """Intercept and slope of ln n, then of ln d, over ln c, (4,), of some of the runs; None where no two
        sizes are the best anywhere."""
        kept, winner = self.winners(table, drawn)
        if len(np.unique(self.log_n[winner])) < 2:
            return None
        at = self.log_c[kept]
        log_d = at - self.log_n[winner] - self.factor[winner]
        return np.array([*line(at, self.log_n[winner]), *line(at, log_d)])

    def winners(
        self, table: Array, drawn: NDArray[np.int64] | slice = slice(None)
    ) -> tuple[NDArray[np.bool_], NDArray[np.int64]]:
        """Which budgets have a best run between a smaller and a larger one, (budgets,), and the runs that
        are the best there."""
        number = np.arange(len(table))[drawn]
        losses, log_n = table[number], self.log_n[number]
        best = np.argmin(losses, axis=0)
        there = np.isfinite(losses)
        smaller = (there & (log_n[:, None] < log_n[best])).any(0)
        larger = (there & (log_n[:, None] > log_n[best])).any(0)
        return smaller & larger, number[best[smaller & larger]]


def curves(points: Points, run: Array, *, budgets: int = BUDGETS, smooth: float = 0.0) -> Curves:
    """The curves of points with n, d and loss; ``run``: (points,), a label each."""
    points = points.with_compute()
    for name in ("n", "d", "loss"):
        if name not in points:
            raise LawError(f"the envelope needs a column {name}; there are {', '.join(points)}")
    positive(points, ("n", "d", "c", "loss"))
    log_c = np.linspace(np.log(points["c"].min()), np.log(points["c"].max()), budgets)
    rows, sizes, factors = [], [], []
    for label in np.unique(run):
        one = np.flatnonzero(run == label)
        one = one[np.argsort(points["c"][one], kind="stable")]
        if len(np.unique(points["n"][one])) > 1:
            raise LawError(f"run {label:g} has more than one size n")
        rows.append(one)
        sizes.append(np.log(points["n"][one[0]]))
        factors.append(np.median(np.log(points["c"][one] / (points["n"][one] * points["d"][one]))))
    return Curves(points, log_c, rows, np.array(sizes), np.array(factors), smooth)


def envelope(
    points: Points,
    *,
    run: str | Array = "run",
    budgets: int = BUDGETS,
    smooth: float = 0.0,
    resamples: int = 1000,
    seed: int = 0,
    level: float = 0.95,
) -> Frontier:
    """Approach 1: at each of many budgets the run with the lowest loss, and lines through these.

    ``points``: of training curves, with n, d and loss. ``run``: a column, or a label for each point, that
    tells the runs apart (``runs_of`` finds one). ``smooth``: points of a Gaussian over each curve (the paper:
    10). The runs are resampled. A budget counts only where the best run has a smaller and a larger rival, as
    its optimum may else lie beyond the sizes tried. Raises LawError where no two sizes are ever the best.
    """
    if isinstance(run, str) and run not in points:
        raise LawError(f"the envelope needs a column {run}; there are {', '.join(points)}")
    made = curves(points, points[run] if isinstance(run, str) else run, budgets=budgets, smooth=smooth)
    table = made.table(made.points["loss"])
    first = made.lines(table)
    if first is None:
        raise LawError(
            "the envelope needs two sizes that are the best, between smaller and larger ones, at budgets "
            "that runs of several sizes pass; add curves of other sizes, or try danlu laws isoflop"
        )
    generator, runs, lines = np.random.default_rng(seed), len(table), [first]
    for _ in range(resamples):
        found = made.lines(table, np.unique(generator.integers(runs, size=runs)))
        if found is not None:
            lines.append(found)
    kept, winner = made.winners(table)
    at, log_n = made.log_c[kept], made.log_n[winner]
    optima = Points(
        c=np.exp(at),
        n=np.exp(log_n),
        d=np.exp(at - log_n - made.factor[winner]),
        loss=np.exp(table[winner, np.flatnonzero(kept)]),
    )
    notes = [f"{runs} curves of {points.size} points, {len(np.unique(log_n))} sizes the best somewhere"]
    return frontier("envelope", np.array(lines), optima, notes=notes, level=level)


def runs_of(points: Points, columns: Mapping[str, Sequence[Any]]) -> tuple[Array, str]:
    """Which points are of one run, (points,), and by which column, in words.

    ``columns``: those of the file, (points,) each. A column tells runs apart where all points of a label have
    one size, no two have the same tokens, and a label has three points or more in the median. Where sizes
    alone do that and no column names runs, a size is a run. Raises LawError, which asks, where none does or
    several differ.
    """
    found: dict[str, Array] = {}
    size = np.unique(points["n"], return_inverse=True)[1] if "n" in points else np.zeros(points.size, int)
    for name, values in columns.items():
        label = np.unique(["" if value is None else str(value) for value in values], return_inverse=True)[1]
        apart = len(np.unique(np.stack([label, size]), axis=1).T) != size.max() + 1  # by more than size
        if are_runs(points, label) and (apart or _plain(name) in RUNS):
            found[name] = label.astype(np.float64)
    plain = {_plain(name): name for name in reversed(found)}
    if known := [plain[name] for name in RUNS if name in plain]:
        return found[known[0]], f"runs are told apart by the column {known[0]}"
    different = {tuple(label): name for name, label in reversed(found.items())}
    if len(different) == 1:
        (name,) = different.values()
        return found[name], f"runs are told apart by the column {name}"
    if len(different) > 1:
        raise LawError(
            f"runs may be told apart by any of the columns {', '.join(found)}; say which "
            f"(--run {next(iter(found))})"
        )
    if are_runs(points, size):
        return size.astype(np.float64), "runs are told apart by n: each size is one run"
    raise LawError(
        "no column tells training curves apart (one size and no tokens twice within a label, three points or "
        f"more); name one, or several together (--run model,lr), of {', '.join(columns) or 'none'}"
    )


def _plain(name: str) -> str:
    return name.strip().lower().replace(" ", "_").replace("-", "_")


def are_runs(points: Points, label: NDArray[Any]) -> bool:
    """Whether the points of each label can be one training curve."""
    if not {"n", "d"} <= points.keys():
        return False
    count = np.unique(label, return_counts=True)[1]
    if len(count) < 2 or np.median(count) < FEWEST:
        return False
    sizes = len(np.unique(np.stack([label, points["n"]]), axis=1).T)
    return sizes == len(count) and len(np.unique(np.stack([label, points["d"]]), axis=1).T) == points.size
