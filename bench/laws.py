"""Chinchilla's law on Epoch's 240 points: danlu beside the package `chinchilla` 0.2.0, in one run.

    python -m bench.laws --data svg_extracted_data.csv --rival RIVAL/bin/python

danlu: a fit from many starts and 100 resamples of the points, and 4,000 resamples. The rival: its fit from
the paper's grid of 4,500 starts, by the same loss (Huber's of the logarithms, δ = 0.001), on all cores; it
has no resamples. Its interpreter is that of an environment of its own (`pip install chinchilla==0.2.0`).
Without --rival the same grid is solved by SciPy's L-BFGS-B with finite differences, one process per core; the
output says which of the two it was.
"""

from __future__ import annotations

import argparse
import csv
import itertools
import json
import multiprocessing
import os
import subprocess
import tempfile
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from bench.common import cores, machine, save, show, spread, verdict
from danlu.laws import HUBER, Fit, Points, fit, objective, refit
from danlu.laws.base import Array
from danlu.laws.formulas.chinchilla import CHINCHILLA

SECONDS_100, SECONDS_4000, TIMES = 2.0, 30.0, 50.0
AXES = {  # the paper's grid (Hoffmann et al. 2022, section D.2): e = ln E, a = ln A, b = ln B
    "e": [-1.0, -0.5, 0.0, 0.5, 1.0],
    "a": [0.0, 5.0, 10.0, 15.0, 20.0, 25.0],
    "b": [0.0, 5.0, 10.0, 15.0, 20.0, 25.0],
    "alpha": [0.0, 0.5, 1.0, 1.5, 2.0],
    "beta": [0.0, 0.5, 1.0, 1.5, 2.0],
}
# Runs in the rival's environment; reads points and axes as JSON, writes seconds and parameters.
RIVAL = """
import json, sys, tempfile, time
from chinchilla import Chinchilla
from chinchilla._metrics import log_huber
given = json.load(sys.stdin)
def loss(y_true, y_pred):
    return log_huber(y_true, y_pred, delta=1e-3)
with tempfile.TemporaryDirectory() as folder:
    axes = {name: tuple(values) for name, values in given["axes"].items()}
    rival = Chinchilla(folder, param_grid=axes, loss_fn=loss, log_level=50)
    for n, d, y in zip(given["n"], given["d"], given["loss"]):
        rival.database.append(N=n, D=d, loss=y)
    start = time.perf_counter()
    rival.fit()
    seconds = time.perf_counter() - start
theta = [float(getattr(rival, name)) for name in ("E", "A", "B", "alpha", "beta")]
print("\\n" + json.dumps({"seconds": seconds, "theta": theta}))
"""


