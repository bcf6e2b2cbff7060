"""One file of thirty lines: tried, edited, tried again with new results; by workers, on Ray, by submitit."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch

import danlu
from danlu.lab.queue import Job, Queue
from danlu.spec import resolve
from tests.parts.test_runs import MINE, words
from tests.train import small


@pytest.fixture
def mine(tmp_path: Path) -> Path:
    assert len(MINE.splitlines()) <= 30
    (tmp_path / "mine.py").write_text(MINE)
    return tmp_path / "mine.py"


@pytest.fixture
def given(tmp_path: Path) -> list[str]:
    return words(small.corpus(tmp_path))


def carried_out(studies: Path, given: list[str], **settings: Any) -> Any:
    with Queue(studies, show=False, **settings) as queue:
        (outcome,) = queue.run([Job(resolve(given), name="dyt")])
    return outcome


def assert_same(one: Path, other: Path) -> None:
    """Every tensor of the last checkpoint and every loss, bit for bit."""
    here, there = small.left(one)[0], small.left(other)[0]
    assert here.keys() == there.keys()
    assert all(torch.equal(tensor, there[name]) for name, tensor in here.items())
    assert small.losses(one) == small.losses(other) != []


@pytest.mark.slow
def test_a_worker_runs_what_the_queue_was_given(tmp_path: Path, mine: Path, given: list[str]) -> None:
    """Bit for bit what a run in this process is, though the file is edited before the worker starts."""
    danlu.load(mine)
    experiment = resolve(given)
    small.go(experiment, tmp_path / "here")
    mine.write_text(MINE.replace("torch.tanh", "3 * torch.tanh"))
    first = carried_out(tmp_path / "studies", given, workers=1)
    assert first.error is None
    assert_same(first.folder, tmp_path / "here")
    danlu.load(mine)
    second = carried_out(tmp_path / "studies", given, workers=1)
    assert second.error is None and second.folder != first.folder and second.tries == 1
    assert small.losses(second.folder) != small.losses(first.folder)
    mine.write_text(MINE)
    danlu.load(mine)
    third = carried_out(tmp_path / "studies", given, workers=1)
    assert (third.folder, third.tries) == (first.folder, 0)  # found again


@pytest.mark.slow
def test_code_that_fails_in_a_worker_is_told(tmp_path: Path, given: list[str]) -> None:
    """A cell that needs another cell."""
    import linecache

    cells = ["TWO = 2.0\n", MINE.replace("alpha: float = 0.5", "alpha: float = TWO")]
    place: dict[str, Any] = {"__name__": "__main__"}
    for i, cell in enumerate(cells):
        linecache.cache[f"<cell {i}>"] = (len(cell), None, cell.splitlines(True), f"<cell {i}>")
        exec(compile(cell, f"<cell {i}>", "exec"), place)
    outcome = carried_out(tmp_path / "studies", given, workers=1)
    assert outcome.error is not None and "name 'TWO' is not defined" in outcome.error


@pytest.mark.slow
def test_on_ray(tmp_path: Path, mine: Path, given: list[str]) -> None:
    pytest.importorskip("ray", reason="ray is not installed: pip install 'danlu[ray]'")
    danlu.load(mine)
    small.go(resolve(given), tmp_path / "here")
    outcome = carried_out(tmp_path / "studies", given, executor="ray", workers=1)
    assert outcome.error is None
    assert_same(outcome.folder, tmp_path / "here")


@pytest.mark.slow
def test_tried_edited_tried_again(tmp_path: Path, mine: Path) -> None:
    """``danlu try dyt --with mine.py``: the part is an idea, and an edit gives new runs of it alone."""
    short = ["--budget", "10 steps", "--tune", "none"]

    def tried() -> tuple[str, set[str]]:
        done = subprocess.run(
            [
                sys.executable,
                "-m",
                "danlu",
                *["try", "dyt", "--with", "mine.py", "--seeds", "2", "--workers", "1"],
                *short,
            ],
            cwd=tmp_path,
            capture_output=True,
            text=True,
            env=os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)},
        )
        assert done.returncode == 0, done.stderr
        line = next(line for line in done.stdout.splitlines() if line.startswith("+dyt on bed: "))
        return line, {run.name for run in (tmp_path / "studies" / "runs").iterdir()}

    first, runs = tried()
    assert tried() == (first, runs)
    mine.write_text(MINE.replace("torch.tanh", "3 * torch.tanh"))
    second, more = tried()
    assert second != first
    assert runs < more and all("dyt" in name for name in more - runs) and len(more - runs) == 2


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["ddp", "fsdp"])
def test_two_processes_train_what_one_does(tmp_path: Path, kind: str) -> None:
    """Own parts are loaded by each process; sharded, their weights are those of one process."""
    file = Path(__file__).with_name("mine.py")
    danlu.load(file)
    words = [
        *(word for word in small.words(small.corpus(tmp_path)) if "norm.gain" not in word),
        "model.norm=dyt", "model.feed_forward=low-rank", "model.position=decay", "optimizer=heavy-ball",
        "train.steps=4", "train.log_every=1", "train.compile=false", f"train.parallel={kind}",
    ]  # fmt: skip
    done = subprocess.run(
        [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc_per_node=2",
         "-m", "danlu", "--", "train", *words, "--run", str(tmp_path / "two"), "--with", str(file)],
        capture_output=True, text=True, env=os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    small.go(resolve(words), tmp_path / "one")
    small.close(small.losses(tmp_path / "two"), small.losses(tmp_path / "one"))
