"""Seconds of ``danlu runs`` over thousands of runs: first answer without an index (cold) and with one (warm).

    python -m bench.runs

Makes run folders as training leaves them (a resolved experiment, a summary, metrics of so many rows) in a
temporary folder and times the command as a subprocess, the interpreter's start and all. Cold: the index is
taken away before; the files are in the system's cache either way.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import tempfile
import time
from pathlib import Path
from typing import Any

from bench.common import danlu_command, machine, save, show, spread, verdict

RUNS, ROWS, SEEDS = 2000, 1000, 5
BAR = 0.5  # seconds to the first answer, warm
INDEX = ".danlu-runs.sqlite"


def make_runs(folder: Path, runs: int, rows: int) -> None:
    """``runs`` finished runs with ``rows`` rows of metrics each; every five differ in their seed alone."""
    from danlu.spec import to_yaml
    from danlu.spec.words import resolve

    text = to_yaml(resolve(["tiny", "train.seed=123456", "optimizer.lr=0.123456", f"train.steps={rows}"]))
    for number in range(runs):
        lr, seed = 1e-4 * 1.01 ** (number // SEEDS), number % SEEDS
        run = folder / f"tiny-{number:05d}"
        run.mkdir()
        experiment = text.replace("0.123456", repr(lr)).replace("123456", str(seed))
        (run / "experiment.yaml").write_text(experiment, encoding="utf-8")
        lines = [
            {"step": step, "tokens": 1024 * step, "seconds": 0.05 * step, "flops": 5e9 * step,
             "loss": 2 + 3 / step, "grad_norm": 0.5, "lr": lr}
            for step in range(1, rows)
        ]  # fmt: skip
        last = {"step": rows, "tokens": 1024 * rows, "seconds": 0.05 * rows, "bits_per_byte": 2.5 + lr,
                "held_out_loss": 1.7}  # fmt: skip
        (run / "metrics.jsonl").write_text("".join(json.dumps(row) + "\n" for row in [*lines, last]))
        (run / "summary.json").write_text(json.dumps(summary(run, rows, 2.5 + lr), indent=1))
        (run / "environment.json").write_text(json.dumps({"code": code(number)}, indent=1))


def code(number: int) -> dict[str, Any]:
    """What a run writes down of its code: half of them by what is here, others by ten older ones."""
    from danlu.code import now

    here = now()
    files = {name: digest for name, digest in list(here.files.items())[:60]}
    if number % 2:
        return {"tier_a": here.tier_a, "files": files}
    return {"tier_a": f"{number % 20:016x}", "files": files | {"nn/block.py": f"{number % 20:016x}"}}


def summary(run: Path, steps: int, score: float) -> dict[str, Any]:
    """What ``danlu train`` leaves in ``summary.json``."""
    return {
        "run": str(run), "metric": {"name": "bits_per_byte", "value": score},
        "best": {"step": steps, "value": score}, "loss": 1.7, "steps": steps, "tokens": 1024 * steps,
        "tokens_per_second": 2e4, "utilisation": 0.3, "flops": 5e9 * steps, "parameters": 803584,
        "active_seconds": {"startup": 2.0, "train": 0.05 * steps}, "wall_seconds": 60.0, "sample": "a" * 200,
        "stopped": None,
    }  # fmt: skip


def seconds(words: list[str]) -> float:
    """Of one command, start to end."""
    start = time.perf_counter()
    command = [*danlu_command(), *words]
    none = subprocess.DEVNULL
    subprocess.run(command, check=True, stdin=none, stdout=none, stderr=none)
    return time.perf_counter() - start


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--runs", type=int, default=RUNS)
    parser.add_argument("--rows", type=int, default=ROWS)
    parser.add_argument("--rounds", type=int, default=10)
    asked = parser.parse_args()
    about = machine()
    with tempfile.TemporaryDirectory() as temporary:
        make_runs(Path(temporary), asked.runs, asked.rows)
        seconds(["runs", temporary])
        cold = []
        for _ in range(max(3, asked.rounds // 3)):
            (Path(temporary) / INDEX).unlink()
            cold.append(seconds(["runs", temporary]))
        cases = {"warm": [], "--where 'lr>1e-3' --sort best": ["--where", "lr>1e-3", "--sort", "best"],
                 "--group": ["--group"]}  # fmt: skip
        warm: dict[str, list[float]] = {name: [] for name in cases}
        for _ in range(asked.rounds):
            for name, words in cases.items():
                warm[name].append(seconds(["runs", temporary, *words]))
    results: dict[str, Any] = {"machine": about, "runs": asked.runs, "rows": asked.rows}
    results |= {"cold": spread(cold)} | {name: spread(times) for name, times in warm.items()}
    results["warm"] |= {"bar": BAR}
    rows = [
        (name, f"{r['median']:.2f}", f"{r['low']:.2f} to {r['high']:.2f}",
         verdict(r["median"], BAR, at_most=True) if name == "warm" else "")
        for name, r in results.items() if isinstance(r, dict) and "median" in r
    ]  # fmt: skip
    title = f"Seconds of danlu runs over {asked.runs:,} runs of {asked.rows:,} rows"
    show(title, ("", "median", "range", "bar"), rows, about)
    save("runs", results)


if __name__ == "__main__":
    main()
