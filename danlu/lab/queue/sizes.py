"""How many runs of one graph are trained together in one process: an estimate, in one place.

On a GPU an update of a small network takes the time in which its kernels are started, whatever they compute.
So networks of one graph are trained in the same kernels for nothing, until their own work takes as long as
the starting. Beyond, only patience is lost.
"""

from __future__ import annotations

import math
import os

from danlu.lab.errors import LabError
from danlu.lab.queue.gpus import Estimates
from danlu.lab.queue.job import Job

TOGETHER = "DANLU_TOGETHER"
# Estimates by arithmetic, for one of today's large GPUs: some 300 kernels an update, 8 µs each to start; the
# bytes of an update of the smallest networks; batched products in bfloat16.
STARTING = 2.4e-3  # seconds
LEAST = 9e-6  # seconds of a member, however small
RATE = 2.8e14  # FLOP/s
MOST = 256


def that_pay(flops: float) -> int:
    """How many runs pay as one on a GPU, a power of two; ``flops``: of an update of each."""
    count = min(MOST, STARTING / (LEAST + flops / RATE))
    return 2 ** int(math.log2(count)) if count >= 2 else 1


def room(job: Job, wanted: int, estimates: Estimates, *, on_gpu: bool) -> int:
    """How many of ``wanted`` jobs of the graph of ``job`` are worth one process: on a CPU one."""
    most = asked()
    if wanted == 1 or (most is None and not on_gpu):
        return 1
    return min(wanted, most or that_pay(estimates.of(job).flops))


def asked() -> int | None:
    """The most runs that one process is to train together, as ``$DANLU_TOGETHER`` says; None: as many as pay
    on a GPU, one on a CPU. Raises ``LabError`` for what is no number."""
    said = os.environ.get(TOGETHER)
    if said is None:
        return None
    if not said.isascii() or not said.isdigit() or not int(said):
        raise LabError(f"{TOGETHER} = {said!r} is not the most runs to train together; allowed: 1, 2, …")
    return int(said)
