"""The queue's own process killed, interrupted, or doubled: the same study again, as if nothing had been."""

from __future__ import annotations

import os
import random
import signal
from collections import Counter
from pathlib import Path

import pytest

from danlu.lab.queue import Job
from danlu.lab.queue.journal import JOURNAL, read
from tests.lab.queue import studies
from tests.train import small

pytestmark = pytest.mark.slow

STEPS, COUNT = 40, 3


@pytest.fixture(scope="module")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return small.corpus(tmp_path_factory.mktemp("corpus"))


@pytest.fixture(scope="module")
def some(corpus: Path) -> list[Job]:
    return studies.jobs(corpus, COUNT, STEPS)


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory, some: list[Job]) -> Path:
    """The study that nothing disturbed."""
    folder = tmp_path_factory.mktemp("whole") / "studies"
    studies.carried_out(folder, some, workers=2)
    return folder


def summaries(folder: Path, some: list[Job]) -> dict[str, int]:
    """When the runs that are finished were: a run that is carried out twice is finished twice."""
    paths = {job.id: studies.folder(job, folder) / "summary.json" for job in some}
    return {name: path.stat().st_mtime_ns for name, path in paths.items() if path.exists()}


def written(folder: Path) -> int:
    """Bytes of metrics of all runs."""
    return sum(path.stat().st_size for path in folder.glob("runs/*/metrics.jsonl"))


def test_the_queue_killed_at_random_moments(
    tmp_path: Path, corpus: Path, some: list[Job], whole: Path
) -> None:
    """Before anything is trained, and as soon as random shares of all metrics are written."""
    folder, draw, kills = tmp_path / "studies", random.Random(5), 0
    orphans: set[int] = set()
    for share in [0.0, *sorted(draw.uniform(0.0, 0.8) for _ in range(4))]:
        with studies.started(folder, corpus, COUNT, STEPS) as process:
            studies.until(
                lambda process=process, enough=share * written(whole): (
                    process.poll() is not None or (studies.workers(process.pid) and written(folder) >= enough)
                )
            )
            orphans.update(studies.workers(process.pid))
            kills += process.poll() is None
            process.kill()
    with studies.started(folder, corpus, COUNT, STEPS) as process:
        studies.finish(process)
    assert kills >= 2 and orphans
    studies.until(lambda: not any(map(studies.alive, orphans)))
    ended = summaries(folder, some)
    with studies.started(folder, corpus, COUNT, STEPS) as process:
        assert studies.finish(process) == {job.id: 0 for job in some}
    assert summaries(folder, some) == ended
    studies.check(folder, some, whole)


def test_an_orphan_saves_and_its_run_is_waited_for(
    tmp_path: Path, corpus: Path, some: list[Job], whole: Path
) -> None:
    folder = tmp_path / "studies"
    with studies.started(folder, corpus, COUNT, STEPS) as process:
        run = studies.folder(some[0], folder)
        studies.until((run / "metrics.jsonl").exists)
        orphans = studies.workers(process.pid)
        for pid in orphans:
            os.kill(pid, signal.SIGSTOP)  # slow to notice
        process.kill()
        process.wait()
    with studies.started(folder, corpus, COUNT, STEPS) as process:
        studies.until(lambda: len(studies.workers(process.pid)) == 2)
        studies.until(lambda: len(read(folder / JOURNAL)) >= 4)  # both were begun again
        for pid in orphans:
            os.kill(pid, signal.SIGCONT)
        studies.finish(process)
    assert not any(map(studies.alive, orphans))
    studies.check(folder, some, whole)


@pytest.mark.parametrize(("number", "status"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_signal_saves_what_is_running(
    tmp_path: Path, corpus: Path, some: list[Job], whole: Path, number: signal.Signals, status: int
) -> None:
    folder = tmp_path / "studies"
    with studies.started(folder, corpus, COUNT, STEPS) as process:
        run = studies.folder(some[0], folder)
        studies.until((run / "metrics.jsonl").exists)
        workers = studies.workers(process.pid)
        process.send_signal(number)
        _, said = process.communicate(timeout=studies.LIMIT)
    assert process.returncode == status
    assert f"{number.name}: " in said and "the same command continues" in said and "Traceback" not in said
    assert workers and not any(map(studies.alive, workers))
    with studies.started(folder, corpus, COUNT, STEPS) as process:
        studies.finish(process)
    studies.check(folder, some, whole)


def test_two_queues_at_once_share_the_runs(
    tmp_path: Path, corpus: Path, some: list[Job], whole: Path
) -> None:
    folder = tmp_path / "studies"
    study = (folder, corpus, COUNT, STEPS)
    with studies.started(*study) as one, studies.started(*study) as other:
        tries = [studies.finish(one), studies.finish(other)]
    # What one carried out, the other found.
    assert Counter(name for each in tries for name, count in each.items() if count) == {
        job.id: 1 for job in some
    }
    studies.check(folder, some, whole)
