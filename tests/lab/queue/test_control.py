"""What a person wants of a queue: pause, resume, stop, of one job or all; and how that is written."""

from __future__ import annotations

import json
import os
import threading
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest

from danlu.files.json import write_json
from danlu.lab.errors import LabError
from danlu.lab.queue import Interrupted, Job, Outcome, Queue, control, queue
from danlu.lab.queue.control import CONTROL, LIMIT, Control, write
from danlu.lab.queue.executors import Event, Start
from danlu.lab.queue.journal import JOURNAL, read
from danlu.spec import Experiment, resolve
from tests.lab.queue import studies
from tests.lab.queue.moments import Moments
from tests.lab.summaries import summary
from tests.train import small


class Scripted:
    """An executor whose jobs end when ``turn`` says so, called once a turn of the queue with this."""

    def __init__(self, room: int, turn: Callable[[Scripted], None], halts: bool = True) -> None:
        self.room_, self.turn, self.halts = room, turn, halts
        self.running: dict[str, Start] = {}
        self.started: list[str] = []
        self.halted: list[str] = []
        self.turns = 0
        self._events: list[Event] = []

    def room(self, job: Job, wanted: int, jobs: int) -> int:
        return min(1, self.room_ - len(self.running))

    def devices(self, experiment: Experiment) -> str:
        return "cpu"

    def start(self, some: Sequence[Start], code: str) -> None:
        (one,) = some
        self.running[one.job.hash] = one
        self.started.append(one.job.name)

    def finish(self, name: str) -> None:
        one = next(one for one in self.running.values() if one.job.name == name)
        one.folder.mkdir(parents=True, exist_ok=True)
        write_json(one.folder / "summary.json", summary())
        self._end(one, "finished")

    def _end(self, one: Start, how: str) -> None:
        del self.running[one.job.hash]
        self._events.append(Event(one.job.hash, [how]))

    def events(self, seconds: float) -> list[Event]:
        self.turns += 1
        assert self.turns < 50, "the queue goes on for ever"
        self.turn(self)
        found, self._events = self._events, []
        return found

    def halt(self, job: str) -> bool:
        if self.halts:
            self.halted.append(self.running[job].job.name)
            self._end(self.running[job], "stopped")
        return self.halts

    def stop(self) -> None: ...


@pytest.fixture(scope="module")
def some() -> list[Job]:
    return [Job(resolve(["nano", f"train.seed={seed}"]), name=f"seed-{seed}") for seed in range(3)]


def carried_out(
    folder: Path, some: list[Job], here: Scripted, patch: pytest.MonkeyPatch
) -> dict[str, Outcome]:
    patch.setattr(queue, "make", lambda *_: here)
    with Queue(folder, show=False) as one:
        return {outcome.job.name: outcome for outcome in one.run(some)}


def name(job: Job, folder: Path) -> str:
    return studies.folder(job, folder).name


def told(folder: Path) -> list[tuple[str, str]]:
    return [(row["job"].partition("-")[0] if row["job"] == "all" else row["job"][:6], row["event"])
            for row in read(folder / JOURNAL)]  # fmt: skip


def test_a_paused_queue_begins_nothing_until_it_is_resumed(
    tmp_path: Path, some: list[Job], monkeypatch: pytest.MonkeyPatch
) -> None:
    def turn(here: Scripted) -> None:
        if here.turns == 1:  # one is running
            assert here.started == ["seed-0"]
            write(tmp_path, "all", "pause")
        elif here.turns < 5:
            assert here.halted == (["seed-0"] if here.turns > 1 else []) and not here.running
        elif here.turns == 5:
            write(tmp_path, "all", "resume")
        else:
            for one in list(here.running.values()):
                here.finish(one.job.name)

    here = Scripted(1, turn)
    outcomes = carried_out(tmp_path, some, here, monkeypatch)
    assert [outcome.error for outcome in outcomes.values()] == [None] * 3
    assert {outcome.tries for outcome in outcomes.values()} == {1}
    assert sorted(here.started) == ["seed-0", "seed-0", "seed-1", "seed-2"]
    events = told(tmp_path)
    assert events[:3] == [("seed-0", "started"), ("all", "paused"), ("seed-0", "paused")]
    assert events[3] == ("all", "resumed") and [e for _, e in events].count("finished") == 3


