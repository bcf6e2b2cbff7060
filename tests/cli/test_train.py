"""``danlu train`` as a person or a script meets it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from danlu.cli.main import main
from danlu.train import evaluate
from danlu.train.trainer import Trainer
from danlu.train.update import Update
from tests.conftest import ROOT
from tests.train import small

RUN = ["train.steps=4", "train.evaluate_every=2", "train.evaluate_tokens=200"]


@pytest.fixture
def corpus(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return small.corpus(tmp_path)


def danlu(*words: str) -> int:
    """The exit code, in this process."""
    with small.quick(), pytest.raises(SystemExit) as ended:
        main(words)
    return int(ended.value.code or 0)


def test_json_is_one_object_on_stdout_and_all_else_is_on_stderr(tmp_path: Path, corpus: Path) -> None:
    command = [sys.executable, "-m", "danlu", "train", *small.words(corpus, *RUN), "--json", "--run", "run"]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    done = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path, env=environment)
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("\n") == 1
    summary = json.loads(done.stdout, parse_constant=lambda name: pytest.fail(f"{name} is no JSON"))
    assert {
        "run", "metric", "loss", "steps", "tokens", "tokens_per_second", "utilisation", "mfu",
        "active_seconds",
        "wall_seconds", "sample",
    } <= set(summary)  # fmt: skip
    assert set(summary["metric"]) == {"name", "value", "unit", "better"}
    assert isinstance(summary["active_seconds"], dict)
    assert summary["run"] == "run" and "stopped" not in summary
    assert "step 1 · loss" in done.stderr and "bits/byte" in done.stderr
    assert "\x1b" not in done.stderr + done.stdout  # piped: no colours, no moving line


def test_what_a_person_reads(corpus: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert danlu("train", *small.words(corpus, *RUN), "--run", "run") == 0
    out = capsys.readouterr().out
    for words in ("bits per byte (best", "after 4 steps", "tokens/s", "run        run", "danlu sample run"):
        assert words in out
    assert danlu("train", *small.words(corpus, *RUN), "--run", "run") == 0
    again = capsys.readouterr()
    assert again.out == out and again.err == "run is finished, 4 steps: nothing left to train\n"


def test_a_stop_says_how_to_go_on(
    corpus: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    import signal

    real = evaluate.to_device

    def stopping(*args: object, **kwargs: object) -> object:
        os.kill(os.getpid(), signal.SIGTERM)
        return real(*args, **kwargs)  # type: ignore[arg-type]

    monkeypatch.setattr(evaluate, "to_device", stopping)
    assert danlu("train", *small.words(corpus, *RUN), "--run", "run", "--json") == 143
    captured = capsys.readouterr()
    assert captured.out == ""
    assert "SIGTERM: saved step 2; the same command with --run run continues\n" in captured.err
    monkeypatch.setattr(evaluate, "to_device", real)
    real_update = Trainer.step

    def interrupting(self: Trainer) -> None:
        os.kill(os.getpid(), signal.SIGINT)
        real_update(self)

    monkeypatch.setattr(Trainer, "step", interrupting)
    assert danlu("train", *small.words(corpus, *RUN), "--run", "run") == 130
    captured = capsys.readouterr()
    assert "resuming after step 2" in captured.err and "SIGINT: saved step 3" in captured.err


def test_a_stop_before_the_first_step_does_not_claim_to_have_saved(
    corpus: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    import signal

    from danlu.train import assemble

    real = assemble.build

    def stopping(*args: object) -> object:
        os.kill(os.getpid(), signal.SIGTERM)
        return real(*args)

    monkeypatch.setattr(assemble, "build", stopping)
    assert danlu("train", *small.words(corpus, *RUN), "--run", "run") == 143
    assert (
        "SIGTERM: nothing was trained yet; the same command with --run run continues"
        in capsys.readouterr().err
    )


def test_not_a_number_is_one_sentence(
    corpus: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    real = Update._read
    monkeypatch.setattr(Update, "_read", lambda self, total, terms: real(self, total * float("nan"), terms))
    assert danlu("train", *small.words(corpus, *RUN), "--run", "run") == 2
    told = [line for line in capsys.readouterr().err.splitlines() if line.startswith("danlu:")]
    assert len(told) == 1 and told[0].startswith("danlu: step 1: the loss is nan; nothing was updated")


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["data.corpus=nowhere.txt"], "there is no corpus 'nowhere.txt'"),
        (["data.context=100000"], "too few for a context of 100000"),
        (["train.microbatch=3"], "train.microbatch = 3 does not divide train.batch = 8"),
        (["train.steps=0"], "train.steps = 0"),
        (["train.steps=none"], "nothing bounds the run"),
        (["train.seed=1e30"], "train.seed"),
        ([f"train.seed={2**63}"], "train.seed: 9223372036854775808 is no seed for PyTorch"),
        (["train.precision=float8"], "train.precision"),
        (["train.clip=-1"], "train.clip"),
        (["train.compile=maybe"], "train.compile"),
        (["train.parallel=tensor"], "train.parallel"),
        (["train.keep=0"], "train.keep"),
        (["train.batsh=4"], "did you mean train.batch?"),
        (["+swigloo"], "swigloo"),
        (["--steps", "3"], "No such option: --steps"),
        (["--run"], "--run"),
        (["--run", "folder"], "holds 'thesis.txt' but no experiment.yaml"),
        (["--run", "folder/thesis.txt"], "cannot write folder/thesis.txt"),
    ],
)
def test_a_mistake_is_one_sentence(
    corpus: Path, capsys: pytest.CaptureFixture[str], words: list[str], said: str
) -> None:
    folder = Path("folder")
    folder.mkdir()
    (folder / "thesis.txt").write_text("mine")
    run = [] if "--run" in words else ["--run", "run"]
    assert danlu("train", *small.words(corpus, *RUN, *words), *run) == 2
    captured = capsys.readouterr()
    told = [line for line in captured.err.splitlines() if line.startswith("danlu:")]
    assert captured.out == "" and len(told) == 1 and said in told[0], captured.err
    assert "Traceback" not in captured.err
    assert not Path("run").exists() and [path.name for path in folder.iterdir() if path.name[0] != "."] == [
        "thesis.txt"
    ]


def test_a_changed_experiment_is_told_with_its_difference(
    corpus: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert danlu("train", *small.words(corpus, *RUN), "--run", "run") == 0
    capsys.readouterr()
    assert danlu("train", *small.words(corpus, *RUN, "train.batch=4"), "--run", "run") == 2
    assert "train.batch is 8 there and 4 here; name another folder" in capsys.readouterr().err


def test_the_folder_of_a_run_without_one_is_named_for_its_recipe_and_ideas(
    corpus: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = small.words(corpus, "train.steps=1")
    assert danlu("train", words[0], "+swiglu", *words[1:], "--json") == 0
    assert json.loads(capsys.readouterr().out)["run"].startswith("runs/tiny+swiglu-")
