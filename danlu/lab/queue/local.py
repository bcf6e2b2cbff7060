"""Runs side by side on this machine: one worker process a core, one thread each, PyTorch imported once."""

from __future__ import annotations

import json
import math
import os
import selectors
import signal
import subprocess
import sys
import sysconfig
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import danlu
from danlu.lab.errors import LabError
from danlu.lab.queue import gpus, sizes
from danlu.lab.queue.carry_out import to_task
from danlu.lab.queue.executors import Event, Start, cores
from danlu.lab.queue.job import Job
from danlu.lab.queue.worker import GRACE
from danlu.spec import Experiment


class Local:
    """Starts a worker when a job needs one, and another in place of one that died."""

    def __init__(self, workers: int | None, studies: Path) -> None:
        self._limit = workers or cores()
        self._workers: list[_Worker] = []
        self._gpus: gpus.Gpus | None = None
        self._kinds: str | None = None  # of GPUs, once asked for
        self._needs = gpus.Estimates()

    def room(self, job: Job, wanted: int) -> int:
        idle = self._limit - sum(worker.job is not None for worker in self._workers)
        on_gpu = idle > 0 and self._on_gpu(job)
        if idle <= 0 or (on_gpu and self._place(job, 1) is None):
            return 0
        most = sizes.room(job, wanted, self._needs, on_gpu=on_gpu)
        if most > 1 and on_gpu:
            assert self._gpus is not None
            most = min(most, max(1, (self._gpus.left() - gpus.CONTEXT) // self._needs.of(job).each))
            idle = min(idle, len(self._gpus))
        return min(most, math.ceil(wanted / idle))

    def devices(self, experiment: Experiment) -> str:
        if experiment.train.device == "cpu":
            return "cpu"
        if self._kinds is None:
            self._kinds = gpus.kinds()
        return self._kinds

    def start(self, some: Sequence[Start], code: str) -> None:
        first, device = some[0].job, None
        if self._on_gpu(first):
            assert self._gpus is not None
            device = self._place(first, len(some))
            assert device is not None
            self._gpus.take(first.hash, device, self._needs.of(first).of(len(some)))
        for worker in self._workers:
            if worker.job is None and worker.code not in (None, code):  # it was started before an edit
                worker.end()
        self._workers = [worker for worker in self._workers if not worker.gone]
        idle = next((worker for worker in self._workers if worker.job is None), None)
        if idle is None:
            idle = _Worker()
            self._workers.append(idle)
        idle.give(first.hash, [to_task(*one, code, device) for one in some])

    def events(self, seconds: float) -> list[Event]:
        with selectors.DefaultSelector() as selector:
            for worker in self._workers:
                selector.register(worker.answers, selectors.EVENT_READ, worker)
            speaking: list[_Worker] = [key.data for key, _ in selector.select(seconds)]
        found = [event for worker in speaking if (event := worker.listen())]
        self._workers = [worker for worker in self._workers if not worker.gone]
        if self._gpus is not None:
            for event in found:
                self._gpus.give_back(event.job)
        return found

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

    def _place(self, job: Job, count: int) -> int | None:
        assert self._gpus is not None
        return self._gpus.place(self._needs.of(job).of(count))


class _Worker:
    """One process; see ``danlu.lab.queue.worker``."""

    def __init__(self) -> None:
        self.job: str | None = None
        self.code: str | None = None  # what it has loaded: known when it is ready
        self.gone = False
        self._said = b""
        self._errors = tempfile.TemporaryFile()  # noqa: SIM115  closed by end()
        self._process = subprocess.Popen(
            [sys.executable, "-P", "-m", "danlu.lab.queue.worker"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._errors,
            bufsize=0,
            env=environment(),
            start_new_session=True,  # Ctrl-C is for the queue, which tells the workers
        )
        assert self._process.stdin is not None and self._process.stdout is not None
        self._tasks, self.answers = self._process.stdin, self._process.stdout

    def give(self, job: str, tasks: list[dict[str, Any]]) -> None:
        self.job = job
        line = memoryview((json.dumps(tasks) + "\n").encode())
        try:
            while line:
                line = line[self._tasks.write(line) or 0 :]
        except BrokenPipeError:
            pass  # it died while it was idle: its answers end, and the job is lost and tried again

    def listen(self) -> Event | None:
        """Read what can be read; the end of a job if there is one."""
        part = os.read(self.answers.fileno(), 1 << 16)
        if not part:
            return self._lost()
        *lines, self._said = (self._said + part).split(b"\n")
        for said in map(json.loads, lines):
            if "ready" in said:
                self.code = said["code"]
            elif self.job is not None:
                job, self.job = self.job, None
                return Event(job, said["ends"], said["reason"])
        return None

    def _lost(self) -> Event | None:
        status = self._process.wait()
        self._errors.seek(0)
        lines = self._errors.read().decode(errors="replace").strip().splitlines()
        self.end()
        if self.code is None and status > 0:
            raise LabError(
                f"a worker of the queue does not start: {lines[-1] if lines else f'status {status}'}"
            )
        if status < 0:
            reason = f"its process was ended by {signal.Signals(-status).name}"
        else:
            reason = lines[-1] if lines else f"its process ended with status {status}"
        return Event(self.job, reason=reason) if self.job is not None else None

    def dismiss(self) -> None:
        """No more tasks: what is running is saved, then the process ends."""
        self._tasks.close()

    def wait(self, seconds: float) -> None:
        try:
            self._process.wait(max(seconds, 0))
        except subprocess.TimeoutExpired:
            self._process.kill()

    def end(self) -> None:
        """Leave nothing behind."""
        self.gone = True
        if self._process.poll() is None:
            self._process.kill()
            self._process.wait()
        for file in (self._tasks, self.answers, self._errors):
            file.close()


def environment() -> dict[str, str]:
    """One thread, GPUs numbered as nvidia-smi does, and the danlu that is running here."""
    root, paths = str(Path(danlu.__file__).parents[1]), os.environ.get("PYTHONPATH", "").split(os.pathsep)
    if root != sysconfig.get_path("purelib"):
        paths.append(root)
    return os.environ | {
        "OMP_NUM_THREADS": "1",
        "MKL_NUM_THREADS": "1",
        "CUDA_DEVICE_ORDER": "PCI_BUS_ID",
        "PYTHONPATH": os.pathsep.join(filter(None, paths)),
    }
