"""Measures the kernels of attention, and writes the table that danlu chooses by: danlu/catalog/kernels.yaml.

    python -m bench.kernels [--device cuda] [--quick]

Forward and backward of one attention, 4 heads of 64, some 4,096 tokens a pass, causal, without a mask and
with a window of a quarter of the length. The three kernels take turns; of each the best round counts, since
whatever else the machine does only adds. Rows of other devices stay as they are. ``--quick`` only shows that
it runs: short lengths, written to a temporary file.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import torch
from rich.console import Console
from rich.table import Table

from bench.common import ROOT, cores, machine
from danlu.files.yaml import dump, read_mapping
from danlu.nn.kernels import attend
from danlu.train.machine import PRECISIONS, keep_memory

TABLE = ROOT / "danlu" / "catalog" / "kernels.yaml"
HEADS, SIZE, TOKENS = 4, 64, 4096
LENGTHS = (64, 128, 256, 512, 1024, 2048, 4096)
QUICK = (64, 128)
KERNELS = {"sdpa": "sdpa", "plain": "plain", "eager": "eager"}  # by their column


def passes(device: str, dtype: torch.dtype, masked: bool, length: int) -> dict[str, Callable[[], None]]:
    """For each column a forward and backward pass of attention."""
    shape = max(1, TOKENS // length), HEADS, length, SIZE
    inputs = [torch.randn(shape, dtype=dtype, device=device, requires_grad=True) for _ in range(3)]
    dy = torch.randn(shape, dtype=dtype, device=device)
    window = max(1, length // 4) if masked else None

    def run(kernel: str) -> None:
        y = attend(*inputs, scale=SIZE**-0.5, window=window, kernel=kernel)
        torch.autograd.grad(y, inputs, dy)

    return {column: partial(run, kernel) for column, kernel in KERNELS.items()}


def milliseconds(work: Callable[[], None], device: str, seconds: float) -> float:
    """Of one pass, over as many as fill the given time, three at least."""
    count, start = 0, time.perf_counter()
    while count < 3 or time.perf_counter() - start < seconds:
        work()
        if device == "cuda":
            torch.cuda.synchronize()
        count += 1
    return 1e3 * (time.perf_counter() - start) / count


def measure(device: str, lengths: tuple[int, ...], rounds: int, seconds: float) -> list[dict[str, Any]]:
    """The rows of one device."""
    rows = []
    for precision in ("float32", "bfloat16"):
        for masked in (False, True):
            for length in lengths:
                work = passes(device, PRECISIONS[precision], masked, length)
                for one in work.values():  # warm
                    one()
                times: dict[str, list[float]] = {column: [] for column in work}
                for _ in range(rounds):
                    for column, one in work.items():
                        times[column].append(milliseconds(one, device, seconds))
                best = {column: float(f"{min(values):.3g}") for column, values in times.items()}
                rows.append({"device": device, "dtype": precision, "masked": masked, "length": length} | best)
    return rows


def write(path: Path, device: str, about: str, rows: list[dict[str, Any]]) -> None:
    """Write the table with ``rows`` in place of those of ``device``; ``about``: the machine and the date."""
    old = read_mapping(TABLE, "the table of kernels")
    machines = {**old.get("machines", {}), device: about}
    every = rows + [row for row in old["measured"] if row["device"] != device]
    every.sort(key=lambda row: (row["device"], row["dtype"], row["masked"], row["length"]))
    lines = [
        "# What `python -m bench.kernels` measured: milliseconds of forward and backward of one attention,",
        f"# {HEADS} heads of {SIZE}, {TOKENS} tokens, causal; masked: a window of a quarter of the length.",
        dump({"machines": machines}).rstrip("\n"),
        "measured:",
        *(f"  - {{{', '.join(f'{key}: {_yaml(value)}' for key, value in row.items())}}}" for row in every),
    ]
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")


def _yaml(value: Any) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)


def show(rows: list[dict[str, Any]], about: str) -> None:
    table = Table(title="Forward and backward of attention, milliseconds", title_justify="left")
    for column in ("precision", "mask", "length", *KERNELS.values()):
        table.add_column(column, justify="right")
    for row in rows:
        mask = "window" if row["masked"] else ""
        times = (f"{row[column]:.3g}" for column in KERNELS)
        table.add_row(row["dtype"], mask, str(row["length"]), *times)
    console = Console()
    console.print(table)
    console.print(about, style="dim")


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--device", choices=("cpu", "cuda"), default="cpu")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=0.3, help="of each turn, at least three passes")
    parser.add_argument("--threads", type=int, default=cores())
    parser.add_argument("--quick", action="store_true", help="short lengths, to see that it runs")
    arguments = parser.parse_args()

    keep_memory()  # as a run does
    torch.set_num_threads(arguments.threads)
    torch.manual_seed(0)
    found = machine(arguments.threads)
    processor = torch.cuda.get_device_name() if arguments.device == "cuda" else found["cpu"]
    about = (
        f"{processor}, {found['threads']} threads, load {found['load']} at the start; "
        f"torch {found['packages']['torch']}; {found['date']}"
    )
    lengths = QUICK if arguments.quick else LENGTHS
    rounds, seconds = (1, 0.01) if arguments.quick else (arguments.rounds, arguments.seconds)
    rows = measure(arguments.device, lengths, rounds, seconds)
    show(rows, about)
    path = Path(tempfile.mkdtemp()) / "kernels.yaml" if arguments.quick else TABLE
    write(path, arguments.device, about, rows)
    print(f"written: {path}")


if __name__ == "__main__":
    main()
