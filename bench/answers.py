"""What `danlu laws fit` does with points: the fit, its audit, 100 resamples, the held-out sizes.

    python -m bench.answers

Noisy points of Chinchilla's law (0.5 %): 240 runs, and 5,000 checkpoints of 100 runs. Reading and printing
are not in it.
"""

from __future__ import annotations

import argparse
import time

import numpy as np

from bench.common import machine, save, show, spread, verdict
from danlu.laws import Points
from danlu.laws.answer import answer
from danlu.laws.formulas.chinchilla import CHINCHILLA

SECONDS = {"240 runs": 1.5, "5,000 checkpoints of 100 runs": 20.0}
NOISE = 0.005


def runs(generator: np.random.Generator) -> Points:
    """240 points, none of the same size."""
    n = np.exp(generator.uniform(np.log(4e7), np.log(1.6e10), 240))
    return noisy(n, n * np.exp(generator.uniform(np.log(2), np.log(200), 240)), generator)


def checkpoints(generator: np.random.Generator) -> Points:
    """100 sizes, 50 checkpoints of each."""
    n = np.repeat(np.exp(generator.uniform(np.log(4e7), np.log(1.6e10), 100)), 50)
    return noisy(n, n * np.tile(np.geomspace(2, 200, 50), 100), generator)


def noisy(n: np.ndarray, d: np.ndarray, generator: np.random.Generator) -> Points:
    points = Points(n=n, d=d)
    loss = CHINCHILLA.predict(CHINCHILLA.theta("hoffmann"), points)
    return points.with_columns(loss=loss * np.exp(NOISE * generator.standard_normal(n.size))).with_compute()


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument(
        "--quick", action="store_true", help="a short trial of the bench itself; writes nothing"
    )
    options = parser.parse_args()
    about, results, rows = machine(), {}, []
    for (name, bar), make in zip(SECONDS.items(), (runs, checkpoints), strict=True):
        points = make(np.random.default_rng(0))
        answer(CHINCHILLA, points)  # warm
        seconds = []
        for _ in range(1 if options.quick else options.rounds):
            start = time.perf_counter()
            answer(CHINCHILLA, points)
            seconds.append(time.perf_counter() - start)
        results[name] = spread(seconds) | {"bar": bar}
        middle = results[name]["median"]
        rows.append((name, f"{middle:.2f} s", "" if options.quick else verdict(middle, bar, at_most=True)))
    show("A fit with its audit and 100 resamples", ("points", "time", "bar"), rows, about)
    if not options.quick:
        save("answers", {"machine": about, **results})


if __name__ == "__main__":
    main()
