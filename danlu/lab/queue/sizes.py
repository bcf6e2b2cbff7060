"""How many runs of one graph are trained together in one process, in one place.

On a GPU an update of a small network takes the time in which its kernels are started, whatever they compute.
So networks of one graph are trained in the same kernels for nothing, until their own work takes as long as
the starting. Beyond, only patience is lost. On a CPU calls cost less, but the smallest networks are trained
about twice as fast so, and each is what it is alone.
"""

from __future__ import annotations

import math
import os

from danlu.lab.errors import LabError
from danlu.lab.queue.gpus import Estimates
from danlu.lab.queue.job import Job
from danlu.spec.experiment import Experiment
from danlu.train.batched import pays
from danlu.train.population import refusal

TOGETHER = "DANLU_TOGETHER"
# Estimates by arithmetic, for one of today's large GPUs: some 300 kernels an update, 8 µs each to start; the
# bytes of an update of the smallest networks; batched products in bfloat16.
STARTING = 2.4e-3  # seconds
LEAST = 9e-6  # seconds of a member, however small
RATE = 2.8e14  # FLOP/s
MOST = 256
ON_A_CPU = 8
FASTER = 1.6  # what is told before a study


def that_pay(flops: float) -> int:
    """How many runs pay as one on a GPU, a power of two; ``flops``: of an update of each."""
    count = min(MOST, STARTING / (LEAST + flops / RATE))
    return 2 ** int(math.log2(count)) if count >= 2 else 1


def that_pay_on_a_cpu(experiment: Experiment) -> int:
    """How many runs pay as one on a core."""
    return ON_A_CPU if pays(experiment, experiment.train.microbatch or experiment.train.batch) else 1


def faster(experiment: Experiment) -> float:
    """About how many times as fast many runs of this graph are, on a CPU, as one by one."""
    together = min(asked() or ON_A_CPU, that_pay_on_a_cpu(experiment))
    return FASTER if together > 1 and refusal([experiment]) is None else 1.0


def room(job: Job, wanted: int, estimates: Estimates, *, on_gpu: bool, share: float = math.inf) -> int:
    """How many of ``wanted`` jobs of the graph of ``job`` are worth one process. ``share``: of all jobs, on a
    CPU, that which each worker would have: none shall be without work while another has a group."""
    most = asked()
    if wanted == 1:
        return 1
    if on_gpu:
        return min(wanted, most or that_pay(estimates.of(job).flops))
    return max(1, min(wanted, most or that_pay_on_a_cpu(job.experiment), math.ceil(share)))


def asked() -> int | None:
    """The most runs that one process is to train together, as ``$DANLU_TOGETHER`` says; None: as many as
    pay. Raises ``LabError`` for what is no number."""
    said = os.environ.get(TOGETHER)
    if said is None:
        return None
    if not said.isascii() or not said.isdigit() or not int(said):
        raise LabError(f"{TOGETHER} = {said!r} is not the most runs to train together; allowed: 1, 2, …")
    return int(said)
