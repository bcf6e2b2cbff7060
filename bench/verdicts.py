"""How often a verdict is false, and how often a true effect is found, by the noise of real runs.

The baseline is trained with many seeds. Then studies are drawn from these runs: disjoint pairs, the first of
each taken for the baseline and the second for the variant, so that there is no difference to find; a known
shift added to the second makes one. Verdicts are those of ``danlu try``, at a fixed number of pairs and with
``--stop-early``. The bar counts over ``--studies``; the same over more draws tells the share of this pool of
runs more precisely.
"""

from __future__ import annotations

import argparse
import sys
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from statistics import fmean, stdev
from typing import Any, NamedTuple

import numpy as np
from scipy import stats

from bench.common import cores, machine, save, show, verdict
from danlu.lab.queue import Queue
from danlu.lab.statistics import LEVEL
from danlu.lab.trial.findings import Pairs, judge
from danlu.lab.trial.sides import Runs, Side
from danlu.spec import resolve

WORDS = ["bed"]
QUICK_STEPS = 10
METRIC = resolve(WORDS).objective.metrics[0]
PAIRS = 5  # of a study, and at most with --stop-early
MORE_PAIRS = 10  # with --stop-early, where there is room to stop
SHIFTS = (0.0, 0.5, 1.0, 2.0)  # standard deviations of a difference
BAR = 0.05
DRAWS = 2000  # studies beyond those of the bar


class Drawn(NamedTuple):
    """What a study came to: its verdict, and the pairs that it took."""

    verdict: str
    pairs: int


def pool(studies: Path, runs: int, steps: int, workers: int) -> list[float]:
    """Held-out bits per byte of the baseline with seeds 0, 1, … ``runs`` − 1."""
    side = Side.of(" ".join(WORDS), resolve(WORDS), steps)
    with Queue(studies, workers=workers) as queue:
        found = Runs(queue)
        found.carry_out((side, seed) for seed in range(runs))
        return [found.metric(side, seed) for seed in range(runs)]


def study(baseline: Sequence[float], variant: Sequence[float], early: bool) -> Drawn:
    """The verdict on so many pairs, or with a look after each pair from the second on."""
    for n in range(2 if early else len(baseline), len(baseline) + 1):
        sides = tuple(baseline[:n]), tuple(variant[:n])
        pairs = Pairs("the same", "steps", METRIC, tuple(range(n)), *sides)
        said, _ = judge(pairs, LEVEL, looking=early)
        if said != "not shown":
            break
    return Drawn(said, n)


def draw(
    values: Sequence[float], count: int, pairs: int, shift: float, early: bool, seed: int
) -> list[Drawn]:
    """``count`` studies of disjoint pairs of runs; ``shift`` in bits per byte, added to the variants."""
    random = np.random.default_rng(seed)
    found = []
    for _ in range(count):
        chosen = random.choice(values, 2 * pairs, replace=False)
        found.append(study(chosen[:pairs].tolist(), (chosen[pairs:] + shift).tolist(), early))
    return found


def share(found: Sequence[Drawn], shift: float) -> dict[str, Any]:
    """Of the studies, those with a verdict at all (no shift), or with the right one; with its binomial
    interval (Clopper & Pearson 1934)."""
    counts = Counter(one.verdict for one in found)
    hits = counts["worse"] if shift else counts["worse"] + counts["better"]
    interval = stats.binomtest(hits, len(found)).proportion_ci(LEVEL)
    return {
        "share": hits / len(found),
        "interval": [float(interval.low), float(interval.high)],
        "wrong_side": counts["better"] / len(found) if shift else None,
        "pairs": fmean(one.pairs for one in found),
        "studies": len(found),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--runs", type=int, default=60)
    parser.add_argument("--studies", type=int, default=200, help="drawn for the bar")
    parser.add_argument("--folder", type=Path, default=Path("studies"), help="where runs are kept and found")
    parser.add_argument("--threads", type=int, default=cores(), help="runs side by side, a thread each")
    parser.add_argument("--quick", action="store_true", help="minute runs that show that it works; not saved")
    arguments = parser.parse_args()
    if arguments.runs < 2 * MORE_PAIRS:
        sys.exit(f"--runs = {arguments.runs}: a study of {MORE_PAIRS} pairs needs at least {2 * MORE_PAIRS}")
    about = machine(arguments.threads)
    steps = QUICK_STEPS if arguments.quick else resolve(WORDS).train.steps
    assert steps is not None  # how the bed is bounded
    values = pool(arguments.folder, arguments.runs, steps, arguments.threads)
    spread = 2**0.5 * stdev(values)  # of a difference of two runs
    kinds = {
        f"{PAIRS} pairs": (PAIRS, False),
        f"at most {PAIRS}": (PAIRS, True),
        f"at most {MORE_PAIRS}": (MORE_PAIRS, True),
    }
    rows: list[tuple[str, ...]] = []
    results: dict[str, dict[str, Any]] = {}
    for name, (pairs, early) in kinds.items():
        results[name] = {"pairs": pairs}
        for shift in SHIFTS:
            drawn = draw(values, arguments.studies + DRAWS, pairs, shift * spread, early, seed=pairs)
            few, many = share(drawn[: arguments.studies], shift), share(drawn[arguments.studies :], shift)
            results[name][f"shift {shift:g}"] = {"bar": few, "many": many}
            low, high = few["interval"]
            met = verdict(few["share"], BAR, at_most=True) if not shift else ""
            about_it = (f"{few['share']:.1%}", f"{low:.1%} … {high:.1%}", f"{many['share']:.1%}")
            rows.append((name, f"{shift:g}", *about_it, f"{few['pairs']:.1f}", met))
    what = f"{arguments.runs} runs of {' '.join(WORDS)}, {steps} steps"
    title = f"Verdicts over {what}; σ of a difference: {spread:.4f} bits per byte"
    heads = ("study", "shift/σ", "verdicts", "95 %", f"of {DRAWS}", "pairs", "false")
    show(title, heads, rows, about)
    if not arguments.quick:
        save(
            "verdicts",
            {
                "machine": about,
                "experiment": WORDS,
                "steps": steps,
                "values": values,
                "spread_of_a_difference": spread,
                "bar": BAR,
                "results": results,
            },
        )


if __name__ == "__main__":
    main()