def read(path: Path) -> Points:
    """The 240 points that the re-analysis keeps: all but the five largest losses."""
    with path.open(encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    columns = {"n": "Model Size", "c": "Training FLOP", "loss": "loss"}
    points = Points({name: [float(row[title]) for row in rows] for name, title in columns.items()})
    return points.take(points["loss"] < np.sort(points["loss"])[-5]).with_compute()


def draws(points: Points, resamples: int) -> Array:
    """How often each point was drawn in each resample, (resamples, points)."""
    shares = np.full(points.size, 1 / points.size)
    return np.random.default_rng(0).multinomial(points.size, shares, size=resamples).astype(np.float64)


def timed(work: Callable[[], Any]) -> tuple[float, Any]:
    start = time.perf_counter()
    result = work()
    return time.perf_counter() - start, result


def package(python: Path, points: Points, axes: dict[str, list[float]]) -> tuple[float, Array]:
    """Seconds and parameters of the package's fit."""
    given = {"axes": axes} | {name: points[name].tolist() for name in ("n", "d", "loss")}
    with tempfile.TemporaryDirectory() as folder:
        result = subprocess.run(
            [str(python), "-c", RIVAL],
            input=json.dumps(given),
            env=os.environ | {"MPLBACKEND": "Agg", "OMP_NUM_THREADS": "1"},
            cwd=folder,
            capture_output=True,
            text=True,
            check=False,
        )
    if result.returncode:
        raise SystemExit(f"{python} ended with status {result.returncode}:\n{result.stderr}")
    answer = json.loads(result.stdout.splitlines()[-1])
    return answer["seconds"], np.array(answer["theta"])


def descend(points: Points, start: tuple[float, ...]) -> tuple[float, Array]:
    """One start of the grid, by SciPy; objective and (E, A, B, α, β)."""
    from scipy.optimize import minimize

    log_n, log_d, log_loss = np.log(points["n"]), np.log(points["d"]), np.log(points["loss"])

    def value(u: Array) -> float:
        e, a, b, alpha, beta = u
        terms = np.logaddexp(np.logaddexp(a - alpha * log_n, b - beta * log_d), e)
        return float(HUBER.value(terms - log_loss).sum())

    found = minimize(value, np.array(start), method="L-BFGS-B")
    return float(found.fun), np.concatenate([np.exp(found.x[:3]), found.x[3:]])


def scipy_grid(points: Points, axes: dict[str, list[float]]) -> tuple[float, Array]:
    """Seconds and parameters of the grid by L-BFGS-B, one process per core."""
    starts = list(itertools.product(*axes.values()))

    def work() -> Array:
        with multiprocessing.Pool(cores()) as pool:
            return min(pool.map(partial(descend, points), starts), key=lambda found: found[0])[1]

    return timed(work)


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--data", type=Path, required=True, help="Epoch AI's svg_extracted_data.csv")
    parser.add_argument("--rival", type=Path, help="Python of an environment with chinchilla 0.2.0")
    parser.add_argument("--rounds", type=int, default=5, help="repetitions of danlu's part")
    parser.add_argument(
        "--quick", action="store_true", help="a short trial of the bench itself; writes nothing"
    )
    options = parser.parse_args()

    about, points = machine(), read(options.data)
    hundred, many = draws(points, 100), draws(points, 200 if options.quick else 4000)
    axes = {name: values[1:3] for name, values in AXES.items()} if options.quick else AXES
    rounds = 1 if options.quick else options.rounds

    found: Fit = fit(CHINCHILLA, points)  # warm; the fit that everything below is checked with
    alone = [timed(lambda: fit(CHINCHILLA, points))[0] for _ in range(rounds)]
    both = [timed(lambda: refit(fit(CHINCHILLA, points), weights=hundred))[0] for _ in range(rounds)]
    long, resampled = timed(lambda: refit(found, weights=many))

    name = "chinchilla 0.2.0" if options.rival else "SciPy's L-BFGS-B"
    rival, theta = package(options.rival, points, axes) if options.rival else scipy_grid(points, axes)
    starts = int(np.prod([len(values) for values in axes.values()]))
    theirs = float(objective(CHINCHILLA, theta, points))
    times = [rival / seconds for seconds in both]
    results: dict[str, Any] = {
        "machine": about,
        "objective": {"danlu": found.objective, name: theirs},
        "agreeing_starts": [found.agreeing_starts, found.starts],
        "point_fit": spread(alone),
        "point_fit_and_100_resamples": spread(both) | {"bar": SECONDS_100},
        "resamples": {
            "count": len(many),
            "seconds": long,
            "bar": SECONDS_4000,
            "converged": float(resampled.converged.mean()),
        },
        "rival": {"name": name, "starts": starts, "seconds": rival, "parameters": theta.tolist()},
        "times": spread(times) | {"bar": TIMES},
    }
    fitted, first = results["point_fit"], results["point_fit_and_100_resamples"]
    rows = [
        (f"danlu, {found.starts} starts", f"{fitted['median']:.2f} s", f"{found.objective:.9e}", ""),
        (
            "danlu, the same and 100 resamples",
            f"{first['median']:.2f} s",
            "",
            verdict(first["median"], SECONDS_100, at_most=True),
        ),
        (
            f"danlu, {len(many):,} resamples",
            f"{long:.1f} s",
            "",
            verdict(long, SECONDS_4000, at_most=True),
        ),
        (f"{name}, {starts:,} starts", f"{rival:.1f} s", f"{theirs:.9e}", ""),
        (
            "times as fast, with 100 resamples on danlu's side",
            f"{results['times']['median']:.0f}×",
            "",
            verdict(results["times"]["median"], TIMES),
        ),
    ]
    if options.quick:
        rows = [(*row[:-1], "") for row in rows]  # a part of the work says nothing about the bars
    show("Chinchilla's law on 240 points", ("", "time", "objective", "bar"), rows, about)
    if not options.quick:
        save("laws", results)


if __name__ == "__main__":
    main()
