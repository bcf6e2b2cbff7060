"""Seconds of ``danlu inspect`` on a run of ``tiny``, and what looks inside cost a run.

    python -m bench.inspect [--quick]

Inspect is timed as a subprocess on one core, the interpreter's start and all. For the looks, the same run of
``tiny`` is made with ``train.internals_every`` at the lab's default (ten looks) and without, in turns; what
counts is the active time but for the start. Run it when nothing else runs. ``--quick`` only shows that it
runs: few updates, nothing written.
"""

from __future__ import annotations

import argparse
import tempfile
from pathlib import Path
from statistics import median
from typing import Any

from bench.common import active_seconds, machine, ratio, save, seconds_of, show, spread, verdict

BAR, SHARE = 15.0, 1.03  # seconds of inspect; of a run with looks over one without
STEPS, LOOKS, ROUNDS = 1000, 10, 3


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--quick", action="store_true", help="few updates, nothing written")
    quick = parser.parse_args().quick
    steps, rounds = (20, 1) if quick else (STEPS, ROUNDS)
    about = machine()
    with tempfile.TemporaryDirectory() as temporary:
        seen, plain = [], []
        for number in range(rounds):
            every = f"train.internals_every={steps // LOOKS}"
            seen.append(active_seconds(Path(temporary) / f"seen-{number}", steps, every))
            plain.append(active_seconds(Path(temporary) / f"plain-{number}", steps))
        looked = [seconds_of("inspect", Path(temporary) / "seen-0") for _ in range(rounds)]
    cost = ratio(seen, plain)
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
