"""What the 95 % intervals of danlu.laws cover, by simulation: Chinchilla's law, known truth, many data sets.

    python -m bench.coverage [--sets 300] [--resamples 100] [--only NAME] [--read]

A design has a kind of noise, clusters and points; each is fitted by Huber's loss (δ = 1e-3), least absolute
deviations and least squares. Counted is how often the interval of ``danlu.laws.doubt.resample`` holds the
truth: of each parameter, of a in N_opt ∝ C^a, of N_opt and of the loss at 10 and 100 times the largest
compute. Fits begin at the truth, as what is tested is the interval, not the search. The result is written
after every batch of data sets, so that a run can be stopped and goes on where it was.
"""

from __future__ import annotations

import argparse
import json
import zlib
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

from bench.common import RESULTS, machine, save
from danlu.laws import ABSOLUTE, HUBER, SQUARES, Points, fit
from danlu.laws.doubt import resample
from danlu.laws.formulas.chinchilla import CHINCHILLA, allocation, optimum

Array = np.ndarray
TRUTH = CHINCHILLA.theta("besiroglu")
LOSSES = {"huber": HUBER, "lad": ABSOLUTE, "mse": SQUARES}
QUANTITIES = ("E", "A", "B", "alpha", "beta", "a", "N 10x", "N 100x", "loss 10x", "loss 100x")
BATCH = 10  # data sets between two writes
RHO = 0.9  # correlation of neighbouring checkpoints


class Design(NamedTuple):
    """``points``: n, d and run. ``noise``: of ln loss, (points,), from a generator."""

    points: Points
    noise: Callable[[np.random.Generator], Array]
    clustered: bool


def budgets(count: int, sizes: int) -> Points:
    """IsoFLOP profiles about the optimum, each point a run of its own."""
    c = np.geomspace(1e18, 1e21, count)
    n = (optimum(TRUTH, c)[0][:, None] * np.geomspace(0.25, 4, sizes)).ravel()
    return Points(n=n, d=np.repeat(c, sizes) / (6 * n), run=np.arange(len(n)))


