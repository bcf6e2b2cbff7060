"""Several processes for a test: a module of tests run as a program, once for each."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.conftest import LIMIT, ROOT


def together(file: str, count: int, folder: Path, *words: str) -> None:
    """Run ``file`` as ``count`` processes, which ``group`` then joins. Fails with what they said where one
    fails; the others are ended then."""
    started = [
        subprocess.Popen(
            [sys.executable, file, *words],
            env={
                **os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1", "WORLD_SIZE": str(count),
                "RANK": str(rank), "STORE": str(folder / "store"),
            },
            stderr=subprocess.PIPE, text=True, cwd=folder,
        )
        for rank in range(count)
    ]  # fmt: skip
    try:
        told = [process.communicate(timeout=LIMIT)[1] for process in started]
    finally:
        for process in started:
            process.kill()
    assert [process.returncode for process in started] == [0] * count, "\n".join(told)


@contextmanager
def group() -> Iterator[int]:
    """In one of the processes: the default group of all, over gloo; the rank in it."""
    import torch.distributed as dist

    rank, count = int(os.environ["RANK"]), int(os.environ["WORLD_SIZE"])
    dist.init_process_group("gloo", init_method=f"file://{os.environ['STORE']}", rank=rank, world_size=count)
    yield rank
    dist.destroy_process_group()
