"""Masked diffusion beside the autoregressive model: bits per byte at equal FLOPs.

    python -m bench.generative_text [--studies DIR] [--workers N]
    python -m bench.generative_text --read           # the table, from the result that is kept

Both have the network of the recipe ``nano``, once as a decoder, once as an encoder, the same batches of the
same text and the same FLOPs. At each budget each takes the better of two learning rates at one seed, and then
further seeds at that rate. The decoder's number is what held-out text costs; that of masked diffusion is an
upper bound on it, estimated at fixed times and masks (docs/objectives.md).
"""

from __future__ import annotations

import json
from pathlib import Path
from statistics import fmean, stdev
from typing import Any

from bench.common import RESULTS, machine, save, show, study_options
from danlu.lab.budget import flops
from danlu.lab.queue import Queue
from danlu.lab.trial.sides import Runs, Side
from danlu.spec.words import resolve

NAME = "generative_text"
KINDS = {"causal": ["nano"], "masked-diffusion": ["mdlm"]}
BUDGETS = (500, 2000)  # updates of the decoder
RATES = (3e-3, 6e-3)
SEEDS = (0, 1, 2)  # rates are chosen at the first


def run(studies: Path, workers: int | None) -> list[dict[str, Any]]:
    """A row for each budget and objective."""
    rows = []
    with Queue(studies, workers=workers) as queue:
        runs = Runs(queue)
        for steps in BUDGETS:
            decoder = Side.of("causal", resolve(KINDS["causal"]), steps)
            for kind, words in KINDS.items():
                sides = {}
                for rate in RATES:
                    experiment = resolve([*words, f"optimizer.lr={rate}", "train.evaluate_tokens=131072"])
                    sides[rate], _ = Side.of(kind, experiment, steps).at_cost_of(decoder)
                runs.carry_out((side, SEEDS[0]) for side in sides.values())
                best = min(RATES, key=lambda rate: runs.metric(sides[rate], SEEDS[0]))
                runs.carry_out((sides[best], seed) for seed in SEEDS)
                of = sides[best].experiment
                rows.append({
                    "objective": kind, "metric": of.objective.metrics[0].record(), "lr": best,
                    "steps": sides[best].steps, "flops": flops(of),
                    "values": [runs.metric(sides[best], seed) for seed in SEEDS],
                    "rates": {f"{rate:g}": runs.metric(side, SEEDS[0]) for rate, side in sides.items()},
                })  # fmt: skip
    return rows


def table(rows: list[dict[str, Any]]) -> list[list[str]]:
    """For a terminal: mean and standard deviation over seeds."""
    return [
        [
            row["objective"], f"{row['flops']:.3g}", str(row["steps"]), f"{row['lr']:g}",
            f"{'≤ ' if row['metric']['name'].endswith('bound') else ''}{fmean(row['values']):.3f}",
            f"{stdev(row['values']):.3f}",
        ]
        for row in rows
    ]  # fmt: skip


def main() -> None:
    given = study_options(__doc__).parse_args()
    if not given.read:
        about = machine(1)
        save(NAME, {"machine": about, "rows": run(given.studies, given.workers)})
    kept = json.loads((RESULTS / f"{NAME}.json").read_text())
    columns = ("objective", "FLOP a run", "updates", "rate", "bits per byte", "sd over seeds")
    show("Text by diffusion and from left to right", columns, table(kept["rows"]), kept["machine"])


if __name__ == "__main__":
    main()
