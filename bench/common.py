"""What the benchmarks share: the machine described, rivals timed in turn, results kept and printed.

A noisy machine spoils absolute seconds and spares ratios, if the rivals are measured close together in time.
So each rival lives in a process of its own (allocator settings and thread pools don't mix), all are started
once, and then every round measures each of them in turn: A, B, C, A, B, C, … The ratio is taken within a
round, and its median over the rounds is what counts.
"""

from __future__ import annotations

import argparse
import datetime
import json
import os
import platform
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from statistics import median
from typing import Any

import danlu

ROOT = Path(__file__).resolve().parents[1]
RESULTS = ROOT / "bench" / "results"

Step = Callable[[], object]


def study_options(about: str | None) -> argparse.ArgumentParser:
    """What a benchmark of many runs is asked for: where they are kept, how many at once, or none."""
    parser = argparse.ArgumentParser(description=about, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--studies", type=Path, default=Path("studies"))
    parser.add_argument("--workers", type=int)
    parser.add_argument("--read", action="store_true", help="run nothing")
    return parser


# --- the machine ---------------------------------------------------------------------------------


def cores() -> int:
    """The cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def machine(threads: int | None = None) -> dict[str, Any]:
    """Processor, cores, versions and date: enough to know what a number belongs to."""
    model, features = platform.processor() or platform.machine(), []
    cpuinfo = Path("/proc/cpuinfo")
    if cpuinfo.exists():
        fields = dict(
            (key.strip(), value.strip())
            for key, colon, value in (line.partition(":") for line in cpuinfo.read_text().splitlines())
            if colon
        )
        model = fields.get("model name", model)
        wanted = ("avx2", "avx512f", "avx512_bf16", "amx_bf16", "asimd", "bf16")
        present = set(fields.get("flags", fields.get("Features", "")).split())
        features = [name for name in wanted if name in present]
    return {
        "cpu": model,
        "features": features,
        "cores": cores(),
        "threads": threads or cores(),
        "load": round(os.getloadavg()[0], 2) if hasattr(os, "getloadavg") else None,
        "system": platform.platform(),
        "python": platform.python_version(),
        "packages": {"danlu": danlu.__version__}
        | {name: _version(name) for name in ("torch", "numpy", "x-transformers")},
        "date": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
    }


def _version(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None


def revision(checkout: Path) -> str | None:
    """The commit of a rival's checkout, where git knows it."""
    command = ["git", "-C", str(checkout), "rev-parse", "HEAD"]
    result = subprocess.run(command, capture_output=True, text=True, check=False)
    return result.stdout.strip() or None


def danlu_command() -> list[str]:
    """The installed command beside this interpreter."""
    command = Path(sys.executable).with_name("danlu")
    if not command.exists():
        raise SystemExit(f"{command} is not there: run `make install`, and this with the same Python")
    return [str(command)]


def seconds_of(verb: str, folder: Path) -> float:
    """Of ``danlu VERB FOLDER`` as a process of its own, the interpreter's start and all."""
    begin = time.perf_counter()
    subprocess.run([*danlu_command(), verb, str(folder), "--json"], capture_output=True, check=True)
    return time.perf_counter() - begin


def active_seconds(folder: Path, steps: int, *words: str) -> float:
    """Of a run of ``tiny`` in ``folder``, without its start and its evaluation."""
    given = [f"train.steps={steps}", "train.evaluate_every=none", *words, "--run", str(folder), "--json"]
    said = subprocess.run(
        [*danlu_command(), "train", "tiny", *given], capture_output=True, text=True, check=True
    ).stdout
    seconds = json.loads(said)["active_seconds"]
    return float(sum(seconds.values()) - seconds.get("startup", 0.0) - seconds.get("evaluation", 0.0))


# --- a rival in its own process ------------------------------------------------------------------


class Worker:
    """A subprocess that builds a step once and then times it on request (see ``serve``)."""

    def __init__(self, name: str, command: Sequence[str], threads: int) -> None:
        self.name = name
        environment = os.environ | {"OMP_NUM_THREADS": str(threads), "MKL_NUM_THREADS": str(threads)}
        self.process = subprocess.Popen(
            command, cwd=ROOT, env=environment, text=True, stdin=subprocess.PIPE, stdout=subprocess.PIPE
        )
        self._answer()  # built and warm

    def measure(self, seconds: float) -> float:
        """Seconds per step, over as many steps as fill the given time."""
        assert self.process.stdin is not None
        self.process.stdin.write(f"{seconds}\n")
        self.process.stdin.flush()
        return self._answer()

    def close(self) -> None:
        self.process.kill()
        self.process.wait()

    def _answer(self) -> float:
        assert self.process.stdout is not None
        line = self.process.stdout.readline()
        if not line:
            raise SystemExit(f"{self.name} ended with status {self.process.wait()}; its own message is above")
        return float(line)


def serve(build: Callable[[], Step], warmup: int = 5) -> None:
    """A worker's side: build, warm up, then answer each line of seconds with seconds per step."""
    answers = os.fdopen(os.dup(1), "w", buffering=1)
    os.dup2(2, 1)  # whatever a rival prints goes to stderr
    step = build()
    for _ in range(warmup):
        step()
    print(0.0, file=answers)
    for line in sys.stdin:
        budget = float(line)
        step()  # wake the threads and the caches after the others' turn
        steps, start = 0, time.perf_counter()
        while (elapsed := time.perf_counter() - start) < budget or steps < 3:
            step()
            steps += 1
        print(elapsed / steps, file=answers)


def interleave(
    commands: Mapping[str, Sequence[str]], rounds: int, seconds: float, threads: int
) -> dict[str, list[float]]:
    """Seconds per step of every rival in every round; the rivals take turns within a round."""
    console = _console(stderr=True)
    workers: list[Worker] = []
    try:
        for name, command in commands.items():
            console.print(f"  starting {name}", style="dim")
            workers.append(Worker(name, command, threads))
        times: dict[str, list[float]] = {worker.name: [] for worker in workers}
        for number in range(rounds):
            console.print(f"  round {number + 1} of {rounds}", style="dim")
            for worker in workers:
                times[worker.name].append(worker.measure(seconds))
        return times
    finally:
        for worker in workers:
            worker.close()


# --- results ---------------------------------------------------------------------------------------


def spread(values: Sequence[float]) -> dict[str, Any]:
    """The median with the smallest and largest value, and all of them."""
    return {"median": median(values), "low": min(values), "high": max(values), "values": list(values)}


def ratio(slower: Sequence[float], faster: Sequence[float]) -> dict[str, Any]:
    """How many times as fast, round by round."""
    return spread([a / b for a, b in zip(slower, faster, strict=True)])


def save(name: str, results: Mapping[str, Any]) -> Path:
    """Write ``bench/results/NAME.json``."""
    RESULTS.mkdir(parents=True, exist_ok=True)
    path = RESULTS / f"{name}.json"
    path.write_text(json.dumps(results, indent=2) + "\n", encoding="utf-8")
    _console().print(f"written: {path.relative_to(ROOT)}", style="dim")
    return path


def _console(*, stderr: bool = False) -> Any:
    from rich.console import Console  # here: what a GPU machine measures needs torch alone

    return Console(stderr=stderr)


def show(title: str, columns: Sequence[str], rows: Sequence[Sequence[str]], about: Mapping[str, Any]) -> None:
    """Print one table, and below it the machine that it was measured on."""
    from rich.table import Table

    table = Table(title=title, title_justify="left")
    for number, column in enumerate(columns):
        table.add_column(column, justify="left" if number == 0 else "right")
    for row in rows:
        table.add_row(*row)
    console = _console()
    console.print(table)
    packages = ", ".join(f"{name} {number}" for name, number in about["packages"].items() if number)
    console.print(
        f"{about['cpu']}, {about['cores']} cores ({', '.join(about['features'])}), "
        f"{about['threads']} threads, load {about['load']} at the start; {packages}; {about['date']}",
        style="dim",
    )


def verdict(value: float, bar: float, at_most: bool = False) -> str:
    """``reached`` or ``missed``, with the bar."""
    reached = value <= bar if at_most else value >= bar
    return f"{'reached' if reached else 'missed'} ({'≤' if at_most else '≥'} {bar:g})"
