"""Eight runs as populations of several sizes beside the same one after another, in this process, with one
thread: recipe ``bed`` at several widths, and ``nano``.

    python -m bench.populations            # three rounds: some ten minutes of a quiet core
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
from danlu.spec.words import split
from danlu.train.population import train_together
from danlu.train.reporter import Silent
from danlu.train.run import train

RUNS, SIZES, ROUNDS = 8, (2, 4, 8), 3
NETWORKS = {
    "bed model.width=16": 150,
    "bed": 150,
    "bed model.width=64": 100,
    "bed model.width=128": 50,
    "nano": 100,
}
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
    runs, sizes, rounds = (2, (2,), 1) if tiny else (RUNS, SIZES, ROUNDS)
    about, rows, found = machine(threads=1), [], {}
    for network, steps in NETWORKS.items():
        words = [network, f"train.steps={3 if tiny else steps}", "train.evaluate_tokens=4096"]
        experiments = [resolve([*split(words[0]), *words[1:], f"train.seed={seed}"]) for seed in range(runs)]
        times: dict[int, list[float]] = {size: [] for size in (0, *sizes)}
        for _ in range(rounds):
            for size in times:
                with tempfile.TemporaryDirectory() as folder:
                    times[size].append(seconds(experiments, size, Path(folder)))
        faster = {str(size): ratio(times[0], times[size]) for size in sizes}
        found[network] = {"steps": steps, "seconds": spread(times[0]), "ratio": faster}
        alone = spread(times[0])["median"] / runs / steps
        rows.append([network, f"{alone * 1e3:.1f}", *(f"{one['median']:.2f}" for one in faster.values())])
    heads = ["network", "ms of an update alone", *(f"{size} together" for size in sizes)]
    show(f"{runs} runs: times as fast as one after another", heads, rows, about)
    if not tiny:
        save("populations", {"machine": about, "runs": runs, "networks": found})


if __name__ == "__main__":
    main()
