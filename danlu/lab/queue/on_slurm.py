"""Runs on a Slurm cluster, through submitit: each job a job of one core a process; logs are in
``studies/.slurm``.

Partition, account, time and memory are Slurm's own variables (``SBATCH_PARTITION``, ``SBATCH_TIMELIMIT``, …),
which come before what is set here. A job that Slurm preempts, or that runs out of time, is put back into the
queue by submitit, once it is saved, and goes on from there.
"""

from __future__ import annotations

import os
import shutil
import signal
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import submitit
from submitit.helpers import DelayedSubmission

from danlu.lab.errors import LabError
from danlu.lab.queue import gpus, sizes
from danlu.lab.queue.carry_out import to_task
from danlu.lab.queue.executors import Event, Start, why
from danlu.lab.queue.group import environment, told
from danlu.lab.queue.job import Job
from danlu.lab.queue.together import Ended, carry_out_anywhere
from danlu.lab.queue.worker import GRACE
from danlu.spec import Experiment
from danlu.train.interrupt import Interrupt

AT_ONCE = 100  # jobs given to Slurm, which has a queue of its own
MINUTES = 60  # of a job before it is put back, if SBATCH_TIMELIMIT does not say
LOOK_EVERY = 0.25  # seconds
PREEMPT = signal.SIGUSR2  # what submitit asks Slurm for some time before the end
PORTS = 20_000, 20_000  # the first, and how many, of those that groups of processes meet at


class OnSlurm:
    """``cluster``: submitit's name for where the jobs run."""

    def __init__(self, workers: int | None, studies: Path, cluster: str = "slurm") -> None:
        if cluster == "slurm" and shutil.which("sbatch") is None:
            raise LabError("executor = slurm, but there is no sbatch here: call danlu where Slurm takes jobs")
        self._limit = workers or AT_ONCE
        self._submit = submitit.AutoExecutor(folder=studies / ".slurm", cluster=cluster)
        self._submit.update_parameters(name="danlu", cpus_per_task=1, timeout_min=MINUTES)
        self._submit.update_parameters(slurm_srun_args=["--kill-on-bad-exit=1"])  # all, where one dies
        self._needs = gpus.Estimates()
        self._running: dict[str, submitit.Job[Ended]] = {}

    def room(self, job: Job, wanted: int, jobs: int) -> int:
        if len(self._running) >= self._limit:
            return 0
        on_gpu = job.experiment.train.device == "cuda"
        return sizes.room(job, wanted, self._needs, on_gpu=on_gpu, share=jobs / self._limit)

    def devices(self, experiment: Experiment) -> str:
        return experiment.train.device

    def start(self, some: Sequence[Start], code: str) -> None:
        first = some[0].job
        each = first.processes // first.nodes
        self._submit.update_parameters(
            nodes=first.nodes,
            tasks_per_node=each,
            gpus_per_node=each if first.experiment.train.device == "cuda" else 0,
        )
        tasks = [to_task(*one, code) for one in some]
        self._running[first.hash] = self._submit.submit(_CarryOut(), tasks)

    def events(self, seconds: float) -> list[Event]:
        until = time.monotonic() + seconds
        while not (done := [name for name, job in self._running.items() if job.done()]):
            if time.monotonic() >= until:
                return []
            time.sleep(min(LOOK_EVERY, seconds))
        return [self._end(name) for name in done]

    def _end(self, name: str) -> Event:
        job = self._running.pop(name)
        error = job.exception()
        if error is None:
            return Event(name, *job.results()[0])  # of several processes the first says how it ended
        return Event(name, reason=why(error))

    def halt(self, job: str) -> bool:
        return False  # what runs elsewhere runs on to its end

    def stop(self) -> None:
        running = list(self._running.values())
        self._running.clear()
        for job in running:
            job.cancel(check=False)  # SIGTERM: the run is saved
        until = time.monotonic() + GRACE
        while any(not job.done() for job in running) and time.monotonic() < until:
            time.sleep(LOOK_EVERY)


class _CarryOut:
    """What submitit calls on a node, in each of a job's processes; put back into Slurm's queue it is called
    again."""

    def __call__(self, tasks: list[dict[str, Any]]) -> Ended:
        interrupt, seen, theirs = Interrupt(), [], signal.getsignal(PREEMPT)

        def save(*_: object) -> None:
            seen.append(True)
            interrupt.request(signal.SIGTERM)

        signal.signal(PREEMPT, save)
        job = submitit.JobEnvironment()
        try:
            with told(_environment(job) if job.num_tasks > 1 else {}):
                ended = carry_out_anywhere(tasks, interrupt)
        finally:
            signal.signal(PREEMPT, theirs)
        if seen and "stopped" in ended.ends:
            os.kill(os.getpid(), PREEMPT)  # saved: submitit puts the job back into Slurm's queue
        return ended

    def checkpoint(self, tasks: list[dict[str, Any]]) -> DelayedSubmission:
        return DelayedSubmission(self, tasks)


def _environment(job: submitit.JobEnvironment) -> dict[str, str]:
    """What torchrun would tell this process of a Slurm job of several."""
    port = PORTS[0] + int(job.raw_job_id) % PORTS[1]  # the same in all, and another for another job
    return environment(job.global_rank, job.num_tasks, job.hostnames[0], port, job.local_rank)
