"""The same command two and four times at once: every one ends well, every job is carried out once."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest

from danlu.lab.queue.journal import JOURNAL, read
from danlu.spec import resolve
from danlu.spec.replay import to_yaml
from tests.conftest import LIMIT
from tests.train import small

pytestmark = pytest.mark.slow

SHORT = ["train.steps=6", "train.evaluate_tokens=200", "train.log_every=2"]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    small.corpus(tmp_path)
    words = [*small.SIZE, f"data.corpus={tmp_path / 'corpus.jsonl'}", *SHORT]
    (tmp_path / "base.yaml").write_text(to_yaml(resolve(words)))
    return tmp_path


def at_once(count: int, folder: Path, *words: str) -> list[subprocess.CompletedProcess[str]]:
    command = [sys.executable, "-m", "danlu", *words]
    environment = os.environ | {"DANLU_CACHE": str(folder / "cache")}
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    started = [subprocess.Popen(command, cwd=folder, env=environment, **pipes) for _ in range(count)]  # type: ignore[call-overload]
    try:
        said = [process.communicate(timeout=LIMIT) for process in started]
    finally:
        for process in started:
            process.kill()
    return [
        subprocess.CompletedProcess(command, process.returncode, *each)
        for process, each in zip(started, said, strict=True)
    ]


def all_well(done: list[subprocess.CompletedProcess[str]]) -> None:
    assert [(one.returncode, "Traceback" in one.stderr) for one in done] == [(0, False)] * len(done), [
        one.stderr[-2000:] for one in done
    ]


def each_once(studies: Path, jobs: int) -> None:
    """By the journal: every job was begun once and finished once."""
    events = Counter((row["job"], row["event"]) for row in read(studies / JOURNAL))
    names = {job for job, _ in events}
    assert len(names) == jobs
    assert all(events[name, event] == 1 for name in names for event in ("started", "finished")), events
    assert len(list((studies / "runs").glob("*/summary.json"))) == jobs


def nothing_left(folder: Path) -> None:
    assert [str(path) for path in folder.rglob("*.writing")] == []
    assert [str(path) for path in folder.rglob("*.holder")] == []


@pytest.mark.parametrize("count", [2, 4])
def test_train_in_folders_of_their_own(folder: Path, count: int) -> None:
    done = at_once(count, folder, "train", "base.yaml", "--json")
    all_well(done)
    summaries = [json.loads(one.stdout) for one in done]
    assert len({one["run"] for one in summaries}) == count
    assert len({one["metric"]["value"] for one in summaries}) == 1
    nothing_left(folder)


@pytest.mark.parametrize("count", [2, 4])
def test_train_in_one_folder(folder: Path, count: int) -> None:
    """One trains; another finds it at work, or finished."""
    done = at_once(count, folder, "train", "base.yaml", "--run", "run", "--json")
    assert {one.returncode for one in done} <= {0, 2} and any(one.returncode == 0 for one in done)
    for one in done:
        assert one.returncode == 0 or "is in use by process" in one.stderr, one.stderr
        assert "Traceback" not in one.stderr
    alone = at_once(1, folder, "train", "base.yaml", "--run", "alone")
    all_well(alone)
    small.assert_same(folder / "run", folder / "alone")
    nothing_left(folder)


@pytest.mark.parametrize("count", [2, 4])
def test_sweep(folder: Path, count: int) -> None:
    done = at_once(count, folder, "sweep", "base.yaml", "optimizer.lr=0.01,0.02,0.03", "--json")
    all_well(done)
    assert len({one.stdout for one in done}) == 1
    each_once(folder / "studies", 3)
    nothing_left(folder)


def test_a_search_by_optuna(folder: Path) -> None:
    words = ["optimizer.lr=1e-3..1e-1", "--trials", "4", "--sampler", "tpe", "--json"]
    done = at_once(2, folder, "sweep", "base.yaml", *words)
    all_well(done)
    assert len({one.stdout for one in done}) == 1
    each_once(folder / "studies", 4)
    nothing_left(folder)


@pytest.mark.parametrize("count", [2, 4])
def test_try(folder: Path, count: int) -> None:
    done = at_once(count, folder, "try", "optimizer.lr=0.01", "--on", "base.yaml", "--seeds", "2", "--json")
    all_well(done)
    assert len({one.stdout for one in done}) == 1
    each_once(folder / "studies", 5)  # one of them measures the pace
    (listed,) = at_once(1, folder, "ledger", "--json")
    assert [entry["idea"] for entry in json.loads(listed.stdout)] == ["optimizer.lr=0.01"]  # told once
    nothing_left(folder)


@pytest.mark.parametrize("count", [2, 4])
def test_ladder(folder: Path, count: int) -> None:
    words = ["--budget", "6e9flop", "--rungs", "3", "--tokens-per-parameter", "1", "--json"]
    done = at_once(count, folder, "ladder", "base.yaml", *words)
    all_well(done)
    assert len({one.stdout for one in done}) == 1
    each_once(folder / "studies", 3)
    nothing_left(folder)


@pytest.mark.parametrize("count", [2, 4])
def test_laws_fit_with_one_report(folder: Path, count: int) -> None:
    sizes = [1e5 * 2**i for i in range(8)]
    rows = [f"{n:.0f},{20 * n:.0f},{1.7 + (1e5 / n) ** 0.3}" for n in sizes]
    (folder / "points.csv").write_text("n,d,loss\n" + "\n".join(rows) + "\n")
    words = ["--law", "power", "--column", "x=n", "--resamples", "5", "--report", "report.html", "--json"]
    done = at_once(count, folder, "laws", "fit", "points.csv", *words)
    all_well(done)
    assert len({one.stdout for one in done}) == 1
    page = (folder / "report.html").read_text()
    assert page.startswith("<!doctype html>") and page.rstrip().endswith("</html>")
    nothing_left(folder)
