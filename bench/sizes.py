"""Ideas over sizes: what each is worth in compute, rung by rung, and how well a small bed decides.

    python -m bench.sizes [--ideas swiglu,lion] [--rungs 4] [--studies DIR] [--workers N] [--no-time]
    python -m bench.sizes --read                 # the tables, from the results that are kept

Every idea is one study, ``danlu.try_across_scale`` without gates, and one small file in
``bench/results/sizes``. A study that was stopped goes on; one more rung runs that rung alone. The second
table asks of each bed how often its sign is that of the largest rung at 16 times its compute or more.
"""

from __future__ import annotations

import argparse
import json
import math
import sys
from collections.abc import Iterable, Sequence
from pathlib import Path
from statistics import fmean
from typing import Any

from bench.common import machine, show
from danlu.lab.across import Question, try_across
from danlu.lab.statistics.agreement import confirmed, decision_accuracy

FOLDER = Path(__file__).parent / "results" / "sizes"
IDEAS = (
    "swiglu", "qk-norm", "constant", "learned-positions", "muon", "lion", "parallel", "mqa", "relu2",
    "post-norm", "wsd", "constant+ema",
)  # fmt: skip
FAR = 16.0  # times the compute of a bed, from which on the larger rung tells what is right
BAR = 0.85


def run(idea: str, rungs: int, studies: Path, workers: int | None, time: bool) -> None:
    """Carry the idea out as far as ``rungs``, and keep what came out."""
    question = Question((idea,), rungs=rungs, gates=False, time=time)
    answer = try_across(question, studies, workers=workers, book=None)
    found = answer.ideas[0].json()
    FOLDER.mkdir(parents=True, exist_ok=True)
    kept = {"machine": machine(1), "flops": answer.flops, **found}
    (FOLDER / f"{idea}.json").write_text(json.dumps(kept, indent=1, ensure_ascii=False) + "\n")


def read() -> dict[str, dict[str, Any]]:
    """What was kept, by idea."""
    return {path.stem: json.loads(path.read_text()) for path in sorted(FOLDER.glob("*.json"))}


def gains(found: Iterable[dict[str, Any]]) -> list[list[str]]:
    """A row for each idea: the gain at each rung, the verdict."""
    rows = []
    for one in found:
        by_rung = [
            "–" if rung["gain"][0] is None else f"{rung['bound']}{rung['gain'][0]:.2f}"
            for rung in one["rungs"]
        ]
        early = " (early)" if one["regime"] and one["regime"]["early"] and one["verdict"] != "void" else ""
        worth = "–" if not one["gain"] or one["gain"][0] is None else _factors(one["gain"])
        rows.append([one["idea"], *by_rung, worth, one["verdict"] + early])
    return rows


def _factors(gain: Sequence[float | None]) -> str:
    value, low, high = ("∞" if end is None else f"{end:.2f}" for end in gain)
    return f"{value} ({low} … {high})"


def differences(one: dict[str, Any]) -> dict[int, float]:
    """The mean difference of the pairs by rung, below zero where the variant is better."""
    found = {}
    for rung in one["rungs"]:
        pairs = [(p["baseline"], p["variant"]) for p in rung["pairs"]]
        ended = [v - b for b, v in pairs if b is not None and v is not None]
        if ended:
            found[rung["rung"]["level"]] = fmean(ended)
    return found


def beds(found: Sequence[dict[str, Any]]) -> list[list[str]]:
    """A row for each rung as a bed: how often its sign, and its order of two ideas, is that of the largest
    rung with at least ``FAR`` times its compute."""
    rows = []
    levels = sorted({rung["rung"]["level"] for one in found for rung in one["rungs"]})
    flops = {r["rung"]["level"]: r["rung"]["flops"] for one in found for r in one["rungs"]}
    for level in levels:
        far = [other for other in levels if flops[other] >= FAR * flops[level]]
        if not far:
            continue
        both = [(d[level], d[far[-1]]) for one in found if {level, far[-1]} <= (d := differences(one)).keys()]
        if len(both) < 2:
            continue
        small, large = zip(*both, strict=True)
        share, low, high = confirmed(small, large)
        order = decision_accuracy(small, large)
        reached = "reached" if share >= BAR else "missed"
        rows.append([
            f"rung {level + 1}", f"{flops[level]:.2g}", f"{flops[far[-1]] / flops[level]:.0f}×",
            f"{len(both)}", f"{share:.2f} ({low:.2f} … {high:.2f})",
            "–" if math.isnan(order) else f"{order:.2f}", reached,
        ])  # fmt: skip
    return rows


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--ideas", default=",".join(IDEAS))
    parser.add_argument("--rungs", type=int, default=4)
    parser.add_argument("--studies", type=Path, default=Path("studies"))
    parser.add_argument("--workers", type=int)
    parser.add_argument("--no-time", action="store_true", help="do not ask for equal time")
    parser.add_argument("--read", action="store_true", help="run nothing")
    given = parser.parse_args()
    for idea in () if given.read else given.ideas.split(","):
        run(idea, given.rungs, given.studies, given.workers, not given.no_time)
    found = list(read().values())
    if not found:
        sys.exit(f"nothing is kept in {FOLDER}")
    most = max(len(one["rungs"]) for one in found)
    rungs = [f"rung {level + 1}" for level in range(most)]
    rows = [[*row[:1], *row[1:-2], *["–"] * (most + 3 - len(row)), *row[-2:]] for row in gains(found)]
    show("What an idea is worth in compute", ("idea", *rungs, "predicted", "verdict"), rows, machine(1))
    columns = ("bed", "FLOP", "judged at", "ideas", "same sign", "same order", f"≥ {BAR}")
    show("How well a bed decides", columns, beds(found), machine(1))


if __name__ == "__main__":
    main()
