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
N_U, D_U, U = plane(np.geomspace(1e7, 1e10, 5), np.geomspace(1e8, 1e12, 6), [1e6, 1e8, 1e10])
BITS = dict(
    zip(("n", "d", "pw", "pa", "pkv"), plane(SIZES[::2], TOKENS[::2], [3, 6], [3, 6], [2, 4]), strict=True)
)
N_Q, D_Q, P_Q = plane(SIZES[::2], TOKENS[::2], [3.0, 4.0, 6.0])

N_B, B_S, S_B = plane(SIZES[::2], np.geomspace(1e5, 1e7, 4), STEPS[::2])
WIDTH, DEPTH, D_W = plane(np.geomspace(256, 3072, 4), np.geomspace(3, 80, 4), TOKENS[::2])
N_F, D_F = plane(np.geomspace(1e8, 1e10, 6), np.geomspace(1e9, 5e11, 6))
N_E, E_N = plane(np.geomspace(1e7, 1e9, 4), [1, 2, 8, 32, 128, 512])
N_G, D_G, G_N = plane(SIZES[::2], TOKENS[::2], [1.0, 2.0, 4.0, 16.0])
SHARES = np.random.default_rng(0).dirichlet(np.ones(7), 30)


def shares(domains: int) -> dict[str, Array]:
    """Mixtures of so many domains, one of them absent in the first."""
    weights = SHARES[:, :domains] * (np.arange(30)[:, None] != np.arange(domains))
    return {f"w{i + 1}": column for i, column in enumerate((weights / weights.sum(1, keepdims=True)).T)}


CASES: dict[str, Case] = {
    "power": Case((12.0, 0.09), {"x": np.geomspace(1e5, 1e10, 9)}),
    "power-floor": Case((40.0, 0.21, 1.7), {"x": np.geomspace(1e5, 1e10, 9)}),
    "kaplan-n": Case((8.8e13, 0.076), {"n": SIZES}),
    "kaplan-d": Case((5.4e13, 0.095), {"d": TOKENS}),
    "kaplan-c": Case((2.7e28, 0.05), {"c": np.geomspace(1e16, 1e22, 8)}),
    "kaplan-nd": Case((6.4e13, 1.8e13, 0.076, 0.103), {"n": N, "d": D}),
    "kaplan-ns": Case((6.5e13, 2.1e3, 0.077, 0.76), {"n": N_S, "s": S}),
    "chinchilla": Case((1.69, 406.4, 410.7, 0.34, 0.285), {"n": N, "d": D}),
    "bnsl-1": Case((0.4, 2.3, 0.055, 1.2, 600.0, 0.3), {"x": np.geomspace(10, 1e5, 30)}),
    "bnsl-2": Case(
        (0.4, 5.0, 0.1, 0.6, 300.0, 0.2, -0.5, 2e4, 0.3),
        {"x": np.geomspace(10, 1e6, 50)},
    ),
    "double-descent": Case(
        (0.6, 20.0, 0.6, -1.0, 60.0, 0.15, 1.4, 300.0, 0.2),
        {"x": np.geomspace(8, 4000, 50)},
    ),
    "data-constrained": Case(
        (1.87, 521.0, 1488.0, 0.35, 0.36, 15.4, 5.3), {"n": N_U, "d": np.maximum(D_U, U), "u": U}
    ),
    "precision": Case((2.76, 4299.0, 18060.0, 0.49, 0.5, 2.67, 2.21, 0.96), BITS),
    "quantized-after": Case((0.06, 0.51, 0.34, 0.59), {"n": N_Q, "d": D_Q, "pw": P_Q}),
    "coupled": Case((1.2, 900.0, 2500.0, 0.42, 0.4, 0.6), {"n": N, "d": D}),
    "farseer": Case((-0.8, -0.12, 0.15, 4.9, -1.1, -0.17, -1.18, -0.2, 0.05), {"n": N_F, "d": D_F}),
    "width-depth": Case((1.6, 60.0, 1.5, 900.0, 0.7, 0.9, 0.33), {"width": WIDTH, "depth": DEPTH, "d": D_W}),
    "three-terms": Case((1.6, 400.0, 30.0, 40.0, 0.34, 0.35, 0.5), {"n": N_B, "b": B_S, "s": S_B}),
    "moe-experts": Case((-0.083, -0.126, 0.012, 1.111, 1.88, 470.0), {"n": N_E, "e": E_N}),
    "moe-granularity": Case((0.47, 18.1, 30.8, 0.115, 0.147, 2.1, 0.58), {"n": N_G, "d": D_G, "g": G_N}),
    "mixture-2": Case((2.1, 0.3, -1.4), shares(2)),
    "mixture-3": Case((2.1, 0.3, -1.4, -0.5), shares(3)),
    "mixture-4": Case((2.1, 0.3, -1.4, -0.5, 0.8), shares(4)),
    "mixture-5": Case((2.1, 0.3, -1.4, -0.5, 0.8, -2.0), shares(5)),
    "mixture-6": Case((2.1, 0.3, -1.4, -0.5, 0.8, -2.0, 0.5), shares(6)),
    "mixture-7": Case((2.1, 0.3, -1.4, -0.5, 0.8, -2.0, 0.5, -0.9), shares(7)),
    "overtraining": Case((1.73, 157.0, 246.0, 0.127), {"n": N, "d": D}),
    "batch-hyperbola": Case((5e3, 1e6), {"b": np.geomspace(1e4, 1e8, 9)}),
    "critical-batch": Case((2.1e8, 0.21), {"loss": np.linspace(1.5, 6.0, 9)}),
    "rate-nd": Case((1.79, -0.713, 0.307), {"n": N, "d": D}),
    "batch-d": Case((0.58, 0.571), {"d": TOKENS}),
    "rate-c": Case((0.3118, -0.125), {"c": np.geomspace(1e17, 1e20, 6)}),
    "batch-c": Case((0.292, 0.3271), {"c": np.geomspace(1e17, 1e20, 6)}),
    "transfer": Case((0.31,), {"loss": np.linspace(2.0, 4.0, 5)}),
    "task-error": Case((0.86, 2.6, 0.72), {"loss": np.linspace(2.0, 5.0, 12)}),
    "task-compute": Case((0.62, 1.9, 22.4, 0.24), {"c": np.geomspace(1e20, 1e25, 15)}),
    "task-accuracy": Case((0.62, -5.1, 0.95, 0.24), {"loss": np.linspace(0.3, 2.2, 15)}),
}

assert set(LAWS) >= set(CASES)
