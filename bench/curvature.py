"""What measuring the gradient's noise costs a run, and seconds of ``danlu curvature``.

    python -m bench.curvature [--quick]

The same run of ``tiny`` in four microbatches an update is made with ``train.noise_every=1``, its dearest
setting, and without, in turns; what counts is the active time but for start and evaluation. The command is
timed as a subprocess on one core, the interpreter's start and all. Run it when nothing else runs. ``--quick``
only shows that it runs: few updates, nothing written.
"""

from __future__ import annotations

import argparse
import tempfile
from pathlib import Path
from statistics import median

from bench.common import active_seconds, machine, ratio, save, seconds_of, show, spread, verdict

SHARE = 1.05  # of a run that measures over one that does not (row S4)
STEPS, ROUNDS = 500, 5
PASSES = ("train.batch=8", "train.microbatch=2")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--quick", action="store_true", help="few updates, nothing written")
    quick = parser.parse_args().quick
    steps, rounds = (10, 1) if quick else (STEPS, ROUNDS)
    about = machine()
    with tempfile.TemporaryDirectory() as temporary:
        measured, plain = [], []
        for number in range(rounds):
            folder = Path(temporary) / f"measured-{number}"
            measured.append(active_seconds(folder, steps, *PASSES, "train.noise_every=1"))
            plain.append(active_seconds(Path(temporary) / f"plain-{number}", steps, *PASSES))
        looked = [seconds_of("curvature", Path(temporary) / "measured-0") for _ in range(1 if quick else 3)]
    cost = ratio(measured, plain)
    rows = [
        ("train.noise_every=1, ×", f"{cost['median']:.3f}", verdict(cost["median"], SHARE, at_most=True)),
        ("danlu curvature, tiny, s", f"{median(looked):.1f}", ""),
    ]
    show("Curvature", ("", "measured", "bar"), rows, about)
    if not quick:
        made = {"noise": cost | {"bar": SHARE, "steps": steps}, "curvature": spread(looked)}
        save("curvature", {"machine": about} | made)


if __name__ == "__main__":
    main()
