"""Where jobs are carried out: what the queue asks of an executor, and their names."""

from __future__ import annotations

import importlib
import os
from importlib.util import find_spec
from pathlib import Path
from typing import NamedTuple, Protocol

from danlu.lab.errors import LabError
from danlu.lab.queue.job import Job
from danlu.spec import Experiment
from danlu.spec.errors import either

EXECUTORS = {  # name: the module, its class, the package that it stands on
    "local": ("danlu.lab.queue.local", "Local", None),
    "ray": ("danlu.lab.queue.on_ray", "OnRay", "ray"),
    "slurm": ("danlu.lab.queue.on_slurm", "OnSlurm", "submitit"),
}


class Event(NamedTuple):
    """A job is no longer worked on. ``job``: its hash. ``end``: what ``carry_out`` returned, or ``lost``
    where the process died, of ``reason``."""

    job: str
    end: str
    reason: str = ""


class Executor(Protocol):
    """Carries out jobs elsewhere, each by ``danlu.lab.queue.carry_out.carry_out``, one thread each."""

    def fits(self, job: Job) -> bool:
        """Whether ``job`` could be started now."""

    def devices(self, experiment: Experiment) -> str:
        """The kind of device that ``experiment`` is carried out on: numbers of another kind are others."""

    def start(self, job: Job, folder: Path, number: int, code: str) -> None:
        """Begin try ``number`` of ``job``, by the code of this digest. Raises ``LabError`` where nothing can
        be started at all."""

    def events(self, seconds: float) -> list[Event]:
        """What has happened since the last call; waits for the first at most so many seconds."""

    def stop(self) -> None:
        """Ask what is running to save and stop, and come back when it has; a second call does nothing."""


def make(name: str, workers: int | None, studies: Path) -> Executor:
    """The executor called ``name``. Raises ``LabError`` for another name, or a package that is missing."""
    if name not in EXECUTORS:
        raise LabError(f"executor = {name!r} is unknown; allowed: {either(EXECUTORS)}")
    if workers is not None and workers < 1:
        raise LabError(f"workers = {workers}; at least 1 must do the work")
    module, kind, package = EXECUTORS[name]
    if package is not None and find_spec(package) is None:
        raise LabError(f"executor = {name} needs the package {package}: pip install 'danlu[{name}]'")
    executor: Executor = getattr(importlib.import_module(module), kind)(workers, studies)
    return executor


def cores() -> int:
    """The cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
