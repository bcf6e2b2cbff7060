"""Seconds of ``danlu inspect`` on a run of ``tiny``, and what looks inside cost a run.

    python -m bench.inspect [--quick]

Inspect is timed as a subprocess on one core, the interpreter's start and all. For the looks, ``tiny`` is run
with ``train.internals_every`` at the lab's default (ten looks). Every update is timed, and an update with a
look, and the one after it, are set beside the median of those around them: two runs of a minute, one with
looks and one without, differ by more than the looks cost (0.95, 1.03, 1.17). Run it when nothing else runs.
``--quick`` only shows that it runs: few updates, nothing written.
"""

from __future__ import annotations

import argparse
import json
import tempfile
from pathlib import Path
from statistics import median
from typing import Any

from bench.common import active_seconds, machine, save, seconds_of, show, spread, verdict

BAR, SHARE = 15.0, 1.03  # seconds of inspect; of a run with looks over one without
STEPS, LOOKS, ROUNDS = 1000, 10, 3
AROUND = 10  # updates before a look and after it, beside which it is set


def looks(folder: Path, steps: int, every: int) -> float:
    """What a run of ``tiny`` takes with a look at every so many updates, of what it would without."""
    active_seconds(folder, steps, f"train.internals_every={every}", "train.log_every=1")
    rows = [json.loads(line) for line in (folder / "metrics.jsonl").read_text(encoding="utf-8").splitlines()]
    at = {row["step"]: row["seconds"] for row in rows if "loss" in row}
    took = {step: at[step] - at[step - 1] for step in at if step - 1 in at}
    shares = []
    for step in range(every, steps, every):
        near = range(step - AROUND, step + AROUND + 1)
        plain = median(took[k] for k in near if k in took and k not in (step, step + 1))
        shares.append((took[step] + took[step + 1] - 2 * plain) / (every * plain))
    return 1 + sum(shares) / len(shares)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--quick", action="store_true", help="few updates, nothing written")
    quick = parser.parse_args().quick
    steps, rounds = (20, 1) if quick else (STEPS, ROUNDS)
    about = machine()
    with tempfile.TemporaryDirectory() as temporary:
        folders = [Path(temporary) / f"run-{number}" for number in range(rounds)]
        cost = spread([looks(folder, steps, steps // LOOKS) for folder in folders])
        looked = [seconds_of("inspect", folders[0]) for _ in range(rounds)]
    results: dict[str, Any] = {"machine": about, "inspect": spread(looked) | {"bar": BAR},
                               "looks": cost | {"bar": SHARE, "steps": steps}}  # fmt: skip
    rows = [
        ("danlu inspect, tiny, s", f"{median(looked):.2f}", verdict(median(looked), BAR, at_most=True)),
        (f"{LOOKS} looks in {steps} updates, ×", f"{cost['median']:.3f}",
         verdict(cost["median"], SHARE, at_most=True)),
    ]  # fmt: skip
    show("Inspection", ("", "measured", "bar"), rows, about)
    if not quick:
        save("inspect", results)


if __name__ == "__main__":
    main()
