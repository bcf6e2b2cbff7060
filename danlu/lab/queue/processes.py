"""Worker processes of this machine, as the queue that started them sees them: alone, or in groups."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import sysconfig
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import danlu
from danlu.lab.errors import LabError
from danlu.lab.queue.executors import Event
from danlu.lab.queue.group import environment as of_rank
from danlu.lab.queue.group import free_port


class Worker:
    """One process; see ``danlu.lab.queue.worker``. ``more``: variables of its environment."""

    def __init__(self, more: Mapping[str, str] | None = None) -> None:
        self.job: str | None = None
        self.code: str | None = None  # what it has loaded: known when it is ready
        self.gone = self.leaving = False
        self.device: int | None = None  # the GPU on which it holds memory, by its place
        self.group: Group | None = None  # that it is one of, for a single job
        self._said = b""
        self._errors = tempfile.TemporaryFile()  # noqa: SIM115  closed by end()
        self._process = subprocess.Popen(
            [sys.executable, "-P", "-m", "danlu.lab.queue.worker"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._errors,
            bufsize=0,
            env=environment() | dict(more or {}),
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
            reason = f"its process was ended by {_name_of(-status)}"
        else:
            reason = lines[-1] if lines else f"its process ended with status {status}"
        return Event(self.job, reason=reason) if self.job is not None else None

    def dismiss(self) -> None:
        """No more tasks: what is running is saved, then the process ends."""
        self.leaving = True
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


class Group:
    """Processes that carry out one job together: where one dies, all end."""

    def __init__(self, count: int, gpus: Sequence[str] = ()) -> None:
        """``gpus``: what CUDA calls those that they use, one each."""
        port, seen = free_port(), {"CUDA_VISIBLE_DEVICES": ",".join(gpus)} if gpus else {}
        self.workers = [Worker(of_rank(rank, count, "127.0.0.1", port) | seen) for rank in range(count)]
        for worker in self.workers:
            worker.group = self
        self._heard: dict[int, Event] = {}

    def give(self, job: str, tasks: list[dict[str, Any]]) -> None:
        for worker in self.workers:
            worker.give(job, tasks)

    def hear(self, worker: Worker, event: Event) -> Event | None:
        """``event`` of one of them; that of the job, where this is its end."""
        rank = self.workers.index(worker)
        self._heard[rank] = event
        if not event.ends:
            event = event._replace(reason=f"process {rank} of {len(self.workers)}: {event.reason}")
        elif len(self._heard) < len(self.workers):
            return None
        else:
            event = self._heard[0]
        for one in self.workers:
            if not one.gone:
                one.end()
        return event


def python_path() -> str:
    """A ``PYTHONPATH`` by which a new process finds the danlu that is running here."""
    root, paths = str(Path(danlu.__file__).parents[1]), os.environ.get("PYTHONPATH", "").split(os.pathsep)
    if root != sysconfig.get_path("purelib"):
        paths.append(root)
    return os.pathsep.join(filter(None, paths))


def environment() -> dict[str, str]:
    """One thread, GPUs numbered as nvidia-smi does, and the danlu that is running here."""
    return os.environ | {
        "OMP_NUM_THREADS": "1",
        "MKL_NUM_THREADS": "1",
        "CUDA_DEVICE_ORDER": "PCI_BUS_ID",
        "PYTHONPATH": python_path(),
    }


def _name_of(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:  # most real-time signals have no name
        return f"signal {number}"
