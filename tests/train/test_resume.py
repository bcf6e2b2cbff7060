"""Interrupted politely or not, and gone on with: the same run; and what is refused."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from danlu.data import DataError
from danlu.objectives import Language
from danlu.spec import resolve
from danlu.train import assemble, checkpoint, evaluate, metrics, store
from danlu.train import run as runs
from danlu.train.errors import RunError
from danlu.train.interrupt import Interrupt
from danlu.train.trainer import Trainer
from danlu.train.update import Update
from tests.conftest import LIMIT, ROOT
from tests.train import small

RUN = [
    "train.steps=8", "train.evaluate_every=4", "train.checkpoint_every=5", "train.keep=9",
    "train.log_every=3", "model.dropout=0.1", "train.evaluate_tokens=400",
]  # fmt: skip


@pytest.fixture
def corpus(tmp_path: Path) -> Path:
    return small.corpus(tmp_path)


@pytest.fixture
def whole(tmp_path: Path, corpus: Path) -> Path:
    small.run(corpus, tmp_path / "whole", *RUN)
    return tmp_path / "whole"


def at_call(patch: pytest.MonkeyPatch, owner: Any, name: str, number: int, do: Callable[[], object]) -> None:
    """``do`` at the start of the ``number``-th call."""
    real, count = getattr(owner, name), 0

    def call(*args: Any, **kwargs: Any) -> Any:
        nonlocal count
        count += 1
        if count == number:
            do()
        return real(*args, **kwargs)

    patch.setattr(owner, name, call)


def terminate() -> None:
    os.kill(os.getpid(), signal.SIGTERM)


class Died(BaseException):
    """kill -9, as far as the process that is not there any more is concerned."""


def die() -> None:
    raise Died


def dies_and_goes_on(experiment: Any, folder: Path, patch: pytest.MonkeyPatch) -> None:
    """A run that dies as its sixth update begins, and is carried on."""
    at_call(patch, Trainer, "step", 6, die)
    with pytest.raises(Died):
        small.go(experiment, folder)
    patch.undo()
    small.go(experiment, folder)


def assert_same_but_steps(one: Path, other: Path) -> None:
    """The last checkpoint and the metrics; an interrupted run also saved where it was interrupted."""
    assert store.latest_step(one) == store.latest_step(other)
    (here, state), (there, its_state) = small.left(one), small.left(other)
    assert state == its_state and here.keys() == there.keys()
    assert all(here[name].equal(there[name]) for name in here)
    assert small.rows(one) == small.rows(other)


# ------------------------------------------------------------ signals


@pytest.mark.parametrize(
    ("owner", "name", "number", "saved"),
    [
        (Trainer, "step", 3, 3),  # in training
        (evaluate, "to_device", 2, 4),  # in the first evaluation
        (evaluate, "to_device", 6, 8),  # in the last
        (Trainer, "save", 1, 4),  # in a checkpoint
    ],
    ids=["training", "evaluation", "last evaluation", "checkpoint"],
)
def test_sigterm(
    tmp_path: Path, corpus: Path, whole: Path, monkeypatch: pytest.MonkeyPatch,
    owner: Any, name: str, number: int, saved: int,
) -> None:  # fmt: skip
    passes = len(small.rows(whole))  # read before anything is patched
    assert passes
    run = tmp_path / "run"
    at_call(monkeypatch, owner, name, number, terminate)
    summary = small.run(corpus, run, *RUN)
    monkeypatch.undo()
    assert (summary["stopped"], summary["steps"], summary["sample"]) == ("SIGTERM", saved, None)
    assert store.latest_step(run) == (saved or None)
    assert json.loads((run / "summary.json").read_text())["stopped"] == "SIGTERM"
    done = small.run(corpus, run, *RUN)
    assert done["stopped"] is None
    assert_same_but_steps(whole, run)
    assert store.list_steps(run) == sorted({*store.list_steps(whole), *([saved] if saved else [])})


@pytest.mark.parametrize(("number", "signal_"), [(signal.SIGTERM, "SIGTERM"), (signal.SIGINT, "SIGINT")])
@pytest.mark.parametrize(
    ("owner", "name", "begun"),
    [(runs.data, "prepare", False), (Language, "held_out", False), (assemble, "build", True)],
    ids=["data", "held out", "network"],
)
def test_a_signal_before_the_first_update_is_heeded_at_once(
    tmp_path: Path, corpus: Path, whole: Path, monkeypatch: pytest.MonkeyPatch,
    owner: Any, name: str, begun: bool, number: int, signal_: str,
) -> None:  # fmt: skip
    """What stands in the way is not called again: nothing comes after the signal but the end."""
    run = tmp_path / "run"

    def send(*_: object, **__: object) -> None:
        os.kill(os.getpid(), number)
        pytest.fail("the signal was not heeded")

    monkeypatch.setattr(owner, name, send)
    summary = small.run(corpus, run, *RUN)
    monkeypatch.undo()
    assert summary == {"run": str(run) if begun else None, "steps": 0, "sample": None, "stopped": signal_}
    assert run.exists() == begun and not (run / "summary.json").exists()
    small.run(corpus, run, *RUN)
    small.assert_same(whole, run)
    monkeypatch.setattr(owner, name, send)
    summary = small.run(corpus, run, *RUN)
    assert summary == {"run": str(run), "steps": 8, "sample": None, "stopped": signal_}


def test_a_request_from_a_thread_before_the_first_update_is_heeded_at_once(
    tmp_path: Path, corpus: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As a worker gets it whose queue is gone."""
    interrupt = Interrupt()

    def request(*_: object, **__: object) -> None:
        thread = threading.Thread(target=interrupt.request, args=[signal.SIGTERM])
        thread.start()
        thread.join()
        pytest.fail("the request was not heeded")

    monkeypatch.setattr(runs.data, "prepare", request)
    experiment = resolve(small.words(corpus, *RUN))
    summary = runs.train(experiment, tmp_path / "run", small.Told(), interrupt=interrupt)
    assert summary is not None and summary["stopped"] == "SIGTERM"
    assert runs.train(experiment, tmp_path / "run", small.Told(), interrupt=interrupt) == summary


