"""The process that carries out a study holds it to its limits, whoever is gone."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from danlu.files.json import read_json, write_json
from danlu.files.lock import Lock
from danlu.mcp import keeper
from tests.conftest import LIMIT
from tests.mcp.small import ON, TRY

LONG = f"{ON} train.steps=1000000 train.log_every=1000"  # nobody waits for its end
NO_LIMITS = {"seconds": LIMIT, "flops": None, "disk": None}


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def order(question: dict[str, Any], lease: float = LIMIT, **limits: float) -> Path:
    folder = Path("studies/agents/one")
    folder.mkdir(parents=True)
    write_json(
        folder / keeper.ORDER,
        {"question": question, "referee": None, "lease": lease, "limits": NO_LIMITS | limits},
    )
    (folder / keeper.LEASE).touch()
    return folder


def state(folder: Path) -> dict[str, Any]:
    return dict(read_json(folder / keeper.STATE))


def test_a_question_that_danlu_refuses_is_refused() -> None:
    folder = order(TRY | {"ideas": ["train.seed=3"]})
    assert keeper.keep(folder) == "refused"
    assert "pairs share their seeds" in state(folder)["why"] and not (folder / keeper.ANSWER).exists()


def test_a_budget_in_flops_that_is_too_small_is_refused() -> None:
    folder = order(TRY, flops=1e6)
    assert keeper.keep(folder) == "refused"
    said = state(folder)
    assert "1e+06 are left of the server's budget (--max-flops)" in said["why"]
    assert said["planned"]["runs"] == 7  # up to three pairs, and one run whose pace is measured
    assert not Path("studies/runs").exists()


def test_under_a_budget_in_flops_lengths_in_seconds_are_refused() -> None:
    folder = order(TRY | {"budget": "2s"}, flops=1e18)
    assert keeper.keep(folder) == "refused" and "bounded by seconds" in state(folder)["why"]


def test_a_lease_that_is_over_begins_nothing() -> None:
    folder = order(TRY, lease=60)
    os.utime(folder / keeper.LEASE, (0, 0))
    assert keeper.keep(folder) == "stopped"
    assert state(folder)["why"].startswith("no server asked for it in 60 seconds")
    assert not Path("studies/runs").exists()


def test_a_full_disk_begins_nothing() -> None:
    folder = order(TRY, disk=100)
    (folder / "large").write_bytes(b"x" * 101)
    assert keeper.keep(folder) == "stopped" and "--max-disk" in state(folder)["why"]


def test_one_keeper_carries_out_a_study() -> None:
    folder = order(TRY)
    with Lock(folder / keeper.LOCK):
        assert keeper.keep(folder) == "held"
    assert not (folder / keeper.STATE).exists()


def test_laws_end_with_an_answer_and_its_digest() -> None:
    """A question that runs nothing goes the whole way."""
    rows = ["n,d,loss"] + [
        f"{n:g},{d:g},{1.7 + 400 / n**0.34 + 410 / d**0.28}"
        for n in (1e6, 1e7, 1e8)
        for d in (1e8, 1e9, 1e10)
    ]
    Path("points.csv").write_text("\n".join(rows) + "\n")
    folder = order({"kind": "laws", "file": "points.csv", "n": "1e9", "d": "1e11"})
    assert keeper.keep(folder) == "ended", state(folder)
    (found,) = json.loads((folder / keeper.ANSWER).read_text())["predictions"]
    assert found["value"] == pytest.approx(1.7 + 400 / 1e9**0.34 + 410 / 1e11**0.28, rel=1e-3)
    assert state(folder)["answer"] == keeper_digest(folder / keeper.ANSWER)


def test_a_mistake_of_danlu_is_told_as_it_says_it() -> None:
    folder = order({"kind": "laws", "file": "gone.csv"})
    assert keeper.keep(folder) == "failed"
    assert state(folder)["exit_code"] == 2 and "gone.csv" in state(folder)["why"]


def keeper_digest(path: Path) -> str:
    import hashlib

    return hashlib.sha256(path.read_bytes()).hexdigest()


# ---------------------------------------------------------------- processes


def begin(folder: Path) -> subprocess.Popen[bytes]:
    command = [sys.executable, "-P", "-m", "danlu.mcp.keeper", str(folder)]
    return subprocess.Popen(command, start_new_session=True)


def until(folder: Path, what: str) -> None:
    """A run of the study has begun to train, or it stands otherwise."""
    end = time.monotonic() + LIMIT
    while time.monotonic() < end:
        if what == "training" and list(Path("studies/runs").glob("*/metrics.jsonl")):
            return
        if (folder / keeper.STATE).exists() and state(folder)["state"] == what:
            return
        time.sleep(0.1)
    raise AssertionError(f"not {what}")


@pytest.mark.slow
@pytest.mark.parametrize("how", ["signal", "lease"])
def test_a_study_that_runs_is_ended_and_leaves_nothing_running(how: str) -> None:
    """SIGTERM to danlu saves its runs; no process of the session is left."""
    folder = order(TRY | {"on": LONG})
    process = begin(folder)
    try:
        until(folder, "training")
        if how == "signal":
            process.terminate()
        else:
            os.utime(folder / keeper.LEASE, (0, 0))
        process.wait(LIMIT)
        with pytest.raises(ProcessLookupError):
            os.killpg(process.pid, 0)
    finally:
        end(process)
    said = state(folder)
    assert said["state"] == "stopped" and said["exit_code"] == 143
    assert {"signal": "told to stop", "lease": "no server asked"}[how] in said["why"]
    assert any(Path("studies/runs").glob("*/summary.json"))


@pytest.mark.slow
def test_seconds_are_held_while_it_runs() -> None:
    folder = order(TRY | {"on": LONG}, seconds=12)
    process = begin(folder)
    try:
        process.wait(LIMIT)
    finally:
        end(process)
    said = state(folder)
    assert said["state"] == "stopped" and "12 seconds" in said["why"] and said["seconds"] >= 12


def end(process: subprocess.Popen[bytes]) -> None:
    """Nothing of its session outlives a test; and nothing had to be killed where it ended by itself."""
    try:
        os.killpg(process.pid, signal.SIGKILL)
    except ProcessLookupError:
        return
    process.wait(LIMIT)
