"""What compiling saves of a whole run on one core, and that eager updates are as fast as before.

    python -m bench.compiling [--before CHECKOUT] [--rounds 3]

Runs of the command, on one thread, in turns: eager, compiled, and eager in another checkout. Counted are
tokens a second from five seconds after the first update on, without evaluation. A second compiled process
tells how long the step takes to start from the cache: ``compile`` of its active seconds.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from statistics import median
from typing import Any

from bench.common import ROOT, machine, ratio, save

STEPS = {"nano": 1500, "tiny": 700}  # tiny with its own rule, Muon, whose products compiling leaves alone
BARS = {"nano": 1.35, "tiny": 1.4}
START = 3.0  # seconds
LEAVE_OUT = 5.0  # seconds after the first update


def run(checkout: Path, recipe: str, compiled: bool, cache: Path) -> dict[str, float]:
    """Tokens a second, and the seconds that compiling took."""
    bound = f"train.steps={STEPS[recipe]}"
    words = [recipe, bound, "train.seconds=none", "train.evaluate_every=none", "train.evaluate_tokens=1024"]
    words += [f"train.compile={str(compiled).lower()}", "train.log_every=5"]
    environment = {
        **os.environ, "PYTHONPATH": str(checkout), "OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "1",
        "DANLU_CACHE": str(cache),
    }  # fmt: skip
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch, "run")
        command = [sys.executable, "-m", "danlu", "train", *words, "--run", str(folder), "--json"]
        done = subprocess.run(command, cwd=checkout, env=environment, capture_output=True, text=True)
        if done.returncode:
            sys.exit(f"{' '.join(command)}\n{done.stderr[-2000:]}")
        rows = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
        seconds = json.loads((folder / "summary.json").read_text())["active_seconds"]
    updates = [row for row in rows if "loss" in row]
    first = next(row for row in updates if row["seconds"] >= updates[0]["seconds"] + LEAVE_OUT)
    last = updates[-1]
    speed = (last["tokens"] - first["tokens"]) / (last["seconds"] - first["seconds"])
    return {"tokens_per_second": speed, "compile": seconds["compile"]}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--before", type=Path, help="a checkout to compare eager updates with")
    parser.add_argument("--rounds", type=int, default=3)
    given = parser.parse_args()
    found: dict[str, Any] = {}
    with tempfile.TemporaryDirectory() as scratch:
        cache = Path(scratch)
        ways = {"eager": (ROOT, False), "compiled": (ROOT, True)}
        if given.before:
            ways["before"] = (given.before.resolve(), False)
        for recipe in STEPS:
            cold = run(ROOT, recipe, True, cache)["compile"]
            rounds: dict[str, list[dict[str, float]]] = {way: [] for way in ways}
            for _ in range(given.rounds):
                for way, (checkout, compiled) in ways.items():
                    rounds[way].append(run(checkout, recipe, compiled, cache))
            each = {way: [r["tokens_per_second"] for r in runs] for way, runs in rounds.items()}
            found[recipe] = {
                "tokens_per_second": {way: round(median(speeds)) for way, speeds in each.items()},
                "compiled_over_eager": round(ratio(each["compiled"], each["eager"])["median"], 3),
                "bar": BARS[recipe],
                "each": {way: [round(speed) for speed in speeds] for way, speeds in each.items()},
                "compile_seconds": round(cold, 1),
                "compile_seconds_from_cache": [round(r["compile"], 2) for r in rounds["compiled"]],
                "start_bar": START,
            }
            if given.before:
                found[recipe]["eager_over_before"] = round(
                    1 / ratio(each["before"], each["eager"])["median"], 3
                )
            print(f"{recipe}: {json.dumps(found[recipe])}", flush=True)
    save("compiling", {"machine": machine(1), "recipes": found})


if __name__ == "__main__":
    main()