@pytest.mark.parametrize("last", [False, True])
def test_sigterm_in_an_evaluation_and_death_in_its_repetition(
    tmp_path: Path, corpus: Path, whole: Path, monkeypatch: pytest.MonkeyPatch, last: bool
) -> None:
    """The repeated evaluation's row reached the disk, the checkpoint that knows of it did not."""
    run = tmp_path / "run"
    at_call(monkeypatch, evaluate, "to_device", 6 if last else 2, terminate)
    assert small.run(corpus, run, *RUN)["stopped"] == "SIGTERM"
    monkeypatch.undo()
    for _ in range(2):
        at_call(monkeypatch, store, "publish", 1, die)
        with pytest.raises(Died):
            small.run(corpus, run, *RUN)
        monkeypatch.undo()
    step = store.latest_step(run)
    assert any(row["step"] == step and "bits_per_byte" in row for row in metrics.read(run / "metrics.jsonl"))
    small.run(corpus, run, *RUN)
    assert_same_but_steps(whole, run)


def test_the_best_is_known_after_an_evaluation_cut_off(
    tmp_path: Path, corpus: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its checkpoint was saved before the outcome; a death right after must not forget the outcome."""
    run = tmp_path / "run"
    at_call(monkeypatch, evaluate, "to_device", 6, terminate)
    small.run(corpus, run, *RUN)
    monkeypatch.undo()
    small.run(corpus, run, *RUN)
    _, state = checkpoint.load(run)
    best = state["position"]["best_step"]
    assert best == 8 and state["position"]["evaluated"] == 8
    from danlu.train.load import load_run

    assert load_run(run).step == 8


def test_death_between_checkpoints(
    tmp_path: Path, corpus: Path, whole: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = tmp_path / "run"
    for call in (7, 3, 2):  # in updates 7, then 7 again, then 8
        at_call(monkeypatch, Update, "gradients", call, die)
        with pytest.raises(Died):
            small.run(corpus, run, *RUN)
        monkeypatch.undo()
    small.run(corpus, run, *RUN)
    small.assert_same(whole, run)


# ------------------------------------------------------------ signals to the command


@pytest.mark.slow
def test_signals_to_the_command_set_its_exit_code(tmp_path: Path, corpus: Path) -> None:
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    words = small.words(corpus, "train.steps=1000000", "train.log_every=1")
    command = [sys.executable, "-m", "danlu", "train", *words, "--run", "run"]
    reached = 0
    for number, code, name in [(signal.SIGTERM, 143, "SIGTERM"), (signal.SIGINT, 130, "SIGINT")]:
        process = subprocess.Popen(
            command, stderr=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd=tmp_path, env=environment
        )
        assert process.stderr is not None
        try:
            heard = []
            for line in process.stderr:  # its lines come when something happened: nothing to wait for
                heard.append(line)
                if " step " in f" {line.replace('%', '% ')}" and "loss" in line:
                    break
            process.send_signal(number)
            out, rest = process.communicate(timeout=LIMIT)
        finally:
            process.kill()
        assert process.returncode == code, rest
        assert out == "" and "Traceback" not in rest
        step = store.latest_step(tmp_path / "run")
        assert step is not None and step > reached
        assert f"{name}: saved step {step}; the same command with --run run continues" in rest
        if reached:
            assert f"resuming after step {reached}" in "".join(heard)
        reached = step


# ------------------------------------------------------------ a run that is over


def test_a_finished_run_is_left_as_it_is(tmp_path: Path, corpus: Path, whole: Path) -> None:
    files = {path: path.read_bytes() for path in whole.rglob("*") if path.is_file()}
    told = small.Told()
    summary = small.run(corpus, whole, *RUN, told=told)
    assert told.messages == [f"{whole} is finished, 8 steps: nothing left to train"] and told.rows == []
    assert summary == json.loads((whole / "summary.json").read_text())
    assert {path: path.read_bytes() for path in whole.rglob("*") if path.is_file()} == files


def test_a_run_that_lost_its_summary_writes_it_again(tmp_path: Path, corpus: Path, whole: Path) -> None:
    before = json.loads((whole / "summary.json").read_text())
    (whole / "summary.json").unlink()
    again = small.run(corpus, whole, *RUN)
    timed = {name for name in before if "second" in name or name in ("utilisation", "mfu")}
    for name in before.keys() - timed:
        assert again[name] == before[name]


# ------------------------------------------------------------ refused


def test_a_changed_specification_is_refused_with_its_difference(corpus: Path, whole: Path) -> None:
    with pytest.raises(RunError, match=r"train\.batch is 8 there and 4 here; name another folder") as caught:
        small.run(corpus, whole, *RUN, "train.batch=4", "optimizer.lr=0.5")
    assert "optimizer.lr is 0.02 there and 0.5 here; " in str(caught.value)


def test_a_run_that_never_began_may_be_put_right(tmp_path: Path, corpus: Path) -> None:
    """A mistake found before the first step leaves nothing that would refuse its correction."""
    run = tmp_path / "run"
    with pytest.raises(DataError, match="there is no corpus"):
        small.run(tmp_path / "typo.jsonl", run, *RUN)
    assert not run.exists()
    with pytest.raises(RunError):
        run.mkdir()
        (run / ".lock").touch()
        small.go(resolve(small.words(corpus, *RUN, "train.device=cuda")), run)
    (run / "experiment.yaml").write_text("train: {steps: 3}\n")  # killed right after it was written
    small.run(corpus, run, *RUN)
    assert resolve([str(run)]) == resolve(small.words(corpus, *RUN))


def test_a_changed_corpus_is_refused(tmp_path: Path, corpus: Path, whole: Path) -> None:
    before = corpus.read_bytes()
    corpus.write_bytes(before.replace(b"cat", b"cow"))
    with pytest.raises(RunError, match="was trained on other data: the corpus"):
        small.run(corpus, whole, *RUN)
    corpus.unlink()
    with pytest.raises(DataError, match="there is no corpus"):
        small.run(corpus, whole, *RUN)
    corpus.write_bytes(before)  # another time of change: the same data
    small.run(corpus, whole, *RUN)


def test_the_corpus_may_move(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for folder in ("here", "there"):
        (tmp_path / folder).mkdir()
        small.corpus(tmp_path / folder)
    told = small.Told()
    monkeypatch.chdir(tmp_path / "here")
    at_call(monkeypatch, Trainer, "step", 3, terminate)
    assert small.run(Path("corpus.jsonl"), tmp_path / "run", *RUN)["stopped"] == "SIGTERM"
    monkeypatch.undo()
    monkeypatch.chdir(tmp_path / "there")
    small.run(Path("corpus.jsonl"), tmp_path / "run", *RUN, told=told)
    assert not [text for text in told.messages if "warning" in text]


@pytest.mark.parametrize("how", ["truncated", "altered", "missing"])
def test_a_damaged_checkpoint_is_named_and_the_whole_one_before(
    tmp_path: Path, corpus: Path, whole: Path, how: str
) -> None:
    (whole / "summary.json").unlink()
    path = whole / "checkpoints" / "step-8" / "model.safetensors"
    data = path.read_bytes()
    if how == "missing":
        path.unlink()
    else:
        path.write_bytes(data[:-7] if how == "truncated" else data[:-9] + bytes([data[-9] ^ 4]) + data[-8:])
    with pytest.raises(RunError, match=rf"model\.safetensors .*{how}.*step 5 is whole: delete .*step-8"):
        small.run(corpus, whole, *RUN)
    for file in path.parent.iterdir():
        file.unlink()
    path.parent.rmdir()
    small.run(corpus, tmp_path / "clean", *RUN)
    small.run(corpus, whole, *RUN)  # as it says
    small.assert_same(whole, tmp_path / "clean")


def test_another_environment_is_said_and_goes_on(
    tmp_path: Path, corpus: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = tmp_path / "run"
    at_call(monkeypatch, Trainer, "step", 3, terminate)
    small.run(corpus, run, *RUN)
    monkeypatch.undo()
    record = json.loads((run / "environment.json").read_text())
    record["versions"]["torch"] = "2.11.0"
    (run / "environment.json").write_text(json.dumps(record))
    told = small.Told()
    small.run(corpus, run, *RUN, told=told)
    assert any("torch: 2.11.0 before" in text and "not bit for bit" in text for text in told.messages)
