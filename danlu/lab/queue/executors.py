"""Where jobs are carried out: what the queue asks of an executor, and their names."""

from __future__ import annotations

import importlib
import os
from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import NamedTuple, Protocol

from danlu.files import system
from danlu.lab.errors import LabError
from danlu.lab.queue.job import Job
from danlu.spec import Experiment
from danlu.spec.errors import either

EXECUTORS = {  # name: the module, its class, the package that it stands on
    "local": ("danlu.lab.queue.local", "Local", None),
    "ray": ("danlu.lab.queue.on_ray", "OnRay", "ray"),
    "slurm": ("danlu.lab.queue.on_slurm", "OnSlurm", "submitit"),
}


class Start(NamedTuple):
    """A job to be begun, in its folder. ``number``: of the try, from 1."""

    job: Job
    folder: Path
    number: int


class Event(NamedTuple):
    """Jobs that were begun together are no longer worked on. ``job``: the hash of the first. ``ends``: how
    each ended, as ``danlu.lab.queue.together`` says it; none where the process died. ``reason``: why."""

    job: str
    ends: Sequence[str] = ()
    reason: str = ""


def why(error: BaseException) -> str:
    """The last line of what an error says, or its kind where it says nothing."""
    return (str(error).strip().splitlines() or [type(error).__name__])[-1]


class Executor(Protocol):
    """Carries out jobs elsewhere, by ``danlu.lab.queue.carry_out`` and ``together``, one thread each."""

    def room(self, job: Job, wanted: int, jobs: int) -> int:
        """How many of ``wanted`` jobs of the graph of ``job`` could be begun together now: 0 to ``wanted``.
        ``jobs``: all that wait or are under way. Raises ``LabError`` where there will never be room."""

    def devices(self, experiment: Experiment) -> str:
        """The kind of device that ``experiment`` is carried out on: numbers of another kind are others."""

    def start(self, some: Sequence[Start], code: str) -> None:
        """Begin jobs of one graph together, by the code of this digest. Raises ``LabError`` where nothing can
        be started at all."""

    def events(self, seconds: float) -> list[Event]:
        """What has happened since the last call; waits for the first at most so many seconds."""

    def halt(self, job: str) -> bool:
        """Ask the jobs that were begun together as ``job``, the hash of the first, to save and stop; their
        event tells when they have. Whether that can be asked."""

    def stop(self) -> None:
        """Ask what is running to save and stop, and come back when it has; a second call does nothing."""


def make(name: str, workers: int | None, studies: Path) -> Executor:
    """The executor called ``name``. Raises ``LabError`` for another name, or a package that is missing."""
    if name not in EXECUTORS:
        raise LabError(f"executor = {name!r} is unknown; allowed: {either(EXECUTORS)}")
    if system.WINDOWS and name != "ray":
        raise LabError(system.NO_QUEUE)
    if workers is not None and workers < 1:
        raise LabError(f"workers = {workers}; at least 1 must do the work")
    module, kind, package = EXECUTORS[name]
    if package is not None and find_spec(package) is None:
        raise LabError(f"executor = {name} needs the package {package}: pip install 'danlu[{name}]'")
    executor: Executor = getattr(importlib.import_module(module), kind)(workers, studies)
    return executor


def check_room(job: Job, there: int, what: str = "worker") -> None:
    """Raises ``LabError`` where ``job`` has more processes than there will ever be workers, or GPUs."""
    if job.processes > there:
        raise LabError(
            f"{job.name} takes {job.processes} processes, and the queue has {there} {what}"
            f"{'' if there == 1 else 's'}; give it more, or the job fewer processes"
        )


def cores() -> int:
    """The cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
