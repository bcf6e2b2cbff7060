"""What the sections share: where they run, how large, how time is taken; and the process of one section.

    python -m bench.gpu.place SECTION MODULE.FUNCTION --rows FILE …

is what ``bench.gpu`` starts. A section is a function of a ``Place`` that yields rows, each a mapping of JSON
with ``what`` it is about; ``wrong``, a sentence, makes the section fail; ``aside`` keeps a row out of the
table. Rows are written as they come, so that those of a section that is ended are not lost.
"""

from __future__ import annotations

import argparse
import importlib
import json
import os
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any, TypeVar
from unittest.mock import patch

import torch

Row = dict[str, Any]
T = TypeVar("T")


@dataclass(frozen=True)
class Place:
    """``device``; ``tiny``: every size small; ``out``: the folder of results; ``nanogpt``: a checkout."""

    device: torch.device
    tiny: bool
    out: Path
    nanogpt: Path | None = None

    @property
    def cuda(self) -> bool:
        return self.device.type == "cuda"

    def size(self, full: T, tiny: T) -> T:
        """One of two sizes."""
        return tiny if self.tiny else full

    def wait(self) -> None:
        """Until the device has done what it was given."""
        if self.cuda:
            torch.cuda.synchronize()

    def milliseconds(self, work: Callable[[], object], repeats: int = 10, warm: int = 3) -> float:
        """Of one call, the median of some after some to warm up; on a GPU by its own clock."""
        repeats, warm = self.size((repeats, warm), (1, 1))
        for _ in range(warm):
            work()
        return median(self._once(work) for _ in range(repeats))

    def _once(self, work: Callable[[], object]) -> float:
        if not self.cuda:
            start = time.perf_counter()
            work()
            return 1e3 * (time.perf_counter() - start)
        before, after = (torch.cuda.Event(enable_timing=True) for _ in range(2))
        before.record()
        work()
        after.record()
        after.synchronize()
        return before.elapsed_time(after)

    def peak(self, work: Callable[[], object]) -> float | None:
        """Megabytes that ``work`` takes at most beyond what is held already; None on a CPU."""
        if not self.cuda:
            work()
            return None
        self.wait()
        torch.cuda.reset_peak_memory_stats()
        held = torch.cuda.memory_allocated()
        work()
        self.wait()
        return (torch.cuda.max_memory_allocated() - held) / 1e6

    def published(self) -> float | None:
        """FLOP/s in bfloat16 of this GPU as its maker says, by which most people count utilisation."""
        from danlu.train.machine import published

        return published(self.device, "bfloat16")


@contextmanager
def workshop() -> Iterator[Path]:
    """A folder for runs, with a cache of data of its own, that is gone afterwards."""
    with (
        tempfile.TemporaryDirectory() as folder,
        patch.dict(os.environ, DANLU_CACHE=str(Path(folder) / "cache")),
    ):
        yield Path(folder)


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("section")
    parser.add_argument("function")
    parser.add_argument("--device", default="cuda")
    parser.add_argument("--tiny", action="store_true")
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--rows", type=Path, required=True)
    parser.add_argument("--warm", type=Path)
    parser.add_argument("--nanogpt", type=Path)
    arguments = parser.parse_args()
    mega = f"mega-{arguments.section}.bin"
    if arguments.warm and (arguments.warm / mega).is_file():
        torch.compiler.load_cache_artifacts((arguments.warm / mega).read_bytes())
    torch.manual_seed(0)
    module, _, name = arguments.function.rpartition(".")
    section = getattr(importlib.import_module(module), name)
    with arguments.rows.open("a", encoding="utf-8", buffering=1) as file:
        at = Place(torch.device(arguments.device), arguments.tiny, arguments.out, arguments.nanogpt)
        for row in section(at):
            file.write(json.dumps(row) + "\n")
    if "torch._inductor" in sys.modules and (saved := torch.compiler.save_cache_artifacts()) is not None:
        (arguments.out / mega).write_bytes(saved[0])


if __name__ == "__main__":
    main()
