"""Sixteen runs of ``nano`` as populations of several sizes beside the same runs one after another, all in
this process with one thread.

    python -m bench.populations            # three rounds of 300 updates: half an hour of a quiet core
    python -m bench.populations --tiny     # does it run?

The ratio is taken within a round, in which every way has its turn; seconds are active ones of the updates
(data, gradients, rules), since start-up, evaluation and checkpoints are the same work in all ways.
"""

from __future__ import annotations

import argparse
import tempfile
from pathlib import Path

import torch

from bench.common import machine, ratio, save, show, spread
from danlu.spec import resolve
from danlu.spec.experiment import Experiment
from danlu.train.population import train_together
from danlu.train.run import train
from danlu.train.trainer import Silent

RUNS, SIZES, ROUNDS, STEPS = 16, (4, 8, 16), 3, 300
PARTS = ("data", "train", "optimizer")


def seconds(experiments: list[Experiment], size: int, folder: Path) -> float:
    """Of the updates of all, in populations of ``size``; 0: one after another, as ``danlu train`` does it."""
    folders = [folder / f"{size}-{k}" for k in range(len(experiments))]
    found = []
    for start in range(0, len(experiments), size or 1):
        some = slice(start, start + (size or 1))
        if size:
            found += train_together(experiments[some], folders[some])
        else:
            found.append(train(experiments[start], folders[start], Silent(), sample=False) or {})
    total = 0.0
    for summary in found:
        if isinstance(summary, Exception):
            raise summary
        total += sum(summary["active_seconds"][part] for part in PARTS)
    return total


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--tiny", action="store_true", help="four runs of three updates; nothing is kept")
    tiny = parser.parse_args().tiny
    torch.set_num_threads(1)
    runs, sizes, rounds, steps = (4, (2,), 1, 3) if tiny else (RUNS, SIZES, ROUNDS, STEPS)
    about = machine(threads=1)
    words = ["nano", f"train.steps={steps}", "train.evaluate_tokens=4096"]
    experiments = [resolve([*words, f"train.seed={seed}"]) for seed in range(runs)]
    times: dict[int, list[float]] = {size: [] for size in (0, *sizes)}
    for _ in range(rounds):
        for size in times:
            with tempfile.TemporaryDirectory() as folder:
                times[size].append(seconds(experiments, size, Path(folder)))
    faster = {size: ratio(times[0], times[size]) for size in sizes}
    show(
        f"{runs} runs of nano, {steps} updates",
        ["members at once", "seconds of updates", "times as fast"],
        [["1 (danlu train)", f"{spread(times[0])['median']:.1f}", ""]]
        + [[f"{s}", f"{spread(times[s])['median']:.1f}", f"{faster[s]['median']:.2f}"] for s in sizes],
        about,
    )
    if not tiny:
        results = {"runs": runs, "steps": steps, "seconds": {str(s): spread(t) for s, t in times.items()}}
        save("populations", {"machine": about, **results, "ratio": {str(s): r for s, r in faster.items()}})


if __name__ == "__main__":
    main()
