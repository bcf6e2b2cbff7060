"""GPUs shared by memory: a job starts where the bytes that it is estimated to need are left."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Sequence
from typing import NamedTuple

from danlu import spec
from danlu.lab.queue.job import Job

CONTEXT = 600 << 20  # bytes that a process needs on a GPU before it does anything
STATE = 12  # bytes a parameter: two moments and an average in float32
SLACK = 1.25  # fragments of the allocator, workspaces of kernels


class Needs(NamedTuple):
    """What training takes on a GPU, estimated from above: bytes of ``each`` run beside those of a process,
    FLOPs of an update."""

    each: int
    flops: float

    def of(self, count: int) -> int:
        """Bytes of so many runs in one process."""
        return CONTEXT + count * self.each


def needed(experiment: spec.Experiment) -> Needs:
    """Of ``experiment``; imports PyTorch."""
    from danlu.train.costs import costs

    found = costs(experiment)
    memory = found["memory"]
    parts = sum(memory[part] for part in ("weights", "gradients", "activations", "copies"))
    bytes_ = int(SLACK * (parts + STATE * found["parameters"]["total"]))
    return Needs(bytes_, found["flops"]["training"] * experiment.train.batch * experiment.data.size)


class Estimates:
    """``needed``, asked once for all jobs of one graph."""

    def __init__(self) -> None:
        self._known: dict[str, Needs] = {}

    def of(self, job: Job) -> Needs:
        """What the run of ``job`` needs."""
        key = spec.graph_key(job.experiment) or job.hash
        if key not in self._known:
            self._known[key] = needed(job.experiment)
        return self._known[key]


class Gpus:
    """``free``: bytes of each GPU that nobody used when the queue began."""

    def __init__(self, free: Sequence[int]) -> None:
        self._free = list(free)
        self._held: dict[str, tuple[Sequence[int], int]] = {}  # job: GPUs, bytes of each

    def __len__(self) -> int:
        return len(self._free)

    def left(self) -> list[int]:
        """The bytes left on each GPU."""
        left = list(self._free)
        for gpus, size in self._held.values():
            for gpu in gpus:
                left[gpu] -= size
        return left

    def place(self, size: int, count: int = 1) -> list[int] | None:
        """The ``count`` GPUs with the most bytes left, if ``size`` fits on each. Those without a job take
        any: there will never be more room, and the size is an estimate."""
        left = self.left()
        order = sorted(range(len(left)), key=lambda gpu: (-left[gpu], gpu))
        fit = [gpu for gpu in order if size <= left[gpu]]
        if len(fit) >= count:
            return fit[:count]
        busy = {gpu for gpus, _ in self._held.values() for gpu in gpus}
        empty = [gpu for gpu in order if gpu not in busy or size <= left[gpu]]
        return empty[:count] if len(empty) >= count else None

    def take(self, job: str, gpus: Sequence[int], size: int) -> None:
        """``job`` runs on ``gpus`` from now on, with ``size`` bytes on each."""
        self._held[job] = gpus, size

    def give_back(self, job: str) -> None:
        """``job`` runs no more."""
        self._held.pop(job, None)


def detect() -> Gpus:
    """The GPUs that PyTorch will see here, in its order; none without ``nvidia-smi``."""
    return Gpus(visible(_ask("memory.free"), os.environ.get("CUDA_VISIBLE_DEVICES")))


def total() -> int:
    """The bytes of the smallest GPU that PyTorch will see here; 0 where that is not known."""
    return min(visible(_ask("memory.total"), os.environ.get("CUDA_VISIBLE_DEVICES")), default=0)


def kinds() -> str:
    """The names of the GPUs that PyTorch will see here, each once; ``cpu`` where there is none."""
    names = _chosen(_rows(_ask("name")), os.environ.get("CUDA_VISIBLE_DEVICES"))
    return ", ".join(sorted(set(names))) or "cpu"


def uuids() -> list[str]:
    """The UUIDs of the GPUs that PyTorch will see here; none without ``nvidia-smi``."""
    return _chosen(_rows(_ask("uuid")), os.environ.get("CUDA_VISIBLE_DEVICES"))


def busy() -> float:
    """The share of the last second for which the first GPU that PyTorch sees computed; 0 where that is not
    known."""
    shares = _chosen(_rows(_ask("utilization.gpu")), os.environ.get("CUDA_VISIBLE_DEVICES"))
    return int(shares[0]) / 100 if shares and shares[0].isdigit() else 0.0


def _ask(what: str) -> str:
    """Index, UUID and ``what`` of each GPU, as nvidia-smi says it; nothing where there is no such program."""
    command = ["nvidia-smi", f"--query-gpu=index,uuid,{what}", "--format=csv,noheader,nounits"]
    try:
        return subprocess.run(command, capture_output=True, text=True, timeout=20, check=True).stdout
    except (OSError, subprocess.SubprocessError):
        return ""


def visible(said: str, chosen: str | None) -> list[int]:
    """Bytes free of the GPUs that ``CUDA_VISIBLE_DEVICES`` names (indices or the beginnings of UUIDs), in its
    order, from what nvidia-smi said (index, uuid, MiB). As in CUDA a name of no GPU ends the list."""
    return [int(size) << 20 for size in _chosen([row for row in _rows(said) if row[2].isdigit()], chosen)]


def _rows(said: str) -> list[list[str]]:
    lines = (line for line in said.splitlines() if line.count(",") >= 2)
    return [[part.strip() for part in line.split(",", 2)] for line in lines]


def _chosen(rows: list[list[str]], chosen: str | None) -> list[str]:
    """What is said of the GPUs that are chosen, in the order of the choice."""
    if chosen is None:
        return [value for *_, value in rows]
    found = []
    for name in filter(None, (part.strip() for part in chosen.split(","))):
        match = [value for index, uuid, value in rows if name == index or uuid.startswith(name)]
        if not match:
            break
        found.append(match[0])
    return found
