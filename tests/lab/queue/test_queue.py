"""Runs side by side: each once, in any order, whatever came before."""

from __future__ import annotations

import json
import math
import os
import signal
import sys
import time
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from danlu.code import loaded
from danlu.files.json import read_json, write_json
from danlu.lab.errors import LabError
from danlu.lab.queue import Job, Outcome, Queue, executors
from danlu.lab.queue.carry_out import carry_out, to_task
from danlu.lab.queue.job import failed_outcome, outcome
from danlu.lab.queue.journal import JOURNAL, read
from danlu.spec import resolve
from danlu.train.run import train
from tests.lab.queue import studies
from tests.lab.queue.moments import Moments
from tests.train import small

STEPS = 9


@pytest.fixture(scope="module")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return small.corpus(tmp_path_factory.mktemp("corpus"))


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory, corpus: Path) -> tuple[Path, list[Outcome]]:
    """A study of three runs that nothing disturbed."""
    folder = tmp_path_factory.mktemp("whole") / "studies"
    return folder, studies.carried_out(folder, studies.jobs(corpus, 3, STEPS), workers=2)


def test_a_run_of_the_queue_is_the_run_of_a_process_of_its_own(
    tmp_path: Path, corpus: Path, whole: tuple[Path, list[Outcome]]
) -> None:
    folder, outcomes = whole
    some = studies.jobs(corpus, 3, STEPS)
    assert [outcome.job for outcome in outcomes] == some
    studies.check(folder, some, folder)
    for ended in outcomes:
        alone = tmp_path / ended.job.id
        summary = train(ended.job.experiment, alone, small.Told(), sample=False)
        small.assert_same(ended.folder, alone)
        assert summary is not None and ended.summary is not None
        assert (ended.tries, ended.error, ended.diverged) == (1, None, False)
        assert ended.summary["metric"] == summary["metric"]
        assert ended.summary["sample"] is None


def test_what_was_run_is_found(corpus: Path, whole: tuple[Path, list[Outcome]]) -> None:
    folder, outcomes = whole
    before = read(folder / JOURNAL)
    with Queue(folder, show=False) as queue:
        assert queue.pending == 0
        with pytest.raises(LabError, match="nothing is pending"):
            queue.next()
        first, *others = studies.jobs(corpus, 3, STEPS)
        queue.submit(Job(first.experiment, name="under-another-name"))
        queue.submit(first)
        assert queue.pending == 1
        found = queue.next()
        assert (found.tries, found.summary, queue.pending) == (0, outcomes[0].summary, 0)
        assert [outcome.tries for outcome in queue.run([first, *others, first])] == [0, 0, 0, 0]
    assert read(folder / JOURNAL) == before  # and nobody was started


@pytest.mark.slow
def test_divergence_is_a_result_and_a_failure_can_be_mended(tmp_path: Path, corpus: Path) -> None:
    words = small.words(corpus, *studies.RUN, f"train.steps={STEPS}", "train.clip=0")
    wild = Job(resolve([*words, "optimizer=sgd", "optimizer.lr=1e30"]), name="wild")
    later = tmp_path / "later"
    later.mkdir()
    lost = Job(resolve([*words, f"data.corpus={later / 'corpus.jsonl'}"]), name="lost")
    diverged, failed = studies.carried_out(tmp_path / "studies", [wild, lost], workers=1)
    assert diverged.diverged and diverged.summary is None and "updated" in str(diverged.error)
    assert not failed.diverged and "corpus" in str(failed.error)
    assert (diverged.tries, failed.tries) == (1, 1)  # no crash: not tried again
    small.corpus(later)
    again, mended = studies.carried_out(tmp_path / "studies", [wild, lost], workers=1)
    assert again.diverged and again.tries == 0 and again.error == diverged.error
    assert mended.summary is not None and mended.error is None
    assert not (mended.folder / "failed.json").exists()
    assert mended.folder != failed.folder  # data is known by its content, and there was none
    names = {diverged.folder.name: "wild", failed.folder.name: "lost", mended.folder.name: "mended"}
    events = [(names[row["job"]], row["event"]) for row in read(tmp_path / "studies" / JOURNAL)]
    assert sorted(events) == sorted(
        [("wild", "started"), ("wild", "diverged"), ("lost", "started"), ("lost", "failed"),
         ("mended", "started"), ("mended", "finished")]
    )  # fmt: skip


MOMENTS = ("experiment.yaml", "metrics.jsonl", "checkpoints/step-4", "checkpoints/step-8", "summary.json")


@pytest.mark.slow
def test_a_worker_that_dies_at_any_moment_leaves_no_trace(
    tmp_path: Path, corpus: Path, whole: tuple[Path, list[Outcome]], monkeypatch: pytest.MonkeyPatch
) -> None:
    some, folder = studies.jobs(corpus, 3, STEPS), tmp_path / "studies"
    first, second, _ = (studies.folder(job, folder) for job in some)
    paths = [*(first / name for name in MOMENTS), *(second / name for name in MOMENTS[2:])]
    moments = Moments(tmp_path / "moments", monkeypatch, *(("dies", str(path)) for path in paths))
    outcomes = studies.carried_out(folder, some, workers=2, retries=len(MOMENTS))
    assert all(moments.come)
    studies.check(folder, some, whole[0])
    assert [outcome.tries for outcome in outcomes] == [1 + len(MOMENTS), 1 + len(MOMENTS[2:]), 1]
    lost = [row for row in read(folder / JOURNAL) if row["event"] == "lost"]
    assert len(lost) == len(paths)
    assert {row["reason"] for row in lost} == {"its process was ended by SIGKILL"}


