"""The points of one budget by size: what an IsoFLOP profile is laid through."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from danlu.laws.base import Array
from danlu.laws.table import Points, alike

SAME_SIZE = 0.02  # as a difference of ln N; a curve through two sizes so near follows their noise
SAME_POINT = 1e-3  # of ln N and ln C: runs of one point, told apart by chance alone
SETTINGS = ("lr", "b", "u")  # runs of one point that differ in these were tuned, not repeated


@dataclass(frozen=True)
class Sizes:
    """One budget. Runs of one point are averaged; of several settings of one size the best one counts.

    ``flops``: the budget; ``log_n``: (sizes,) ascending; ``factor``: (sizes,) ln C/(N·D).
    ``rows``: of the points, (rows,), in order; ``drift``: (rows,) by how much ln C is beside the budget.
    ``points``, ``cells``: where among the rows a point, and where among the points a size begins.
    ``runs``: (sizes,) how many runs the loss of a size is the mean of.
    """

    flops: float
    log_n: Array
    factor: Array
    rows: NDArray[np.int64]
    drift: Array
    points: NDArray[np.int64]
    cells: NDArray[np.int64]
    runs: Array

    def losses(self, losses: Array, slope: float = 0.0) -> Array:
        """The loss of each size, (sizes, copies), of losses of all points, (points, copies).

        ``slope``: of ln loss over ln C along the best sizes, by which points are moved to the budget itself.
        """
        at = losses[self.rows] * np.exp(-slope * self.drift)[:, None]
        means = np.add.reduceat(at, self.points) / np.diff(self.points, append=len(self.rows))[:, None]
        return np.minimum.reduceat(means, self.cells)


def by_size(points: Points, rung: NDArray[np.int64], *, lowest: bool = False) -> list[Sizes]:
    """The sizes of every budget. ``rung``: (points,), of ``budgets``. ``lowest``: the runs of one point are
    not averaged, but the lowest loss counts."""
    found = []
    for number in range(rung.max() + 1):
        rows = np.flatnonzero(rung == number)
        log_n, log_c = np.log(points["n"][rows]), np.log(points["c"][rows])
        cell = alike(points["n"][rows], np.exp(SAME_SIZE))
        keys = [cell, np.round(log_n / SAME_POINT), np.round(log_c / SAME_POINT)]
        keys += [points[name][rows] for name in SETTINGS if name in points]
        if lowest:
            keys.append(np.arange(len(rows)))
        _, label = np.unique(np.stack(keys, axis=-1), axis=0, return_inverse=True)
        label = label.reshape(-1)
        order = np.argsort(label, kind="stable")
        label, cell = label[order], cell[order]
        begin = np.flatnonzero(np.diff(label, prepend=-1))
        cells = np.flatnonzero(np.diff(cell[begin], prepend=-1))
        of_size = np.searchsorted(cell, np.arange(cell[-1] + 1))
        count = np.diff(of_size, append=len(rows))
        rows, log_n, log_c = rows[order], log_n[order], log_c[order]
        log_d = np.log(points["d"][rows])
        repeats = np.minimum.reduceat(np.diff(begin, append=len(rows)), cells)
        found.append(
            Sizes(
                flops=float(np.exp(log_c.mean())),
                log_n=np.add.reduceat(log_n, of_size) / count,
                factor=np.add.reduceat(log_c - log_n - log_d, of_size) / count,
                rows=rows,
                drift=log_c - log_c.mean(),
                points=begin,
                cells=cells,
                runs=repeats.astype(np.float64),
            )
        )
    return found


def scatter_of_repeats(points: Points, sizes: list[Sizes]) -> tuple[float, int]:
    """The standard deviation of the loss from run to run of one point, and its degrees of freedom."""
    squares, free = 0.0, 0
    for one in sizes:
        loss = points["loss"][one.rows]
        count = np.diff(one.points, append=len(loss))
        squares += float((loss**2).sum() - (np.add.reduceat(loss, one.points) ** 2 / count).sum())
        free += len(loss) - len(one.points)
    return (float(np.sqrt(max(squares, 0.0) / free)) if free else 0.0), free
