"""Runs on a Ray cluster: each job a task of one core. The nodes share the file system that holds the studies.

``RAY_ADDRESS`` names the cluster (https://docs.ray.io); without it one is started on this machine.
"""

from __future__ import annotations

import logging
import os
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import ray

from danlu.lab.queue import gpus, sizes
from danlu.lab.queue.carry_out import to_task
from danlu.lab.queue.executors import Event, Start, cores
from danlu.lab.queue.job import Job
from danlu.lab.queue.together import carry_out_anywhere
from danlu.lab.queue.worker import GRACE
from danlu.spec import Experiment

STORE = 100 << 20  # bytes for Ray's objects, of which there are none to speak of


class OnRay:
    """A job that dies is lost and tried again by the queue, not by Ray."""

    def __init__(self, workers: int | None, studies: Path) -> None:
        self._own = not ray.is_initialized()
        if self._own and os.environ.get("RAY_ADDRESS"):
            ray.init(logging_level=logging.ERROR, log_to_driver=False)
        elif self._own:
            ray.init(
                address="local",
                num_cpus=workers or cores(),
                object_store_memory=STORE,
                include_dashboard=False,
                logging_level=logging.ERROR,
                log_to_driver=False,
            )
        self._gpus = ray.cluster_resources().get("GPU", 0) >= 1
        self._limit = workers or int(ray.cluster_resources().get("CPU", 1))
        self._task = ray.remote(max_retries=0, num_cpus=1)(carry_out_anywhere)
        self._needs = gpus.Estimates()
        self._running: dict[Any, str] = {}  # Ray's reference: job

    def room(self, job: Job, wanted: int) -> int:
        if len(self._running) >= self._limit:
            return 0
        return sizes.room(job, wanted, self._needs, on_gpu=self._takes_gpu(job))

    def _takes_gpu(self, job: Job) -> bool:
        # A job that takes what there is gets a GPU where the cluster has one.
        device = job.experiment.train.device
        return device == "cuda" or (device == "auto" and self._gpus)

    def devices(self, experiment: Experiment) -> str:
        return experiment.train.device

    def start(self, some: Sequence[Start], code: str) -> None:
        first = some[0].job
        # Ray's processes take tasks of one environment: none is given a task of code that it has not loaded.
        environment = {"env_vars": {"DANLU_CODE": code}}
        task = self._task.options(num_gpus=int(self._takes_gpu(first)), runtime_env=environment)
        self._running[task.remote([to_task(*one, code) for one in some])] = first.hash

    def events(self, seconds: float) -> list[Event]:
        if not self._running:
            time.sleep(seconds)
            return []
        ready, _ = ray.wait(list(self._running), num_returns=1, timeout=seconds)
        return [self._end(reference) for reference in ready]

    def _end(self, reference: Any) -> Event:
        job = self._running.pop(reference)
        try:
            return Event(job, *ray.get(reference))
        except Exception as error:  # the task's own, or Ray's about its worker
            return Event(job, reason=str(error).strip().splitlines()[-1])

    def stop(self) -> None:
        running = list(self._running)
        self._running.clear()
        for reference in running:
            ray.cancel(reference)  # as Ctrl-C: the run is saved
        if running:
            _, stuck = ray.wait(running, num_returns=len(running), timeout=GRACE)
            for reference in stuck:
                ray.cancel(reference, force=True)
        if self._own and ray.is_initialized():
            ray.shutdown()
