"""How long a person waits: from `danlu train` to the first training step, and for `danlu --help`.

    python -m bench.startup

The first step is counted when it is done, as seen from outside: the run's metrics hold its line, which makes
the number an upper bound (lines are gathered for up to half a second). ``cold`` starts with an empty cache
(the corpus is read and encoded), ``warm`` finds it encoded.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import tempfile
import time
from pathlib import Path
from typing import Any

from bench.common import danlu_command, machine, save, show, spread, verdict

FIRST_STEP, HELP = 4.0, 0.3  # seconds


def first_step(folder: Path, cache: Path) -> float:
    """Seconds from the command to the first line of training in the run's metrics."""
    run = folder / "run"
    command = [
        *danlu_command(), "train", "tiny", "train.steps=1", "train.log_every=1", "train.compile=false",
        "--run", str(run), "--json",
    ]  # fmt: skip
    start = time.perf_counter()
    with (folder / "log").open("w") as log:
        environment = os.environ | {"DANLU_CACHE": str(cache)}
        process = subprocess.Popen(command, env=environment, stdin=subprocess.DEVNULL, stdout=log, stderr=log)
        try:
            while not stepped(run / "metrics.jsonl"):
                if process.poll() is not None and not stepped(run / "metrics.jsonl"):
                    raise SystemExit(
                        f"{' '.join(command)} ended before its first step:\n{(folder / 'log').read_text()}"
                    )
                time.sleep(0.005)
            return time.perf_counter() - start
        finally:
            process.wait()


def stepped(metrics: Path) -> bool:
    """Whether a whole line of the metrics belongs to step 1 or later."""
    if not metrics.exists():
        return False
    lines = [
        line for line in metrics.read_text(encoding="utf-8").splitlines(keepends=True) if line.endswith("\n")
    ]
    return any(json.loads(line).get("step", 0) >= 1 for line in lines)


def help_seconds() -> float:
    start = time.perf_counter()
    subprocess.run(
        [*danlu_command(), "--help"], check=True, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL
    )
    return time.perf_counter() - start


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--rounds", type=int, default=5, help="starts with a warm cache")
    rounds = parser.parse_args().rounds

    about = machine()
    help_seconds()  # write the bytecode, fill the disk's cache
    with tempfile.TemporaryDirectory() as temporary:
        folders = [Path(temporary) / str(number) for number in range(rounds + 1)]
        for folder in folders:
            folder.mkdir()
        cache = Path(temporary) / "cache"
        cold, *warm = [first_step(folder, cache) for folder in folders]
    results: dict[str, Any] = {
        "machine": about,
        "help": spread([help_seconds() for _ in range(10)]) | {"bar": HELP},
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
