"""How well a small bed decides: the ideas of ``bench.sizes`` on several beds, against the largest rung there.

    python -m bench.beds [--studies DIR] [--workers N]
    python -m bench.beds --read                  # the table, from the results that are kept

A bed is a recipe with its rates as they are or tuned for each side; the rungs of ``bench.sizes`` are beds,
too. What is right is the sign of the difference at the largest rung that was run, if that has at least 16
times the compute of the bed. The default bed of ``danlu try`` is the cheapest that agrees on .85 of the ideas
(docs/beds.md).
"""

from __future__ import annotations

import json
import math
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean
from typing import Any

from bench import sizes
from bench.common import RESULTS, machine, show, study_options
from danlu.lab.budget import flops
from danlu.lab.queue import Queue
from danlu.lab.statistics import paired
from danlu.lab.statistics.agreement import confirmed, decision_accuracy
from danlu.lab.trial.arms import read_sides
from danlu.lab.trial.sides import Runs, Side
from danlu.lab.tuning import Grid, tunable, tune
from danlu.spec.words import resolve, split
from danlu.train.plan import updates_of

FILE = RESULTS / "beds.json"
BEDS = (("nano", False), ("nano", True), ("bed", False))  # a recipe, and whether each side is tuned
SEEDS = 5
GRID = Grid()  # of a bed that is tuned
FAR = 16.0  # times the compute of a bed, from which on a larger rung tells what is right
BAR = 0.85


@dataclass(frozen=True)
class Bed:
    """``runs``: for one idea, both sides. ``found``: variant minus baseline of each pair, by idea."""

    name: str
    flops: float
    runs: int
    found: Mapping[str, Sequence[float]]

    def means(self) -> dict[str, float]:
        """Below zero where the variant is better."""
        return {idea: fmean(each) for idea, each in self.found.items() if each}


def run(on: str, tuned: bool, studies: Path, workers: int | None) -> dict[str, Any]:
    """All ideas on one bed."""
    found: dict[str, list[float]] = {}
    bed = resolve(split(on))
    steps = updates_of(bed)
    assert steps is not None
    with Queue(studies, workers=workers) as queue:
        for idea in sizes.IDEAS:
            baseline, variants = read_sides(on, (idea,))
            named = (("", baseline), *((of.name, variant) for of, variant in variants.items()))
            sides = [Side.of(f"{on} {name}".strip(), experiment, steps) for name, experiment in named]
            if tuned:
                moved = [side for side in sides if tunable(side.experiment, GRID.field)]
                best = tune(queue, [(side.name, side.experiment) for side in moved], GRID)
                at_best = {
                    one.name: Side(one.name, two.experiment) for one, two in zip(moved, best, strict=True)
                }
                sides = [at_best.get(side.name, side) for side in sides]
            seeds = range(baseline.train.seed, baseline.train.seed + SEEDS)
            runs = Runs(queue)
            runs.carry_out((side, seed) for seed in seeds for side in sides)
            pairs = [[runs.metric(side, seed) for side in sides] for seed in seeds]
            found[idea] = [v - b for b, v in pairs if math.isfinite(v - b)]
    return {
        "on": on, "tuned": tuned, "flops": flops(Side.of(on, bed, steps).experiment),
        "runs": 2 * (SEEDS + GRID.points * GRID.seeds * tuned), "found": found,
    }  # fmt: skip


def kept() -> list[Bed]:
    """The beds that were run, and the rungs of ``bench.sizes``."""
    beds = []
    if FILE.exists():
        for one in json.loads(FILE.read_text())["beds"]:
            name = f"{one['on']}, {'tuned' if one['tuned'] else 'rates as they are'}"
            beds.append(Bed(name, one["flops"], one["runs"], one["found"]))
    rungs: dict[int, dict[str, Any]] = {}
    for idea, one in sizes.read().items():
        for rung in one["rungs"]:
            at = rungs.setdefault(rung["rung"]["level"], {"flops": rung["rung"]["flops"], "found": {}})
            pairs = [(p["baseline"], p["variant"]) for p in rung["pairs"]]
            at["found"][idea] = [v - b for b, v in pairs if b is not None and v is not None]
            at["runs"] = rung["baseline"]["trials"] + rung["variant"]["trials"] + 2 * len(pairs)
            at["name"] = f"width {rung['rung']['width']}, tuned" if rung["rung"]["level"] else "bed, tuned"
    return [
        *beds,
        *(Bed(at["name"], at["flops"], at["runs"], at["found"]) for _, at in sorted(rungs.items())),
    ]


def table(beds: Sequence[Bed]) -> list[list[str]]:
    """A row for each bed with at most 1/``FAR`` of the largest one's compute: its cost, how often its sign,
    and its order of two ideas, is the largest one's. Clear: ideas whose 95 % interval there leaves 0 out."""
    rows = []
    largest = max(beds, key=lambda bed: bed.flops)
    truth = largest.means()
    clear = {
        idea for idea, each in largest.found.items() if (at := paired(each)).low > 0 or at.high < 0
    }  # fmt: skip
    for bed in beds:
        if largest.flops < FAR * bed.flops:
            continue
        means = bed.means()
        both = [idea for idea in truth if idea in means]
        small, large = [means[i] for i in both], [truth[i] for i in both]
        share = confirmed(small, large)
        sure = confirmed([means[i] for i in both if i in clear], [truth[i] for i in both if i in clear])
        rows.append([
            bed.name, f"{bed.flops:.2g}", str(bed.runs), f"{bed.flops * bed.runs:.2g}",
            f"{largest.flops / bed.flops:.0f}×", str(len(both)), _share(share), _share(sure),
            f"{decision_accuracy(small, large):.2f}", "reached" if share.value >= BAR else "missed",
        ])  # fmt: skip
    return rows


def _share(share: Sequence[float]) -> str:
    value, low, high = share
    return f"{value:.2f} ({low:.2f} … {high:.2f})"


def main() -> None:
    given = study_options(__doc__).parse_args()
    if not given.read:
        beds = [run(on, tuned, given.studies, given.workers) for on, tuned in BEDS]
        FILE.write_text(json.dumps({"machine": machine(1), "beds": beds}, indent=1) + "\n")
    if not sizes.read():
        sys.exit(f"nothing is kept in {sizes.FOLDER}: run bench.sizes first")
    columns = (
        "bed", "FLOP a run", "runs an idea", "FLOP an idea", "judged at", "ideas", "same sign",
        "of the clear", "same order", f"≥ {BAR}",
    )  # fmt: skip
    show("How well a bed decides", columns, table(kept()), machine(1))


if __name__ == "__main__":
    main()
