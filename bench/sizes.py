"""Ideas over sizes: what each is worth in compute, rung by rung.

    python -m bench.sizes [--ideas swiglu,lion] [--rungs 4] [--studies DIR] [--workers N] [--no-time]
    python -m bench.sizes --read                 # the table, from the results that are kept

Every idea is one study, ``danlu.try_across_scale`` without gates, and one small file in
``bench/results/sizes``. A study that was stopped goes on; one more rung runs that rung alone. How well a
small bed decides is asked of these results by ``bench.beds``.
"""

from __future__ import annotations

import json
import math
import sys
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from bench.common import machine, show, study_options
from danlu.draw import Chart
from danlu.lab.across import Question, try_across

LARGE = 0.3  # |ln gain| from which on an idea is drawn among the large effects
FOLDER = Path(__file__).parent / "results" / "sizes"
IDEAS = (
    "swiglu", "qk-norm", "constant", "learned-positions", "muon", "lion", "parallel", "mqa", "relu2",
    "post-norm", "wsd", "constant+ema",
)  # fmt: skip


def run(idea: str, rungs: int, studies: Path, workers: int | None, time: bool) -> None:
    """Carry the idea out as far as ``rungs``, and keep what came out."""
    question = Question((idea,), rungs=rungs, gates=False, time=time)
    answer = try_across(question, studies, workers=workers, book=None)
    found = answer.ideas[0].json()
    FOLDER.mkdir(parents=True, exist_ok=True)
    kept = {"machine": machine(1), "cost": answer.cost.json(), **found}
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


def draw(found: Sequence[dict[str, Any]]) -> list[Path]:
    """Gain against compute, the ideas with large effects apart from those with small ones."""
    charts = {
        name: Chart(
            "training FLOP of the baseline", "times the baseline's compute", log_x=True, log_y=True,
            title=f"What an idea is worth in compute: {name} effects",
            caption="Dots: rungs, with 95 % intervals. Above 1 the idea saves compute.",
        ).rule(y=1.0)
        for name in ("large", "small")
    }  # fmt: skip
    for one in found:
        known = [(r["rung"]["flops"], r["gain"]) for r in one["rungs"] if None not in r["gain"]]
        if not known:
            continue
        large = max(abs(math.log(gain[0])) for _, gain in known) > LARGE
        chart, x, y = charts["large" if large else "small"], [at for at, _ in known], [g[0] for _, g in known]
        chart.line(x, y, one["idea"]).dots(x, y, one["idea"], y_ends=[(g[1], g[2]) for _, g in known])
    paths = []
    for name, chart in charts.items():
        paths.append(FOLDER / f"{name}.svg")
        paths[-1].write_text(chart.svg())
    return paths


def _factors(gain: Sequence[float | None]) -> str:
    value, low, high = ("∞" if end is None else f"{end:.2f}" for end in gain)
    return f"{value} ({low} … {high})"


def main() -> None:
    parser = study_options(__doc__)
    parser.add_argument("--ideas", default=",".join(IDEAS))
    parser.add_argument("--rungs", type=int, default=4)
    parser.add_argument("--no-time", action="store_true", help="do not ask for equal time")
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
    print(*(f"Drawn: {path}" for path in draw(found)), sep="\n")


if __name__ == "__main__":
    main()