def test_one_job_is_paused_and_the_others_go_on(
    tmp_path: Path, some: list[Job], monkeypatch: pytest.MonkeyPatch
) -> None:
    def turn(here: Scripted) -> None:
        if here.turns == 1:
            write(tmp_path, name(some[0], tmp_path), "pause")
        elif here.turns in (2, 3):
            here.finish(next(iter(here.running.values())).job.name)
        elif here.turns == 4:
            assert not here.running
            write(tmp_path, name(some[0], tmp_path), "resume")
        elif here.running:
            here.finish("seed-0")

    here = Scripted(1, turn)
    outcomes = carried_out(tmp_path, some, here, monkeypatch)
    assert here.started == ["seed-0", "seed-1", "seed-2", "seed-0"] and here.halted == ["seed-0"]
    assert all(outcome.summary for outcome in outcomes.values())


def test_a_stopped_job_ends_without_a_result_and_the_next_queue_takes_it_up(
    tmp_path: Path, some: list[Job], monkeypatch: pytest.MonkeyPatch
) -> None:
    def turn(here: Scripted) -> None:
        if here.turns == 1:
            write(tmp_path, name(some[0], tmp_path), "stop")  # it runs
            write(tmp_path, name(some[2], tmp_path), "stop")  # it waits
        elif here.running:
            here.finish(next(iter(here.running.values())).job.name)

    outcomes = carried_out(tmp_path, some, Scripted(1, turn), monkeypatch)
    for stopped in ("seed-0", "seed-2"):
        assert "stopped by hand; the same command continues it" in (outcomes[stopped].error or "")
        assert outcomes[stopped].summary is None and not outcomes[stopped].diverged
    assert outcomes["seed-1"].summary

    def finish(here: Scripted) -> None:
        for one in list(here.running.values()):
            here.finish(one.job.name)

    here = Scripted(2, finish)  # what was wanted then is not wanted of this one
    outcomes = carried_out(tmp_path, some, here, monkeypatch)
    assert all(outcome.summary for outcome in outcomes.values())
    assert here.started == ["seed-0", "seed-2"]


def test_all_stopped_is_the_end_of_the_study_as_by_a_signal(
    tmp_path: Path, some: list[Job], monkeypatch: pytest.MonkeyPatch
) -> None:
    def turn(here: Scripted) -> None:
        if here.turns == 1:
            write(tmp_path, "all", "stop")

    with pytest.raises(Interrupted, match="stopped by hand: 0 of 3 runs are done") as error:
        carried_out(tmp_path, some, Scripted(1, turn), monkeypatch)
    assert error.value.exit_code == 143
    assert told(tmp_path) == [("seed-0", "started"), ("all", "stopped"), ("seed-0", "stopped")]


def test_what_runs_elsewhere_runs_to_its_end(
    tmp_path: Path, some: list[Job], monkeypatch: pytest.MonkeyPatch
) -> None:
    def turn(here: Scripted) -> None:
        if here.turns == 1:
            write(tmp_path, "all", "pause")
        elif here.turns == 3:
            here.finish("seed-0")
        elif here.turns == 5:
            assert not here.running
            write(tmp_path, "all", "resume")
        elif here.turns > 5:
            here.finish(next(iter(here.running.values())).job.name)

    here = Scripted(1, turn, halts=False)
    outcomes = carried_out(tmp_path, some, here, monkeypatch)
    assert here.started == ["seed-0", "seed-1", "seed-2"]
    assert all(outcome.summary for outcome in outcomes.values())


# ---------------------------------------------------------------- the file


