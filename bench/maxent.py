"""Passes over the data that GIS, IIS and L-BFGS need to come near the optimum, as experiments do them.

    python -m bench.maxent

A pass is an update: what is counted is how many looks at the training rows there were until the loss was no
more than a gap above the optimum, which ``danlu.maxent.fit`` finds. Nothing is timed. The notes of the field
counted, of one table of 400 rows with 13 binary columns and 3 classes: GIS 119, 602, 1,137 and 1,679 passes
to 1e-2, 1e-4, 1e-6 and 1e-8 nats, IIS 57, 293, 560 and 830, L-BFGS 8, 13, 19 and 22 evaluations.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np

from bench.common import RESULTS, machine
from danlu import data
from danlu.files.json import write_json
from danlu.maxent import GAPS, fit
from danlu.objectives import MaximumEntropy
from danlu.spec import Experiment, resolve
from danlu.train.assemble import assemble, objective_of
from danlu.train.update import Update

SOLVERS = ("gis", "iis", "lbfgs")
MOST = 4000  # passes of one solver
NOTES = {"gis": [119, 602, 1137, 1679], "iis": [57, 293, 560, 830], "lbfgs": [8, 13, 19, 22]}


def tables(folder: Path) -> Iterator[tuple[str, list[str]]]:
    """Tables of binary columns drawn from log-linear models, of which 400 rows are for training; digits; the
    pairs of letters of a Markov chain."""
    for seed in range(5):
        generator = np.random.default_rng(seed)
        x = (generator.random((500, 12)) < generator.uniform(0.3, 0.7, 12)).astype(float)
        scores = x @ generator.normal(size=(12, 3))
        y = (scores + generator.gumbel(size=scores.shape)).argmax(axis=1)
        np.savez(folder / f"{seed}.npz", x=x, y=y)
        table = f"data={{kind: table, file: {folder / f'{seed}.npz'}, label: y, held_out: 0.2}}"
        yield f"table {seed}", [table, "objective.smoothing=0"]
    yield "digits, grey", []
    yield "digits, binary", ["objective.threshold=0.5", "objective.smoothing=0.1"]
    yield "bigrams", ["data={kind: bigrams, corpus: 'synthetic:markov-8'}"]


def passes(experiment: Experiment, source: Any, optimum: float) -> list[int | None]:
    """Looks until the loss was no more than each of ``GAPS`` above ``optimum``; None: more than ``MOST``."""
    objective = objective_of(experiment, source)
    assert isinstance(objective, MaximumEntropy)
    made = assemble(experiment, objective)
    update, found = Update(made), dict.fromkeys(GAPS, None)
    for step in range(MOST):
        weights = made.named[0][1].detach().numpy().ravel()
        gap = objective.problem.look(weights).nll - optimum
        found |= {one: step + 1 for one in GAPS if found[one] is None and gap <= one}
        if None not in found.values():
            break
        for rule in made.rules:
            rule.param_groups[0]["lr"] = rule.param_groups[0]["peak"]
        update.apply(step, update.gradients(step, step, 1))
        update.clear()
    return list(found.values())


def main() -> None:
    """Count, print, keep."""
    rows: dict[str, Any] = {}
    with tempfile.TemporaryDirectory() as folder:
        for name, words in tables(Path(folder)):
            experiment = resolve(["maxent-digits", "train.device=cpu", *words])
            source = data.prepare(experiment.data)
            objective = objective_of(experiment, source)
            assert isinstance(objective, MaximumEntropy)
            exact = fit(objective.problem, tolerance=0.0)
            sums = objective.problem.sums
            ratio = float(np.nanmax(sums) / np.nanmean(sums))
            print(f"{name}: optimum {exact.found.nll:.8f} nats, C / mean f# = {ratio:.2f}")
            found = {
                one: passes(
                    resolve(["maxent-digits", "train.device=cpu", *words, f"+{one}"]), source, exact.found.nll
                )
                for one in SOLVERS
            }
            for one, counts in found.items():
                print(f"  {one:6}", *(f"{'–' if n is None else n:>6}" for n in counts), flush=True)
            rows[name] = {"optimum": exact.found.nll, "largest_over_mean_sum": round(ratio, 4), **found}
    here = machine(1)
    here["packages"] |= {one: version(one) for one in ("scipy", "scikit-learn")}
    here.pop("load")
    record = {"gaps": list(GAPS), "most": MOST, "notes": NOTES, "found": rows, "machine": here}
    write_json(RESULTS / "maxent.json", record)


if __name__ == "__main__":
    main()
