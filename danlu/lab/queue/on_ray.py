"""Runs on a Ray cluster: each job a task of one core, or several such. The nodes share the file system that
holds the studies.

``RAY_ADDRESS`` names the cluster (https://docs.ray.io); without it one is started on this machine.
"""

from __future__ import annotations

import logging
import math
import os
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import ray
from ray.util.placement_group import PlacementGroup, placement_group, remove_placement_group
from ray.util.scheduling_strategies import PlacementGroupSchedulingStrategy

from danlu.lab.queue import gpus, sizes
from danlu.lab.queue.carry_out import to_task
from danlu.lab.queue.executors import Event, Start, check_room, cores, why
from danlu.lab.queue.group import environment, free_port, told
from danlu.lab.queue.job import Job
from danlu.lab.queue.together import Ended, carry_out_anywhere
from danlu.lab.queue.worker import GRACE
from danlu.spec import Experiment

PATIENCE = 30.0  # seconds for a GPU to be asked for its memory
STORE = 100 << 20  # bytes for Ray's objects, of which there are none to speak of


@dataclass
class _Running:
    """A job under way: Ray's references, of one process each; what those that ended said."""

    job: str
    references: list[Any]
    group: PlacementGroup | None = None
    said: dict[Any, Ended] = field(default_factory=dict)


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
        self._task = ray.remote(max_retries=0, num_cpus=1)(_carry_out)
        self._needs = gpus.Estimates()
        self._memory = _memory() if self._gpus else 0  # bytes of a GPU
        self._running: dict[Any, _Running] = {}  # by reference

    def room(self, job: Job, wanted: int, jobs: int) -> int:
        check_room(job, self._limit)
        if len(self._running) + job.processes > self._limit:
            return 0
        if job.processes > 1:
            return 1
        on_gpu = self._takes_gpu(job)
        return sizes.room(job, wanted, self._needs, on_gpu=on_gpu, share=jobs / self._limit)

    def _takes_gpu(self, job: Job) -> bool:
        # A job that takes what there is gets a GPU where the cluster has one.
        device = job.experiment.train.device
        return device == "cuda" or (device == "auto" and self._gpus)

    def _share(self, some: Sequence[Start]) -> float:
        """Of a GPU, by the memory that the jobs are estimated to need; all of one after a process died, since
        it may have needed more."""
        first = some[0]
        if not self._takes_gpu(first.job):
            return 0
        if not self._memory or first.number > 1 or first.job.processes > 1:
            return 1
        needed = self._needs.of(first.job).of(len(some))
        return min(1.0, math.ceil(100 * needed / self._memory) / 100)

    def devices(self, experiment: Experiment) -> str:
        return experiment.train.device

    def start(self, some: Sequence[Start], code: str) -> None:
        first, share = some[0].job, self._share(some)
        tasks = [to_task(*one, code) for one in some]
        # Ray's processes take tasks of one environment: none is given a task of code that it has not loaded.
        options: dict[str, Any] = {"num_gpus": share, "runtime_env": {"env_vars": {"DANLU_CODE": code}}}
        if first.processes == 1:
            running = _Running(first.hash, [self._task.options(**options).remote(tasks)])
        else:
            running = self._together(first, tasks, options)
        self._running |= dict.fromkeys(running.references, running)

    def _together(self, job: Job, tasks: list[dict[str, Any]], options: dict[str, Any]) -> _Running:
        """A job of several processes, in a place of its own for each, on one machine or few."""
        place = {"CPU": 1.0} | ({"GPU": 1.0} if options["num_gpus"] else {})
        group = placement_group([place] * job.processes, strategy="PACK")

        def at(rank: int) -> dict[str, Any]:
            where = PlacementGroupSchedulingStrategy(group, placement_group_bundle_index=rank)
            return options | {"scheduling_strategy": where}

        address = ray.remote(max_retries=0, num_cpus=0)(_address).options(**at(0) | {"num_gpus": 0}).remote()
        references = [
            self._task.options(**at(rank)).remote(tasks, rank, job.processes, address)
            for rank in range(job.processes)
        ]
        return _Running(job.hash, references, group)

    def events(self, seconds: float) -> list[Event]:
        if not self._running:
            time.sleep(seconds)
            return []
        ready, _ = ray.wait(list(self._running), num_returns=1, timeout=seconds)
        return [event for reference in ready if (event := self._hear(reference))]

    def _hear(self, reference: Any) -> Event | None:
        """A process ended; whether its job did."""
        running = self._running.pop(reference)
        try:
            running.said[reference] = ray.get(reference)
        except Exception as error:  # the task's own, or Ray's about its worker
            event = Event(running.job, reason=why(error))
            for other in running.references:
                if self._running.pop(other, None) is not None:
                    ray.cancel(other, force=True)
        else:
            if len(running.said) < len(running.references):
                return None
            event = Event(running.job, *running.said[running.references[0]])
        if running.group is not None:
            remove_placement_group(running.group)
        return event

    def halt(self, job: str) -> bool:
        return False  # what runs elsewhere runs on to its end

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


def _carry_out(
    tasks: list[dict[str, Any]], rank: int = 0, count: int = 1, address: tuple[str, int] = ("", 0)
) -> Ended:
    """In a task of Ray, which has one GPU at most: process ``rank`` of ``count``."""
    with told(environment(rank, count, *address, on_node=0) if count > 1 else {}):
        return carry_out_anywhere(tasks)


def _address() -> tuple[str, int]:
    """Where the processes of a group meet: on the machine of the first."""
    return ray.util.get_node_ip_address(), free_port()


def _memory() -> int:
    """The bytes of a GPU of the cluster: the smallest of one machine. 0 where nobody can say it soon."""
    asked = ray.remote(num_cpus=0, num_gpus=0.01)(gpus.total).remote()
    try:
        return int(ray.get(asked, timeout=PATIENCE))
    except Exception:
        ray.cancel(asked, force=True)
        return 0
