"""Many small runs: the queue beside one command after another, and beside Optuna driving nanoGPT.

    python -m bench.queue [--nanogpt CHECKOUT --text FILE] [--runs 16] [--steps 300] [--quick]

The runs are a grid of rates. Each side is timed from its command to its end, with the corpus prepared before.
The commands have every core, one after another; the queue has as many workers as cores, and trains several
networks in each at once; compiled it trains each alone. With ``--nanogpt`` as
many runs of its train.py, of danlu's shape and length, are driven by Optuna: a process a trial, as many at a
time as there are cores, one thread each.
"""

from __future__ import annotations

import argparse
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from bench.common import ROOT, cores, danlu_command, machine, ratio, revision, save, show, spread, verdict
from bench.time_to_quality import prepare

BAR, TOGETHER = 1.7, 1.3  # on two cores: beside commands, and beside the queue with compiled runs
LOWEST, HIGHEST = 1e-3, 3e-2  # rates
COMMANDS, QUEUE = "one command after another", "the queue"
COMPILED = "the queue, each run alone and compiled"
OPTUNA, SAME = "Optuna and nanoGPT, a process a trial", "the queue, nanoGPT's shape"
SHAPE = [
    "nanogpt-char", "model.layers=3", "model.width=64", "model.mixer.heads=4", "data.context=64",
    "train.batch=16", "train.evaluate_every=none", "train.evaluate_tokens=20480",
]  # fmt: skip
RIVAL = [
    "config/train_shakespeare_char.py", "--device=cpu", "--compile=False", "--dropout=0.0", "--n_layer=3",
    "--n_embd=64", "--n_head=4", "--block_size=64", "--batch_size=16", "--eval_iters=20",
    "--always_save_checkpoint=True",
]  # fmt: skip

Side = Callable[[Path], float]


def rates(count: int) -> list[float]:
    """A logarithmic grid."""
    step = (HIGHEST / LOWEST) ** (1 / max(count - 1, 1))
    return [float(f"{LOWEST * step**number:.3g}") for number in range(count)]


def seconds_of(command: list[str], folder: Path) -> float:
    """Of a whole command, which must succeed."""
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    start = time.perf_counter()
    result = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=False)
    if result.returncode:
        raise SystemExit(f"{' '.join(command)} ended with status {result.returncode}:\n{result.stderr}")
    return time.perf_counter() - start


# --- the sides -------------------------------------------------------------------------------------


def commands(count: int, words: list[str], folder: Path) -> float:
    """Seconds of ``danlu train``, ``count`` times."""
    each = [[*danlu_command(), "train", *words, f"optimizer.lr={rate}"] for rate in rates(count)]
    return sum(seconds_of(command, folder) for command in each)


def worker(kind: str, count: int, words: list[str], folder: Path) -> float:
    """Seconds of this file doing all the runs, as a process of its own."""
    return seconds_of([sys.executable, "-m", "bench.queue", "--worker", kind, str(count), *words], folder)


def by_the_queue(count: int, words: list[str]) -> None:
    # API: the queue.
    from danlu.lab.queue import Job, Queue
    from danlu.spec import resolve

    with Queue(show=False) as queue:
        outcomes = queue.run(Job(resolve([*words, f"optimizer.lr={rate}"])) for rate in rates(count))
    wrong = [outcome.error for outcome in outcomes if outcome.summary is None]
    if wrong:
        raise SystemExit(f"{len(wrong)} runs did not finish: {wrong[0]}")


