"""For every registered law: plausible parameters, and points at which it is tried.

A new law gets one entry in CASES: parameters (in the law's order) near which property tests draw, and columns
from which noiseless points determine them.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from danlu.laws import LAWS, Law, Points, grid

Array = np.ndarray


def plane(*axes: Array) -> list[Array]:
    """Columns that hold every combination of the axes' values."""
    return list(grid(*axes).T)


@dataclass(frozen=True)
class Case:
    """``theta``: parameters; ``columns``: of the points."""

    theta: tuple[float, ...]
    columns: dict[str, Array]

    def points(self, law: Law) -> Points:
        """Noiseless points of the law."""
        return Points({**self.columns, law.target: law.predict(np.array(self.theta), self.columns)})


SIZES, TOKENS, STEPS = np.geomspace(1e6, 1e10, 6), np.geomspace(1e8, 1e12, 6), np.geomspace(1e3, 1e6, 6)
N, D = plane(SIZES, TOKENS)
N_S, S = plane(SIZES, STEPS)

CASES: dict[str, Case] = {
    "power": Case((12.0, 0.09), {"x": np.geomspace(1e5, 1e10, 9)}),
    "power-floor": Case((40.0, 0.21, 1.7), {"x": np.geomspace(1e5, 1e10, 9)}),
    "kaplan-n": Case((8.8e13, 0.076), {"n": SIZES}),
    "kaplan-d": Case((5.4e13, 0.095), {"d": TOKENS}),
    "kaplan-c": Case((2.7e28, 0.05), {"c": np.geomspace(1e16, 1e22, 8)}),
    "kaplan-nd": Case((6.4e13, 1.8e13, 0.076, 0.103), {"n": N, "d": D}),
    "kaplan-ns": Case((6.5e13, 2.1e3, 0.077, 0.76), {"n": N_S, "s": S}),
    "chinchilla": Case((1.69, 406.4, 410.7, 0.34, 0.285), {"n": N, "d": D}),
}

assert set(LAWS) >= set(CASES)
