"""The queue's own process killed, interrupted, or doubled: the same study again, as if nothing had been."""

from __future__ import annotations

import os
import signal
import subprocess
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from danlu.lab.queue import Job
from danlu.lab.queue.journal import JOURNAL, read
from tests.conftest import LIMIT
from tests.lab.queue import studies
from tests.lab.queue.moments import Moments
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


@contextmanager
def standing(
    folder: Path, corpus: Path, patch: pytest.MonkeyPatch, *files: Path
) -> Iterator[tuple[subprocess.Popen[str], list[int], Moments]]:
    """The study as a process, and its workers, of which one stands still before each of the ``files``; at the
    end these go on."""
    place = folder.parent / f"before-{files[0].parent.name}-{files[0].name}"
    moments = Moments(place, patch, *(("waits", str(file)) for file in files))
    try:
        with studies.started(folder, corpus, COUNT, STEPS) as process:
            studies.until(lambda: all(moments.come) or process.poll() is not None)
            moments.over()
            yield process, studies.workers(process.pid), moments
    finally:
        moments.go_on()


def test_the_queue_killed_at_any_moment(
    tmp_path: Path, corpus: Path, some: list[Job], whole: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """While two train, who save and end; and with its workers, at three moments of the third run."""
    folder, orphans = tmp_path / "studies", set[int]()
    first, second, third = (studies.folder(job, folder) for job in some)
    files = first / "metrics.jsonl", second / "checkpoints" / "step-4"
    with standing(folder, corpus, monkeypatch, *files) as (process, workers, _):
        process.kill()
        assert len(workers) == 2
        orphans.update(workers)
    for name in ("checkpoints/step-8", "checkpoints/step-32", "summary.json"):
        with standing(folder, corpus, monkeypatch, third / name) as (process, workers, _):
            for pid in (process.pid, *workers):
                os.kill(pid, signal.SIGKILL)
            orphans.update(workers)
    assert len(orphans) >= 2 + 3
    with studies.started(folder, corpus, COUNT, STEPS) as process:
        assert studies.finish(process)[some[2].id] == 1
    studies.until(lambda: not any(map(studies.alive, orphans)))
    ended = summaries(folder, some)
    with studies.started(folder, corpus, COUNT, STEPS) as process:
        assert studies.finish(process) == {job.id: 0 for job in some}
    assert summaries(folder, some) == ended
    studies.check(folder, some, whole)


def test_an_orphan_saves_and_its_run_is_waited_for(
    tmp_path: Path, corpus: Path, some: list[Job], whole: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "studies"
    files = [studies.folder(job, folder) / "checkpoints" / "step-4" for job in some[:2]]
    with standing(folder, corpus, monkeypatch, *files) as (process, orphans, moments):
        process.kill()
        with studies.started(folder, corpus, COUNT, STEPS) as other:
            studies.until(lambda: len(read(folder / JOURNAL)) == 4)  # both were begun again
            assert len(orphans) == 2 and all(map(studies.alive, orphans))
            moments.go_on()
            studies.finish(other)
    studies.until(lambda: not any(map(studies.alive, orphans)))
    studies.check(folder, some, whole)


@pytest.mark.parametrize(("number", "status"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_signal_saves_what_is_running(
    tmp_path: Path,
    corpus: Path,
    some: list[Job],
    whole: Path,
    monkeypatch: pytest.MonkeyPatch,
    number: signal.Signals,
    status: int,
) -> None:
    folder = tmp_path / "studies"
    files = [studies.folder(job, folder) / "checkpoints" / "step-4" for job in some[:2]]
    with standing(folder, corpus, monkeypatch, *files) as (process, workers, moments):
        process.send_signal(number)
        moments.go_on()
        _, said = process.communicate(timeout=LIMIT)
    assert process.returncode == status
    assert f"{number.name}: " in said and "the same command continues" in said and "Traceback" not in said
    assert len(workers) == 2 and not any(map(studies.alive, workers))
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