def by_optuna(count: int, checkout: str, *settings: str) -> None:
    import optuna

    def objective(trial: optuna.Trial) -> float:
        rate = trial.suggest_float("learning_rate", LOWEST, HIGHEST, log=True)
        own = [f"--learning_rate={rate}", f"--out_dir={Path.cwd() / str(trial.number)}"]
        said = subprocess.run(
            [sys.executable, "train.py", *RIVAL, *settings, *own],
            cwd=checkout,
            env=os.environ | {"OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "1"},
            capture_output=True,
            text=True,
            check=True,
        ).stdout
        return float([line.split()[-1] for line in said.splitlines() if "val loss" in line][-1])

    optuna.logging.set_verbosity(optuna.logging.WARNING)
    study = optuna.create_study(sampler=optuna.samplers.GridSampler({"learning_rate": rates(count)}))
    study.optimize(objective, n_trials=count, n_jobs=cores())


# --- the comparison --------------------------------------------------------------------------------


def in_turn(sides: dict[str, Side], rounds: int) -> dict[str, list[float]]:
    """Seconds of each side in every round, each in a new folder."""
    times: dict[str, list[float]] = {name: [] for name in sides}
    for number in range(rounds):
        for name, side in sides.items():
            with tempfile.TemporaryDirectory() as folder:
                times[name].append(side(Path(folder)))
            print(f"  round {number + 1} of {rounds}, {name}: {times[name][-1]:.1f} s", file=sys.stderr)
    return times


def compare(arguments: argparse.Namespace, temporary: Path) -> dict[str, list[float]]:
    """Seconds of every side in every round."""
    count, steps = arguments.runs, arguments.steps
    length = [f"train.steps={steps}", "train.compile=false"]
    nano, same = ["nano", *length], [*SHAPE, *length, f"data.corpus={arguments.text}"]
    sides: dict[str, Side] = {
        COMMANDS: lambda folder: commands(count, nano, folder),
        QUEUE: lambda folder: worker("queue", count, nano, folder),
        COMPILED: lambda folder: worker("queue", count, [*nano, "train.compile=true"], folder),
    }
    commands(1, [*nano, "train.steps=1"], temporary)  # prepares the corpus
    commands(1, [*nano, "train.steps=1", "train.compile=true"], temporary)  # and fills the compiler's cache
    if arguments.nanogpt:
        checkout = temporary / "nanoGPT"
        shutil.copytree(arguments.nanogpt, checkout, ignore=shutil.ignore_patterns(".git"))
        prepare(checkout, arguments.text.read_text(encoding="utf-8"))
        settings = [f"--{name}={steps}" for name in ("max_iters", "lr_decay_iters", "eval_interval")]
        sides[OPTUNA] = lambda folder: worker("optuna", count, [str(checkout), *settings], folder)
        sides[SAME] = lambda folder: worker("queue", count, same, folder)
        commands(1, [*same, "train.steps=1"], temporary)
    return in_turn(sides, arguments.rounds)


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument(
        "--nanogpt", type=Path, help="a checkout of nanoGPT; left out, that rival is left out"
    )
    parser.add_argument("--text", type=Path, help="the text that both read, with --nanogpt")
    parser.add_argument("--runs", type=int, default=16)
    parser.add_argument("--steps", type=int, default=300, help="updates of each run")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--quick", action="store_true", help="4 runs of 20 updates, once; nothing is kept")
    parser.add_argument("--worker", nargs=argparse.REMAINDER, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.worker:
        kind, count, *words = arguments.worker
        by_the_queue(int(count), words) if kind == "queue" else by_optuna(int(count), *words)
        return
    if arguments.nanogpt:
        arguments.nanogpt = arguments.nanogpt.resolve()
        if not (arguments.nanogpt / "train.py").is_file():
            parser.error(f"{arguments.nanogpt} holds no train.py: --nanogpt wants a checkout of nanoGPT")
        if arguments.text is None or not arguments.text.is_file():
            parser.error("--nanogpt needs --text FILE, the text that both sides read")
        arguments.text = arguments.text.resolve()
    if arguments.quick:
        arguments.runs, arguments.steps, arguments.rounds = 4, 20, 1

    about = machine(cores())
    with tempfile.TemporaryDirectory() as temporary:
        times = compare(arguments, Path(temporary))
    ratios = {
        COMMANDS: ratio(times[COMMANDS], times[QUEUE]) | {"bar": BAR},
        COMPILED: ratio(times[COMPILED], times[QUEUE]) | {"bar": TOGETHER},
    }
    if OPTUNA in times:
        ratios[OPTUNA] = ratio(times[OPTUNA], times[SAME])
    rows = [(name, f"{spread(seconds)['median']:.1f}") for name, seconds in times.items()]
    show(f"{arguments.runs} runs of {arguments.steps} updates", ("", "seconds"), rows, about)
    for name, found in ratios.items():
        said = f": {verdict(found['median'], found['bar'])}" if "bar" in found else ""
        print(f"{found['median']:.2f}× {name} ({found['low']:.2f} to {found['high']:.2f}){said}")
    if not arguments.quick:
        results = {
            "runs": arguments.runs,
            "steps": arguments.steps,
            "machine": about,
            "nanogpt_revision": revision(arguments.nanogpt) if arguments.nanogpt else None,
            "seconds": {name: spread(seconds) for name, seconds in times.items()},
            "ratios": ratios,
        }
        save("queue", results)


if __name__ == "__main__":
    main()
