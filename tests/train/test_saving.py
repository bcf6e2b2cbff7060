"""Checkpoints written beside the updates are those that are written at once."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch

from danlu.spec.errors import DanluError
from danlu.train import checkpoint, saving, store, whole
from danlu.train.saving import copied
from tests.train import small
from tests.train.test_kill import KILLS, RUN, killed

WORDS = ["train.steps=9", "train.checkpoint_every=2", "train.evaluate_every=3", "train.evaluate_tokens=400",
         "train.log_every=2", "train.keep=3", "model.tied=true", "train.average=ema"]  # fmt: skip


@pytest.fixture
def corpus(tmp_path: Path) -> Path:
    return small.corpus(tmp_path)


@pytest.fixture
def beside(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[str]]:
    """As on a GPU; the names of the threads that write, one a checkpoint."""
    monkeypatch.setattr(saving, "beside", lambda device: True)
    names: list[str] = []
    save = checkpoint.save

    def named(*given: Any, **settings: Any) -> Path:
        names.append(threading.current_thread().name)
        return save(*given, **settings)

    monkeypatch.setattr(checkpoint, "save", named)
    yield names


def files(run: Path) -> dict[str, bytes]:
    """All tensor files of the checkpoints."""
    return {str(p.relative_to(run)): p.read_bytes() for p in run.glob("checkpoints/*/*.safetensors")}


def test_the_files_are_those_of_a_run_that_waits(
    tmp_path: Path, corpus: Path, beside: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    small.run(corpus, tmp_path / "beside", *WORDS)
    assert beside == ["MainThread"] + ["checkpoint"] * (len(beside) - 1) and len(beside) > 4
    monkeypatch.setattr(saving, "beside", lambda device: False)
    small.run(corpus, tmp_path / "waits", *WORDS)
    assert set(beside[len(beside) // 2 :]) == {"MainThread"}
    small.assert_same(tmp_path / "beside", tmp_path / "waits")
    assert files(tmp_path / "beside") == files(tmp_path / "waits") != {}
    for name in ("beside", "waits"):
        assert not list((tmp_path / name / "checkpoints").glob(".*step*"))


def test_what_is_written_is_what_was_saved_and_one_at_a_time(
    tmp_path: Path, corpus: Path, beside: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The thread is held until the run asks for the next checkpoint, updates later."""
    begin, at, busy = store.begin, [], threading.Semaphore(1)

    def held(run: Path, step: int) -> Path:
        if threading.current_thread() is not threading.main_thread():
            assert busy.acquire(blocking=False)
            assert waited.wait(60)
            waited.clear()
            at.append(step)
            busy.release()
        return begin(run, step)

    waited = threading.Event()
    join = saving.Saver._join

    def joins(saver: saving.Saver) -> None:
        waited.set()
        join(saver)

    monkeypatch.setattr(store, "begin", held)
    monkeypatch.setattr(saving.Saver, "_join", joins)
    small.run(corpus, tmp_path / "beside", *WORDS)
    assert at == sorted(set(at)) and len(at) > 3
    monkeypatch.undo()
    small.run(corpus, tmp_path / "waits", *WORDS)
    small.assert_same(tmp_path / "beside", tmp_path / "waits")


def test_a_full_disk_ends_the_run_at_the_next_save(
    tmp_path: Path, corpus: Path, beside: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    fsync = os.fsync

    def full(file: int) -> None:
        if threading.current_thread() is not threading.main_thread():
            raise OSError(28, "No space left on device")
        fsync(file)

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(DanluError, match="step-3"):
        small.run(corpus, tmp_path / "run", *WORDS)
    monkeypatch.setattr(os, "fsync", fsync)
    assert store.list_steps(tmp_path / "run") == [2]  # whole, and no other
    checkpoint.load(tmp_path / "run")


def test_copies_share_what_is_shared(tmp_path: Path) -> None:
    weight = torch.randn(3, 4)
    named = {"model": {"a": weight, "b": weight, "c": weight.t(), "none": torch.empty(0)}}
    held = copied(named)
    assert held["model"].keys() == named["model"].keys()
    before = {name: tensor.clone() for name, tensor in named["model"].items()}
    assert whole.find_aliases(held["model"]) == whole.find_aliases(named["model"]) == {"b": "a"}
    weight.zero_()
    assert all(torch.equal(held["model"][name], tensor) for name, tensor in before.items())


@pytest.mark.slow
def test_deaths_leave_no_trace(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """kill -9 at any moment, in the thread that writes or in the updates beside it."""
    monkeypatch.setenv("BESIDE", "1")
    told = killed(tmp_path, KILLS, small.words(small.corpus(tmp_path), *RUN))
    assert {"before begin", "before publish", "before replace"} <= set(told["places"])
