"""How well laws extrapolate learning curves: the 92 tasks of Alabdulmohsin et al. 2022, arXiv:2209.06640.

    python -m bench.extrapolation [FOLDER of benchmark.*.csv]

Each task is a curve of loss over examples seen, cut in two: laws are fitted to the first part and scored on
the second by the root mean squared error of the logarithm, as in Caballero et al. 2023. Their M1 is ``power``
(β·x^−c), M2 ``power-floor`` (β·x^−c + ε∞), M3 ``shifted``, which is M2 in 1/x + γ instead of 1/x; M4, which
has the loss on both sides, is not here. A line per domain; ``best`` is the share of the curves on which no
other method has a lower error.
"""

from __future__ import annotations

import csv
import json
import os
import sys
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from danlu.laws.base import Array, Data, Law, Parameter, grid
from danlu.laws.errors import LawError
from danlu.laws.fit import fit
from danlu.laws.formulas.bnsl import bnsl, choose, rmsle
from danlu.laws.formulas.power import POWER, POWER_FLOOR
from danlu.laws.formulas.terms import decay, decay_rows
from danlu.laws.solve import SQUARES
from danlu.laws.table import Points

ROOT = Path(__file__).resolve().parents[1]


def _shifted(theta: Array, x: Array) -> Array:
    """1/(1/x + γ): x far below 1/γ, which it never passes."""
    return 1 / (1 / x + theta[..., 3, None])


def predict(theta: Array, data: Data) -> Array:
    return decay(theta[..., 0], theta[..., 1], _shifted(theta, data["x"])) + theta[..., 2, None]


def gradient(theta: Array, data: Data) -> Array:
    a, b = theta[..., 0], theta[..., 1]
    x = _shifted(theta, data["x"])
    by_a, by_b = decay_rows(a, b, x)
    return np.stack([by_a, by_b, np.ones_like(by_a), b[..., None] * decay(a, b, x) * x], axis=-2)


def starts(data: Data, target: Array) -> Array:
    """Exponents, floors and shifts on a grid; the scale so that the curve passes through the middle."""
    shifts = np.concatenate([[1e-3], np.geomspace(0.1, 30, 3)]) / data["x"].max()
    made = grid((0.1, 0.3, 0.8, 1.6, 3.0), (0.0, 0.6, 0.95), shifts)
    c = made[:, 1] * target.min()
    log_x = -np.log(1 / data["x"] + made[:, 2:]).mean(-1)
    return np.stack(
        [(np.median(target) - c) * np.exp(made[:, 0] * log_x), made[:, 0], c, made[:, 2]], axis=-1
    )


SHIFTED = Law(
    name="power-shifted",
    title="Shifted power law with a floor",
    formula="L(x) = a·(1/x + γ)^b + c",
    text="A power law towards a floor that bends where x reaches 1/γ.",
    paper="Alabdulmohsin et al. 2022, arXiv:2209.06640, M3",
    columns=("x",),
    parameters=(
        Parameter("a", "scale of what x takes away", "nats/token·x^b", log=True),
        Parameter("b", "exponent", low=0, high=10),
        Parameter("c", "loss that remains", "nats/token", low=0),
        Parameter("γ", "shift of 1/x", "1/x", log=True, low=1e-99, high=1e9),
    ),
    predict=predict,
    gradient=gradient,
    starts=starts,
    distinct={"x": 4},
)


@dataclass(frozen=True)
class Task:
    """A learning curve: ``near`` is for the fit, ``far`` for the score; columns x and loss."""

    domain: str
    name: str
    model: str
    near: Points
    far: Points


def read_tasks(paths: Iterable[Path]) -> list[Task]:
    """Tasks of files with columns Domain, Task, Model, Seen Examples, Loss and Training (1 near, 0 far)."""
    curves: dict[tuple[str, str, str], list[tuple[float, float, bool]]] = {}
    for path in paths:
        with Path(path).open(encoding="utf-8", newline="") as file:
            for row in csv.DictReader(file):
                point = float(row["Seen Examples"]), float(row["Loss"]), float(row["Training"]) == 1
                curves.setdefault((row["Domain"], row["Task"], row["Model"]), []).append(point)
    tasks = []
    for names, points in curves.items():
        x, loss, near = (np.array(column) for column in zip(*points, strict=True))
        every = Points(x=x, loss=loss)
        tasks.append(Task(*names, every.take(near.astype(bool)), every.take(~near.astype(bool))))
    return tasks


def _by(law: Law) -> Callable[[Task], float]:
    return lambda task: rmsle(fit(law, task.near, loss=SQUARES), task.far)


METHODS: dict[str, Callable[[Task], float]] = {
    "power": _by(POWER),
    "power-floor": _by(POWER_FLOOR),
    "shifted": _by(SHIFTED),
    "bnsl": _by(bnsl(1)),
    "chosen": lambda task: rmsle(choose(task.near).fit, task.far),
}


def score(task: Task, methods: Iterable[str] = tuple(METHODS)) -> dict[str, float]:
    """The error of each method on the task's far points; ∞ where it has too few near points to be fitted."""
    scores = {}
    for name in methods:
        try:
            scores[name] = METHODS[name](task)
        except LawError:
            scores[name] = float("inf")
    return scores


class Summary(NamedTuple):
    """``mean`` and ``median`` error over the tasks; ``best``: the share on which no other is lower."""

    mean: float
    median: float
    best: float


def summary(scores: Iterable[Mapping[str, float]]) -> dict[str, Summary]:
    """One line for each method, over tasks that were scored with the same methods."""
    rows = list(scores)
    names = list(rows[0])
    values = np.array([[row[name] for name in names] for row in rows])
    best = (values <= values.min(-1, keepdims=True)).mean(0)
    means, medians = values.mean(0), np.median(values, axis=0)
    columns = zip(names, means.tolist(), medians.tolist(), best.tolist(), strict=True)
    return {name: Summary(*values) for name, *values in columns}


def main() -> None:
    shared = Path(os.environ.get("DANLU_SHARED", ROOT.parent / "shared" / "data"))
    folder = Path(sys.argv[1]) if len(sys.argv) > 1 else shared / "scaling" / "revisiting_nsl"
    tasks = read_tasks(folder / f"benchmark.{name}.csv" for name in ("vision", "lang"))
    started = time.perf_counter()
    scores = [score(task) for task in tasks]
    took = time.perf_counter() - started
    domains = {"all": scores}
    for task, row in zip(tasks, scores, strict=True):
        domains.setdefault(task.domain, []).append(row)
    summaries: dict[str, Any] = {}
    print(f"{len(tasks)} tasks in {took:.0f} s\n{'domain':8}{'method':13}{'mean':>9}{'median':>9}{'best':>7}")
    for domain, rows in domains.items():
        table = summary(rows)
        summaries[domain] = {name: line._asdict() for name, line in table.items()} | {"tasks": len(rows)}
        for name, line in table.items():
            print(f"{domain:8}{name:13}{line.mean:9.4f}{line.median:9.4f}{line.best:7.0%}")
    out = {"seconds": round(took, 1), "domains": summaries}
    (ROOT / "bench" / "results" / "extrapolation.json").write_text(json.dumps(out, indent=1) + "\n")


if __name__ == "__main__":
    main()