def test_the_last_word_counts(tmp_path: Path) -> None:
    asked = Control(tmp_path / CONTROL)
    assert not asked.look() and asked.wish("a") == "resume"
    for job, want, wishes in [
        ("a", "pause", ("pause", "resume")), ("all", "pause", ("pause", "pause")),
        ("b", "resume", ("pause", "resume")), ("b", "stop", ("pause", "stop")),
        ("all", "resume", ("resume", "resume")),
    ]:  # fmt: skip
        write(tmp_path, job, want)  # type: ignore[arg-type]
        assert asked.look() and (asked.wish("a"), asked.wish("b")) == wishes
    assert not asked.look()
    assert Control(tmp_path / CONTROL).wish("a") == "resume"  # one that begins now has been told nothing


def test_what_is_no_wish_is_passed_over(tmp_path: Path) -> None:
    path = tmp_path / CONTROL
    asked = Control(path)
    good = '{"time": 1.0, "job": "a", "want": "pause"}\n'
    bad = [
        "\n", "nonsense\n", "[]\n", '{"job": "b"}\n', '{"time": 1, "job": "b", "want": "delete"}\n',
        '{"time": 1, "job": 7, "want": "stop"}\n', "\x00\xff\n", "[" * 10_000 + "\n",
    ]  # fmt: skip
    path.write_text("".join(bad) + good, encoding="utf-8")
    assert asked.look() and asked.wish("a") == "pause" and asked.wish("b") == "resume"
    with open(path, "a", encoding="utf-8") as file:
        file.write('{"time": 2, "job": "b", "want')
        file.flush()
        assert not asked.look()  # torn: to come
        file.write('": "stop"}\n')
    assert asked.look() and asked.wish("b") == "stop"
    path.unlink()
    assert not asked.look() and asked.wish("b") == "stop"
    path.write_text(good.replace('"a"', '"b"'))
    assert asked.look() and asked.wish("b") == "pause"


def test_the_file_is_bounded(tmp_path: Path) -> None:
    (tmp_path / CONTROL).write_bytes(b"\n" * (LIMIT - 10))
    with pytest.raises(LabError, match="is full"):
        write(tmp_path, "all", "pause")
    for job, want in (("", "pause"), ("x" * 201, "pause"), ("a", "delete")):
        with pytest.raises(LabError, match="want = "):
            write(tmp_path, job, want)  # type: ignore[arg-type]


def test_many_write_at_once(tmp_path: Path) -> None:
    asked = Control(tmp_path / CONTROL)
    threads = [
        threading.Thread(target=lambda k=k: [write(tmp_path, f"{k}-{i}", "pause") for i in range(10)])  # type: ignore[misc]
        for k in range(4)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    rows = [json.loads(line) for line in (tmp_path / CONTROL).read_text().splitlines()]
    assert sorted(row["job"] for row in rows) == sorted(f"{k}-{i}" for k in range(4) for i in range(10))
    assert asked.look() and asked.wish("3-9") == "pause" and os.stat(tmp_path / CONTROL).st_mode & 0o022 == 0
    assert control.ALL == "all"


# ---------------------------------------------------------------- real workers


@pytest.mark.slow
def test_a_run_that_was_paused_is_the_run_that_was_not(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its worker saves it and ends; resumed, another goes on. Bit for bit the same weights and metrics."""
    corpus = small.corpus(tmp_path)
    some, whole, paused = studies.jobs(corpus, 2, 100), tmp_path / "whole", tmp_path / "paused"
    studies.carried_out(whole, some, workers=1)
    first = studies.folder(some[0], paused)

    def journal() -> list[tuple[str, str]]:
        return [(row["job"], row["event"]) for row in read(paused / JOURNAL)]

    def person() -> None:
        studies.until(lambda: moments.come[0])  # it is in the middle, and stands still
        write(paused, "all", "pause")
        studies.until(lambda: ("all", "paused") in journal())
        moments.go_on()
        studies.until(lambda: (first.name, "paused") in journal())
        write(paused, "all", "resume")

    moments = Moments(tmp_path / "moments", monkeypatch, ("waits", f"{first}/checkpoints/step-4"))
    thread = threading.Thread(target=person)
    thread.start()
    outcomes = studies.carried_out(paused, some, workers=1)
    thread.join()
    assert [outcome.error for outcome in outcomes] == [None, None]
    assert journal().count((first.name, "started")) == 2
    studies.check(paused, some, whole)
