"""What local workers do where there are GPUs, without a GPU and without a worker."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any, ClassVar

import pytest

from danlu.lab.errors import LabError
from danlu.lab.queue import Job, gpus, local, sizes
from danlu.lab.queue.executors import Event, Start
from danlu.lab.queue.gpus import CONTEXT, Gpus, Needs
from danlu.lab.queue.local import Local
from danlu.spec import resolve

NANO = Job(resolve(["nano"]), name="nano")
EACH = 10 << 20  # bytes


class Told:
    """Stands for a worker, or a group of them: keeps what it is given."""

    made: ClassVar[list[Told]] = []

    def __init__(self, count: int = 1, names: Sequence[str] = ()) -> None:
        self.count, self.names, self.workers = count, list(names), [self] * count
        self.job: str | None = None
        self.code = self.group = self.device = None
        self.gone = self.leaving = False
        self.answers, self.said = os.pipe()
        self.made.append(self)

    def give(self, job: str, tasks: list[dict[str, Any]]) -> None:
        self.job, self.tasks = job, tasks

    def dismiss(self) -> None:
        self.leaving = True

    def end_job(self) -> None:
        """Let the queue hear that its job has ended."""
        os.write(self.said, b".")

    def listen(self) -> Event:
        os.read(self.answers, 1)
        job, self.job = self.job, None
        assert job is not None
        return Event(job, ["finished"])


@pytest.fixture
def make(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """Local workers, eight of them, on GPUs with so many free bytes; what a run needs is known."""
    monkeypatch.setattr(Told, "made", [])
    monkeypatch.setattr(local, "Worker", Told)
    monkeypatch.setattr(local, "Group", Told)
    monkeypatch.setattr(gpus, "uuids", lambda: ["GPU-a", "GPU-b", "GPU-c"])
    monkeypatch.setattr(gpus, "needed", lambda experiment: Needs(EACH, 0.58e9))

    def with_gpus(*free: int) -> Local:
        monkeypatch.setattr(gpus, "detect", lambda: Gpus(free))
        return Local(8, tmp_path)

    return with_gpus


def room_for(count: int) -> int:
    return CONTEXT + count * EACH


def test_as_many_are_begun_together_as_pay_and_fit(make: Any) -> None:
    assert make(room_for(1000)).room(NANO, 10_000, 10_000) == sizes.that_pay(0.58e9)
    assert make(room_for(7)).room(NANO, 10_000, 10_000) == 7
    assert make(room_for(1000)).room(NANO, 5, 5) == 5
    assert make(room_for(1000), room_for(1000)).room(NANO, 10, 10) == 5  # shared by two GPUs
    assert make(1).room(NANO, 10, 10) == 1  # too little by the estimate: one has it for itself


def test_a_group_of_runs_holds_its_memory(make: Any, tmp_path: Path) -> None:
    here = make(room_for(20), room_for(15))
    some = [Start(NANO, tmp_path, 1)] * 12
    here.start(some, "code")
    assert [task["device"] for task in Told.made[0].tasks] == [0] * 12
    assert here._gpus.left() == [8 * EACH, room_for(15)]
    here.start([Start(Job(resolve(["nano", "train.seed=1"])), tmp_path, 1)], "code")
    assert Told.made[1].tasks[0]["device"] == 1
    here._gpus.give_back(NANO.hash)
    assert here._gpus.left() == [room_for(20), room_for(15) - room_for(1)]


def test_a_job_of_several_processes_has_a_gpu_for_each(make: Any, tmp_path: Path) -> None:
    here = make(room_for(3), room_for(1) - 1, room_for(2))
    pair = Job(NANO.experiment, name="pair", processes=2)
    assert here.room(pair, 9, 9) == 1
    here.start([Start(pair, tmp_path, 1)], "code")
    assert (Told.made[0].count, Told.made[0].names) == (2, ["GPU-a", "GPU-c"])
    assert Told.made[0].tasks[0]["processes"] == 2 and Told.made[0].tasks[0]["device"] is None
    with pytest.raises(LabError, match="four takes 4 processes, and the queue has 3 GPUs"):
        here.room(Job(NANO.experiment, name="four", processes=4), 1, 1)


def test_a_worker_that_was_on_a_gpu_ends_where_it_is_given_nothing(make: Any, tmp_path: Path) -> None:
    """Its memory there counts as free. The next job on that GPU takes it over; one on another, or on none,
    has a worker of its own."""
    other = Job(resolve(["nano", "train.seed=1"]))
    on_cpu = Job(resolve(["nano", "train.device=cpu"]))
    here = make(room_for(2))
    here.start([Start(NANO, tmp_path, 1)], "code")
    (first,) = Told.made
    assert here.events(0) == [] and not first.leaving  # it has work
    first.end_job()
    assert here.events(5) == [Event(NANO.hash, ["finished"])] and here._gpus.left() == [room_for(2)]
    here.start([Start(other, tmp_path, 1)], "code")
    assert first.job == other.hash and Told.made == [first]
    first.end_job()
    assert [event.job for event in here.events(5)] == [other.hash]
    here.start([Start(on_cpu, tmp_path, 1)], "code")
    _, second = Told.made
    assert second.job == on_cpu.hash and second.device is None
    second.end_job()
    here.events(5)
    assert first.leaving and not second.leaving
    here.events(0)
    here.start([Start(NANO, tmp_path, 1)], "code")  # one without memory on a GPU may have it
    assert second.job == NANO.hash and second.device == 0 and Told.made == [first, second]


def test_the_first_of_a_group_says_how_it_ended_and_one_death_ends_all() -> None:
    from danlu.lab.queue.processes import Group

    class Process:
        gone = False

        def end(self) -> None:
            self.gone = True

    def group() -> tuple[Any, list[Process]]:
        made, some = Group.__new__(Group), [Process(), Process(), Process()]
        made.workers, made._heard = some, {}
        return made, some

    one, some = group()
    assert one.hear(some[2], Event("job", ["finished"])) is None
    assert one.hear(some[0], Event("job", ["diverged"])) is None
    assert one.hear(some[1], Event("job", ["finished"])) == Event("job", ["diverged"])
    other, some = group()
    assert other.hear(some[0], Event("job", ["finished"])) is None
    died = other.hear(some[1], Event("job", reason="SIGKILL"))
    assert died == Event("job", (), "process 1 of 3: SIGKILL") and all(each.gone for each in some)
