"""GPUs shared by memory: a job starts where the bytes that it is estimated to need are left."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Sequence

from danlu import spec

CONTEXT = 600 << 20  # bytes that a process needs on a GPU before it does anything
STATE = 12  # bytes a parameter: two moments and an average in float32
SLACK = 1.25  # fragments of the allocator, workspaces of kernels


def needed(experiment: spec.Experiment) -> int:
    """Bytes that training ``experiment`` takes on a GPU, estimated from above; imports PyTorch."""
    from danlu.train.costs import costs

    found = costs(experiment)
    memory = found["memory"]
    parts = sum(memory[part] for part in ("weights", "gradients", "activations", "copies"))
    return int(SLACK * (parts + STATE * found["parameters"]["total"])) + CONTEXT


class Gpus:
    """``free``: bytes of each GPU that nobody used when the queue began."""

    def __init__(self, free: Sequence[int]) -> None:
        self._free = list(free)
        self._held: dict[str, tuple[int, int]] = {}  # job: GPU, bytes

    def __len__(self) -> int:
        return len(self._free)

    def place(self, size: int) -> int | None:
        """The GPU with the most bytes left, if ``size`` fits there. One without a job takes any: there
        will never be more room, and the size is an estimate."""
        if not self._free:
            return None
        left, busy = list(self._free), set()
        for gpu, held in self._held.values():
            left[gpu] -= held
            busy.add(gpu)
        best = max(range(len(left)), key=left.__getitem__)
        if size <= left[best]:
            return best
        empty = [gpu for gpu in range(len(left)) if gpu not in busy]
        return max(empty, key=left.__getitem__) if empty else None

    def take(self, job: str, gpu: int, size: int) -> None:
        """``job`` runs on ``gpu`` from now on."""
        self._held[job] = gpu, size

    def give_back(self, job: str) -> None:
        """``job`` runs no more."""
        self._held.pop(job, None)


def detect() -> Gpus:
    """The GPUs that PyTorch will see here, in its order; none without ``nvidia-smi``."""
    command = ["nvidia-smi", "--query-gpu=index,uuid,memory.free", "--format=csv,noheader,nounits"]
    try:
        said = subprocess.run(command, capture_output=True, text=True, timeout=20, check=True).stdout
    except (OSError, subprocess.SubprocessError):
        return Gpus([])
    return Gpus(visible(said, os.environ.get("CUDA_VISIBLE_DEVICES")))


def visible(said: str, chosen: str | None) -> list[int]:
    """Bytes free of the GPUs that ``CUDA_VISIBLE_DEVICES`` names (indices or the beginnings of UUIDs), in its
    order, from what nvidia-smi said (index, uuid, MiB). As in CUDA a name of no GPU ends the list."""
    rows = [[part.strip() for part in line.split(",")] for line in said.splitlines() if line.strip()]
    free = {(index, uuid): int(mebibytes) << 20 for index, uuid, mebibytes in rows if mebibytes.isdigit()}
    if chosen is None:
        return list(free.values())
    found = []
    for name in filter(None, (part.strip() for part in chosen.split(","))):
        match = [size for (index, uuid), size in free.items() if name == index or uuid.startswith(name)]
        if not match:
            break
        found.append(match[0])
    return found
