"""Runs side by side on this machine: one worker process a core, one thread each, PyTorch imported once."""

from __future__ import annotations

import math
import selectors
import time
from collections.abc import Sequence
from pathlib import Path

from danlu.lab.queue import gpus, sizes
from danlu.lab.queue.carry_out import to_task
from danlu.lab.queue.executors import Event, Start, check_room, cores
from danlu.lab.queue.job import Job
from danlu.lab.queue.processes import Group, Worker
from danlu.lab.queue.worker import GRACE
from danlu.spec import Experiment


class Local:
    """Starts a worker when a job needs one, and another in place of one that died."""

    def __init__(self, workers: int | None, studies: Path) -> None:
        self._limit = workers or cores()
        self._workers: list[Worker] = []
        self._gpus: gpus.Gpus | None = None
        self._kinds: str | None = None  # of GPUs, once asked for
        self._needs = gpus.Estimates()

    def room(self, job: Job, wanted: int, jobs: int) -> int:
        on_gpu = self._on_gpu(job)
        if on_gpu:
            check_room(job, len(self._gpus or ()), "GPU")
        check_room(job, self._limit)
        idle = self._limit - sum(worker.job is not None for worker in self._workers)
        if idle < job.processes or (on_gpu and self._places(job, 1) is None):
            return 0
        if job.processes > 1:
            return 1
        most = sizes.room(job, wanted, self._needs, on_gpu=on_gpu, share=jobs / self._limit)
        if most > 1 and on_gpu:
            assert self._gpus is not None
            most = min(most, max(1, (max(self._gpus.left()) - gpus.CONTEXT) // self._needs.of(job).each))
            most = min(most, math.ceil(wanted / min(idle, len(self._gpus))))
        return most

    def devices(self, experiment: Experiment) -> str:
        if experiment.train.device == "cpu":
            return "cpu"
        if self._kinds is None:
            self._kinds = gpus.kinds()
        return self._kinds

    def start(self, some: Sequence[Start], code: str) -> None:
        first, places = some[0].job, None
        if self._on_gpu(first):
            assert self._gpus is not None
            places = self._places(first, len(some))
            assert places is not None
            self._gpus.take(first.hash, places, self._needs.of(first).of(len(some)))
        if first.processes > 1:
            names = gpus.uuids() if places else []
            group = Group(first.processes, [names[place] for place in places or ()])
            self._workers += group.workers
            group.give(first.hash, [to_task(*some[0], code)])
            return
        for worker in self._workers:
            if worker.job is None and worker.code not in (None, code):  # it was started before an edit
                worker.end()
        self._workers = [worker for worker in self._workers if not worker.gone]
        device = None if places is None else places[0]
        idle = next((worker for worker in self._idle() if worker.device in (None, device)), None)
        if idle is None:
            idle = Worker()
            self._workers.append(idle)
        idle.device = device
        idle.give(first.hash, [to_task(*one, code, device) for one in some])

    def _idle(self) -> list[Worker]:
        """The workers that can be given something."""
        return [one for one in self._workers if one.job is None and not one.group and not one.leaving]

    def events(self, seconds: float) -> list[Event]:
        for worker in self._idle():
            if worker.device is not None:  # its memory on the GPU counts as free, and it was given nothing
                worker.dismiss()
        with selectors.DefaultSelector() as selector:
            for worker in self._workers:
                selector.register(worker.answers, selectors.EVENT_READ, worker)
            speaking: list[Worker] = [key.data for key, _ in selector.select(seconds)]
        found = []
        for worker in speaking:
            event = None if worker.gone else worker.listen()  # its group has ended meanwhile
            if event is not None and worker.group is not None:
                event = worker.group.hear(worker, event)
            if event is not None:
                found.append(event)
        self._workers = [worker for worker in self._workers if not worker.gone]
        if self._gpus is not None:
            for event in found:
                self._gpus.give_back(event.job)
        return found

    def halt(self, job: str) -> bool:
        found = [worker for worker in self._workers if worker.job == job]
        for worker in found:
            worker.dismiss()
        return bool(found)

    def stop(self) -> None:
        workers, self._workers = self._workers, []
        for worker in workers:
            worker.dismiss()
        until = time.monotonic() + GRACE + 1
        try:
            for worker in workers:
                worker.wait(until - time.monotonic())
        finally:  # a second Ctrl-C, too
            for worker in workers:
                worker.end()

    def _on_gpu(self, job: Job) -> bool:
        if job.experiment.train.device == "cpu":
            return False
        if self._gpus is None:
            self._gpus = gpus.detect()
        return len(self._gpus) > 0

    def _places(self, job: Job, count: int) -> list[int] | None:
        assert self._gpus is not None
        return self._gpus.place(self._needs.of(job).of(count), job.processes)
