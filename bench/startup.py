"""How long a person waits: from `danlu train` to the first training step, and for `danlu --help`.

    python -m bench.startup

The first step is counted when it is done: the run's own clock at step 1, which starts with danlu's first
line, and before it the interpreter's start, measured apart. ``cold`` starts with an empty cache (the corpus
is read and encoded), ``warm`` finds it encoded.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from statistics import median
from typing import Any

from bench.common import danlu_command, machine, save, show, spread, verdict

FIRST_STEP, HELP = 4.0, 0.3  # seconds


def first_step(folder: Path, cache: Path) -> float:
    """Seconds from danlu's first line to the end of the first step, by the run's own clock."""
    run = folder / "run"
    settings = ["train.steps=1", "train.log_every=1", "train.compile=false"]
    command = [*danlu_command(), "train", "tiny", *settings, "--run", str(run), "--json"]
    result = subprocess.run(
        command,
        env=os.environ | {"DANLU_CACHE": str(cache)},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
    )
    if result.returncode:
        raise SystemExit(f"{' '.join(command)} ended with status {result.returncode}:\n{result.stderr}")
    rows = [json.loads(line) for line in (run / "metrics.jsonl").read_text(encoding="utf-8").splitlines()]
    # API: a row of training has `step`, and `seconds`: active seconds until then, start-up included.
    return next(float(row["seconds"]) for row in rows if row["step"] == 1 and "seconds" in row)


def wall(command: list[str]) -> float:
    """Seconds of a whole command."""
    start = time.perf_counter()
    subprocess.run(command, check=True, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL)
    return time.perf_counter() - start


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--rounds", type=int, default=5, help="starts with a warm cache")
    rounds = parser.parse_args().rounds

    about = machine()
    help_command = [*danlu_command(), "--help"]
    wall(help_command)  # write the bytecode, fill the disk's cache
    interpreter = median(wall([sys.executable, "-c", "pass"]) for _ in range(10))
    with tempfile.TemporaryDirectory() as temporary:
        folders = [Path(temporary) / str(number) for number in range(rounds + 1)]
        for folder in folders:
            folder.mkdir()
        cache = Path(temporary) / "cache"
        cold, *warm = [interpreter + first_step(folder, cache) for folder in folders]
    results: dict[str, Any] = {
        "machine": about,
        "help": spread([wall(help_command) for _ in range(10)]) | {"bar": HELP},
        "first_step_cold": spread([cold]) | {"bar": FIRST_STEP},
        "first_step_warm": spread(warm) | {"bar": FIRST_STEP},
    }
    rows = [
        (
            name,
            f"{r['median']:.2f}",
            f"{r['low']:.2f} to {r['high']:.2f}",
            verdict(r["median"], r["bar"], at_most=True),
        )
        for name, r in (
            ("danlu --help", results["help"]),
            ("danlu train tiny, first step, empty cache", results["first_step_cold"]),
            ("danlu train tiny, first step", results["first_step_warm"]),
        )
    ]
    show("Seconds from the command", ("", "median", "range", "bar"), rows, about)
    save("startup", results)


if __name__ == "__main__":
    main()
