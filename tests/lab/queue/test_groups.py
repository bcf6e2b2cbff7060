"""Jobs of several processes: the run that torchrun makes, whoever starts them, and whoever of them dies."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from danlu.lab.errors import LabError
from danlu.lab.queue import Job, Queue
from danlu.lab.queue.group import environment, told
from danlu.lab.queue.journal import JOURNAL, read
from danlu.lab.queue.local import Local
from danlu.spec import resolve
from tests.lab.queue import studies
from tests.lab.queue.moments import at_a_checkpoint
from tests.train import small

STEPS = 12
# The first process kills the second.
KILLS_ANOTHER = """
import glob, os, signal

def deed():
    mine = open(f"/proc/{os.getpid()}/environ", "rb").read().split(b"\\0")
    port = next(one for one in mine if one.startswith(b"MASTER_PORT="))
    for path in glob.glob("/proc/[0-9]*/environ"):
        try:
            told = open(path, "rb").read().split(b"\\0")
        except OSError:
            continue
        if port in told and b"RANK=1" in told:
            os.kill(int(path.split("/")[2]), signal.SIGKILL)
"""


@pytest.fixture(scope="module")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return small.corpus(tmp_path_factory.mktemp("corpus"))


@pytest.fixture(scope="module")
def words(corpus: Path) -> list[str]:
    return small.words(corpus, *studies.RUN, f"train.steps={STEPS}")


@pytest.fixture(scope="module")
def pair(words: list[str]) -> Job:
    return Job(resolve(words), name="pair", processes=2)


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory, words: list[str]) -> Path:
    """The run under torchrun, in two processes."""
    folder = tmp_path_factory.mktemp("whole") / "run"
    done = small.torchrun(words, folder)
    assert done.returncode == 0, done.stderr
    return folder


@pytest.mark.slow
def test_one_of_them_dies_and_the_job_goes_on(
    tmp_path: Path, pair: Job, whole: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    hooks = at_a_checkpoint(tmp_path, KILLS_ANOTHER)
    paths = [str(hooks), *filter(None, [os.environ.get("PYTHONPATH")])]
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join(paths))
    (ended,) = studies.carried_out(tmp_path / "studies", [pair], workers=2)
    assert (hooks / "taken").is_dir()
    assert (ended.error, ended.tries) == (None, 2)
    small.assert_same(ended.folder, whole)
    (lost,) = [row for row in read(tmp_path / "studies" / JOURNAL) if row["event"] == "lost"]
    assert lost["reason"].startswith("process ")
    (found,) = studies.carried_out(tmp_path / "studies", [pair], workers=2)
    assert found.tries == 0


@pytest.mark.slow
def test_by_submitit(tmp_path: Path, pair: Job, whole: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("submitit", reason="submitit is not installed: pip install 'danlu[slurm]'")
    from danlu.lab.queue import on_slurm

    monkeypatch.setattr(on_slurm.OnSlurm.__init__, "__defaults__", ("local",))
    (ended,) = studies.carried_out(tmp_path / "studies", [pair], executor="slurm", workers=2)
    assert (ended.error, ended.tries) == (None, 1)
    small.assert_same(ended.folder, whole)


@pytest.mark.slow
def test_on_ray(tmp_path: Path, pair: Job, whole: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("ray", reason="ray is not installed: pip install 'danlu[ray]'")
    monkeypatch.setenv("RAY_worker_niceness", "0")
    (ended,) = studies.carried_out(tmp_path / "studies", [pair], executor="ray", workers=2)
    assert (ended.error, ended.tries) == (None, 1)
    small.assert_same(ended.folder, whole)


# ------------------------------------------------------------ nothing is started


def test_a_run_of_several_processes_is_another_run(pair: Job) -> None:
    alone = replace(pair, processes=1)
    assert alone == Job(pair.experiment, name="pair") and alone.hash != pair.hash
    assert replace(pair, nodes=2).hash == pair.hash


def test_the_mesh_says_how_many(words: list[str]) -> None:
    experiment = resolve([*words, "train.parallel=fsdp", "train.mesh.replicate=2"])
    assert Job(experiment).processes == 2
    with pytest.raises(LabError, match=r"train\.mesh\.replicate = 2 does not divide"):
        Job(experiment, processes=3)


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        (
            {"processes": 3},
            "train.batch = 8 cannot be shared among 3 processes; allowed: multiples of 3",
        ),
        ({"processes": -1}, "a job of -1 processes on 1 nodes; allowed: a multiple of the nodes"),
        ({"processes": 4, "nodes": 3}, "a job of 4 processes on 3 nodes; allowed: a multiple of the nodes"),
    ],
)
def test_what_cannot_be_divided_is_told(pair: Job, settings: dict[str, int], said: str) -> None:
    with pytest.raises(LabError) as caught:
        replace(pair, **settings)
    assert str(caught.value) == said


def test_more_processes_than_there_will_be_are_told(tmp_path: Path, pair: Job) -> None:
    said = "pair takes 2 processes, and the queue has 1 worker; give it more, or the job fewer processes"
    with pytest.raises(LabError) as caught, Queue(tmp_path, workers=1, show=False) as queue:
        queue.run([pair])
    assert str(caught.value) == said
    local = Local(3, tmp_path)
    assert local.room(pair, 9, 9) == 1 and not local._workers


def test_the_environment_is_torchrun_s_and_goes_with_the_job() -> None:
    some: dict[str, Any] = environment(3, 4, "here", 9, on_node=1)
    with told(some):
        assert {name: os.environ[name] for name in some} == some
        assert (os.environ["RANK"], os.environ["LOCAL_RANK"], os.environ["WORLD_SIZE"]) == ("3", "1", "4")
    assert not {"RANK", "WORLD_SIZE", "MASTER_ADDR"} & os.environ.keys()
