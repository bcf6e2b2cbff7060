"""The same runs on a Ray cluster and by submitit, both on this machine."""

from __future__ import annotations

import math
import os
import signal
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from danlu.lab.errors import LabError
from danlu.lab.queue import Job, Queue
from danlu.lab.queue.executors import Start
from danlu.lab.queue.journal import JOURNAL, read
from danlu.lab.queue.together import Ended
from danlu.spec import resolve
from danlu.train.interrupt import Interrupt
from tests.lab.queue import studies
from tests.lab.queue.moments import Moments
from tests.train import small

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def good(tmp_path_factory: pytest.TempPathFactory) -> list[Job]:
    return studies.jobs(small.corpus(tmp_path_factory.mktemp("corpus")), 2, 20)


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory, good: list[Job]) -> Path:
    """The study by local workers."""
    folder = tmp_path_factory.mktemp("whole") / "studies"
    studies.carried_out(folder, good, workers=2)
    return folder


def check(folder: Path, good: list[Job], whole: Path, patch: pytest.MonkeyPatch, **settings: Any) -> None:
    """The same study, one of whose processes is killed, and a wrong job beside it."""
    bad = Job(resolve(small.words(folder / "missing.jsonl", "train.steps=1")), name="bad")
    run = studies.folder(good[0], folder)
    Moments(folder.parent / "moments", patch, ("dies", f"{run}/checkpoints/step-4"))
    first, second, failed = studies.carried_out(folder, [*good, bad], **settings)
    assert (first.tries, second.tries, failed.tries) == (2, 1, 1)
    assert [row["event"] for row in read(folder / JOURNAL) if row["job"] == first.folder.name] == [
        "started", "lost", "started", "finished"
    ]  # fmt: skip
    assert "missing.jsonl" in str(failed.error)
    studies.check(folder, good, whole)


def test_on_a_ray_cluster_of_this_machine(
    tmp_path: Path, good: list[Job], whole: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("ray", reason="ray is not installed: pip install 'danlu[ray]'")
    monkeypatch.setenv("RAY_worker_niceness", "0")  # 15 by default: beside other work they hardly run
    check(tmp_path / "studies", good, whole, monkeypatch, executor="ray", workers=2)


def test_by_submitit_on_this_machine(
    tmp_path: Path, good: list[Job], whole: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("submitit", reason="submitit is not installed: pip install 'danlu[slurm]'")
    from danlu.lab.queue import on_slurm

    monkeypatch.setattr(on_slurm.OnSlurm.__init__, "__defaults__", ("local",))
    check(tmp_path / "studies", good, whole, monkeypatch, executor="slurm", workers=2)


@pytest.mark.parametrize("end", ["stopped", "finished"])
def test_who_is_preempted_is_saved_and_put_back(end: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Slurm's signal asks the run to save; submitit's own handler, which requeues, is called after that."""
    pytest.importorskip("submitit", reason="submitit is not installed: pip install 'danlu[slurm]'")
    from danlu.lab.queue import on_slurm

    happened: list[str] = []

    def carry_out(tasks: Any, interrupt: Interrupt) -> Ended:
        os.kill(os.getpid(), signal.SIGUSR2)
        happened.append(f"asked by {interrupt.requested}")
        return Ended([end])  # type: ignore[list-item]

    for name, value in {"EXECUTOR": "local", "LOCAL_JOB_ID": "7", "LOCAL_NTASKS": "1"}.items():
        monkeypatch.setenv(f"SUBMITIT_{name}", value)
    monkeypatch.setattr(on_slurm, "carry_out_anywhere", carry_out)
    before = signal.signal(signal.SIGUSR2, lambda *_: happened.append("put back"))
    try:
        assert on_slurm._CarryOut()([]) == Ended([end])  # type: ignore[list-item]
    finally:
        signal.signal(signal.SIGUSR2, before)
    assert happened == ["asked by SIGTERM", *(["put back"] if end == "stopped" else [])]


def test_ray_shares_a_gpu_by_memory(tmp_path: Path) -> None:
    pytest.importorskip("ray", reason="ray is not installed: pip install 'danlu[ray]'")
    from danlu.lab.queue.gpus import Estimates
    from danlu.lab.queue.on_ray import OnRay

    on = OnRay.__new__(OnRay)
    on._gpus, on._memory, on._needs = True, 80 << 30, Estimates()
    job = Job(resolve(["nano", "train.device=cuda"]))
    one, many = (on._share([Start(job, tmp_path, 1)] * count) for count in (1, 64))
    needs = on._needs.of(job)
    assert one == math.ceil(100 * needs.of(1) / on._memory) / 100 and 0 < one < many < 1
    assert on._share([Start(job, tmp_path, 2)]) == 1  # its process died once
    assert on._share([Start(replace(job, processes=2), tmp_path, 1)]) == 1
    assert on._share([Start(Job(resolve(["nano", "train.device=cpu"])), tmp_path, 1)]) == 0
    on._memory = 0  # nobody could say
    assert on._share([Start(job, tmp_path, 1)]) == 1


def test_slurm_is_missing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("submitit", reason="submitit is not installed: pip install 'danlu[slurm]'")
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(LabError, match="there is no sbatch here"):
        Queue(tmp_path, executor="slurm")