@pytest.mark.slow
def test_a_worker_that_dies_while_it_has_nothing_to_do(
    tmp_path: Path, corpus: Path, whole: tuple[Path, list[Outcome]]
) -> None:
    some = studies.jobs(corpus, 3, STEPS)
    with Queue(tmp_path, workers=1, show=False) as queue:
        queue.run(some[:1])
        (idle,) = studies.workers(os.getpid())
        os.kill(idle, signal.SIGKILL)
        studies.until(lambda: not studies.alive(idle))
        queue.run(some[1:])
    studies.check(tmp_path, some, whole[0])


@pytest.mark.slow
def test_a_job_whose_process_always_dies_is_given_up(
    tmp_path: Path, corpus: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (job,) = studies.jobs(corpus, 1, STEPS)
    run = studies.folder(job, tmp_path / "studies")
    moments = Moments(tmp_path / "moments", monkeypatch, *[("dies", f"{run}/metrics.jsonl")] * 2)
    (failed,) = studies.carried_out(tmp_path / "studies", [job], workers=1, retries=1)
    assert all(moments.come)
    assert failed.summary is None and not failed.diverged and failed.tries == 2
    assert "given up after 2 tries: its process was ended by SIGKILL" in str(failed.error)
    assert json.loads((run / "failed.json").read_text())["kind"] == "failed"


def test_measures_are_taken_once_and_only_what_is_missing(
    tmp_path: Path, corpus: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[tuple[str, ...]] = []

    def of_run(folder: Path, names: Any) -> dict[str, float]:
        assert (folder / "summary.json").exists()
        asked.append(tuple(names))
        if "no-such" in names:
            raise LabError("there is no measure no-such")
        return {name: float(len(name)) for name in names}

    monkeypatch.setitem(sys.modules, "danlu.lab.measures", SimpleNamespace(of_run=of_run))
    (job,) = studies.jobs(corpus, 1, 2)
    folder = tmp_path / job.id

    def carried_out(*names: str) -> str:
        with small.quick():
            return carry_out(to_task(replace(job, measures=names), folder, 1, loaded().tier_a))

    assert carried_out() == "finished"
    assert carried_out("aa") == "finished"
    assert carried_out("aa") == "found"
    assert carried_out("aa", "bbb") == "finished"
    assert asked == [("aa",), ("bbb",)]
    assert json.loads((folder / "measures.json").read_text()) == {"aa": 2.0, "bbb": 3.0}
    said = read_json(folder / "environment.json")
    assert said["measured"]["tier_a"] == loaded().tier_a
    said["measured"] |= {"tier_a": "another", "files": {"lab/measures/weights.py": "another"}}
    write_json(folder / "environment.json", said)
    assert carried_out("bbb") == "finished"  # measured by other code, it is measured anew
    assert json.loads((folder / "measures.json").read_text()) == {"bbb": 3.0}
    assert carried_out("aa", "bbb") == "finished"
    assert asked[2:] == [("bbb",), ("aa",)]
    assert carried_out("no-such") == "failed"
    wrong = failed_outcome(replace(job, measures=("aa", "no-such")), folder, 1)
    assert wrong.error == "there is no measure no-such"
    assert wrong.summary is not None and wrong.measures == {"aa": 2.0}
    assert carried_out() == "found"  # the run itself is as good as ever


def test_the_clock_of_a_run_begins_with_it(tmp_path: Path, corpus: Path) -> None:
    for job in studies.jobs(corpus, 2, 1):
        begin = time.perf_counter()
        with small.quick():
            assert carry_out(to_task(job, tmp_path / job.id, 1, loaded().tier_a)) == "finished"
        elapsed = time.perf_counter() - begin
        found = outcome(job, tmp_path / job.id, 1)
        assert found is not None and found.summary is not None
        assert found.summary["wall_seconds"] <= elapsed + 1e-3  # as written, to the millisecond
        assert sum(found.summary["active_seconds"].values()) <= elapsed + 1e-2


def test_what_is_not_finite_after_the_last_update_diverged(
    tmp_path: Path, corpus: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (job,) = studies.jobs(corpus, 1, 1)
    metric = {"name": "bits_per_byte", "value": math.nan}
    ended = {"stopped": None, "steps": 1, "metric": metric}
    monkeypatch.setattr("danlu.train.run.train", lambda *_, **__: ended)
    assert carry_out(to_task(job, tmp_path / job.id, 1, loaded().tier_a)) == "diverged"
    found = outcome(job, tmp_path / job.id, 0)
    assert found is not None and found.diverged and "after the last update" in str(found.error)


@pytest.mark.parametrize(
    ("settings", "sentence"),
    [
        ({"executor": "lokal"}, "executor = 'lokal' is unknown; allowed: local, ray or slurm"),
        ({"workers": 0}, "workers = 0; at least 1 must do the work"),
    ],
)
def test_wrong_settings_are_told(tmp_path: Path, settings: dict[str, Any], sentence: str) -> None:
    with pytest.raises(LabError) as caught:
        Queue(tmp_path, **settings)
    assert str(caught.value) == sentence


def test_a_missing_package_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(executors, "find_spec", lambda name: None)
    for name in ("ray", "slurm"):
        with pytest.raises(LabError, match=rf"pip install 'danlu\[{name}\]'"):
            Queue(tmp_path, executor=name)


def test_a_worker_that_cannot_start_is_told_at_once(
    tmp_path: Path, corpus: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "torch.py").write_text("raise ImportError('libgomp is missing')")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    with pytest.raises(LabError, match="does not start: ImportError: libgomp is missing"):
        studies.carried_out(tmp_path / "studies", studies.jobs(corpus, 1, 2))