def curves(runs: int, checkpoints: int, seeds: int = 1) -> Points:
    """Runs of growing size, ``seeds`` of each, measured at checkpoints up to 40 tokens a parameter."""
    n = np.repeat(np.geomspace(2e7, 2e9, runs // seeds), seeds)
    d = 40 * n[:, None] * np.geomspace(0.05, 1, checkpoints)
    return Points(n=np.repeat(n, checkpoints), d=d.ravel(), run=np.repeat(np.arange(runs), checkpoints))


def independent(points: Points, size: float = 0.005, power: float = 0.0) -> Design:
    """``power``: how the scatter grows towards small sizes."""
    each = size * (points["n"] / np.exp(np.log(points["n"]).mean())) ** -power
    return Design(points, lambda generator: each * generator.standard_normal(points.size), False)


def wandering(points: Points, size: float = 0.005) -> Design:
    """One checkpoint after the other: an autoregression of order one along each run."""
    runs = len(np.unique(points["run"]))

    def noise(generator: np.random.Generator) -> Array:
        fresh = generator.standard_normal((runs, points.size // runs))
        for t in range(1, fresh.shape[1]):
            fresh[:, t] = RHO * fresh[:, t - 1] + np.sqrt(1 - RHO**2) * fresh[:, t]
        return size * fresh.ravel()

    return Design(points, noise, True)


def shifted(points: Points, size: float = 0.01) -> Design:
    """Each run shifted as a whole, and a quarter as much noise in each point."""
    run = points["run"].astype(int)

    def noise(generator: np.random.Generator) -> Array:
        levels = generator.standard_normal(run.max() + 1)[run]
        return size * (levels + 0.25 * generator.standard_normal(points.size))

    return Design(points, noise, True)


DESIGNS: dict[str, Callable[[], Design]] = {
    "independent, 30 points": lambda: independent(budgets(6, 5)),
    "independent, 100 points": lambda: independent(budgets(10, 10)),
    "independent, 300 points": lambda: independent(budgets(15, 20)),
    "unequal, 30 points": lambda: independent(budgets(6, 5), 0.007, 0.25),
    "unequal, 100 points": lambda: independent(budgets(10, 10), 0.007, 0.25),
    "checkpoints, 6 runs of 5": lambda: wandering(curves(6, 5)),
    "checkpoints, 8 runs of 10": lambda: wandering(curves(8, 10)),
    "checkpoints, 12 runs of 25": lambda: wandering(curves(12, 25)),
    "checkpoints, 30 runs of 10": lambda: wandering(curves(30, 10)),
    "shifted runs, 6 of 10": lambda: shifted(curves(6, 10)),
    "shifted runs, 12 of 10": lambda: shifted(curves(12, 10)),
    "shifted runs, 30 of 10": lambda: shifted(curves(30, 10)),
    "shifted runs, 12 of 10, 3 of a size": lambda: shifted(curves(12, 10, 3)),
}


def quantities(theta: Array, compute: float) -> Array:
    """(…, 5) to (…, 10), in the order of QUANTITIES."""
    far = np.array([10.0, 100.0]) * compute
    n, d = optimum(TRUTH, far)
    best = optimum(theta[..., None, :], far)[0]
    loss = CHINCHILLA.predict(theta, {"n": n, "d": d})
    return np.concatenate([theta, allocation(theta).a[..., None], best, loss], axis=-1)


def inside(design: Design, loss: str, generator: np.random.Generator, resamples: int) -> Array:
    """Which intervals of one data set hold the truth, (10,) of 0 and 1."""
    exact = CHINCHILLA.predict(TRUTH, design.points)
    points = design.points.with_columns(loss=exact * np.exp(design.noise(generator)))
    found = fit(CHINCHILLA, points, loss=LOSSES[loss], starts=TRUTH[None])
    draws = resample(
        found, resamples, by="run" if design.clustered else None, seed=int(generator.integers(2**31))
    )
    compute = float((6 * points["n"] * points["d"]).max())
    truth = quantities(TRUTH, compute)
    with np.errstate(all="ignore"):
        ends = draws.of(lambda theta: quantities(theta, compute))
    return ((ends.low <= truth) & (truth <= ends.high)).astype(int)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--sets", type=int, default=300)
    parser.add_argument("--resamples", type=int, default=100)
    parser.add_argument("--only", default="", help="designs whose name holds this")
    parser.add_argument("--loss", choices=tuple(LOSSES))
    parser.add_argument("--read", action="store_true", help="run nothing")
    given = parser.parse_args()
    path = RESULTS / "coverage.json"
    results: dict[str, Any] = json.loads(path.read_text()) if path.exists() else {"cells": {}}
    cells = results["cells"]
    for name, make in DESIGNS.items():
        for loss in LOSSES:
            key = f"{name}, {loss}"
            if given.read or given.only not in name or given.loss not in (None, loss):
                continue
            cell = cells.setdefault(key, {"sets": 0, "resamples": given.resamples, "held": [0] * 10})
            design = make()
            while cell["sets"] < given.sets:
                for number in range(cell["sets"], cell["sets"] + BATCH):
                    generator = np.random.default_rng([zlib.crc32(key.encode()), number])
                    cell["held"] = (
                        cell["held"] + inside(design, loss, generator, cell["resamples"])
                    ).tolist()
                cell["sets"] += BATCH
                results["machine"] = machine()
                save("coverage", results)
    print(table(cells))


def table(cells: dict[str, Any]) -> str:
    """Coverage in per cent, a line per design and loss."""
    lines = ["| design, loss | sets | " + " | ".join(QUANTITIES) + " |", "|---|" + "---|" * 11]
    for key, cell in cells.items():
        shares = [f"{100 * held / cell['sets']:.0f}" for held in cell["held"]]
        lines.append(f"| {key} | {cell['sets']} | {' | '.join(shares)} |")
    every = np.array([np.array(cell["held"]) / cell["sets"] for cell in cells.values()])
    lines.append(f"lowest {every.min():.3f}, highest {every.max():.3f}, mean {every.mean():.3f}")
    return "\n".join(lines)


if __name__ == "__main__":
    main()
