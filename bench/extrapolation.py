"""Extrapolation scores of laws over the 92 learning curves of Alabdulmohsin et al. 2022, a line per domain.

    python bench/extrapolation.py [FOLDER of benchmark.*.csv]

Errors are root mean squared errors of ln(loss) on the held-out end of each curve; ``best`` is the share of
the curves on which no other method has a lower one.
"""

from __future__ import annotations

import json
import os
import sys
import time
from pathlib import Path
from typing import Any

from danlu.laws.extrapolation import read_tasks, score, summary

ROOT = Path(__file__).resolve().parents[1]


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
