"""docs/training.md as it is written: its experiments, its callback, the files of a run's folder."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

import danlu
from danlu.spec import Experiment, resolve
from danlu.train import callbacks, compiling
from tests.conftest import ROOT
from tests.train import small

PAGE = (ROOT / "docs" / "training.md").read_text(encoding="utf-8")
PYTHON = re.findall(r"^```python\n(.*?)^```", PAGE, flags=re.MULTILINE | re.DOTALL)


def test_the_experiments_are_experiments() -> None:
    commands = re.findall(r"^danlu train (.*?) *(?:--run .*)?(?:#.*)?$", PAGE, flags=re.MULTILINE)
    assert len(commands) >= 2
    assert all(isinstance(resolve(words.split()), Experiment) for words in commands)


def test_every_method_of_a_callback_is_in_the_table() -> None:
    rows = re.findall(r"^\| `(\w+)\(run.*?\)` \|", PAGE, flags=re.MULTILINE)
    methods = {name for name, what in vars(callbacks.Callback).items() if callable(what) and name[0] != "_"}
    assert set(rows) == methods - {"state", "load_state", "tensors", "load_tensors"}


def test_the_callback(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As written, on a text that a few updates learn."""
    monkeypatch.chdir(tmp_path)
    (own,) = [text for text in PYTHON if "class StopAt" in text]
    (call,) = [text for text in PYTHON if "StopAt(3.0)" in text]
    assert len(own.splitlines()) <= 15
    little = {"model.layers": 1, "context": 32, "corpus": "synthetic:reverse-3", "evaluate_tokens": 1000}
    exec(own + call.replace("callbacks=", "progress=False, **little, callbacks="), {"little": little})
    losses = [row["loss"] for row in small.rows(tmp_path / "runs" / "stopped") if "loss" in row]
    run = danlu.run("runs/stopped")
    assert run.summary["loss"] < 3.0 < losses[0] and run.summary["steps"] < 200


def test_the_numbers_about_compiling() -> None:
    said = re.findall(r"saving, (\d+) %|about (\d+) seconds the first|and (\d+) seconds once", PAGE)
    numbers = [float(text) for match in said for text in match if text]
    assert numbers == [100 * compiling.SAVED, compiling.COLD, compiling.WARM]
    assert "twice the cost" in PAGE and compiling.PAYS == 2.0
    seconds = [compiling.PAYS * cost / compiling.SAVED for cost in (compiling.COLD, compiling.WARM)]
    assert seconds == pytest.approx([180, 20], rel=0.1)  # "three minutes or more", "20 seconds or more"


def test_the_folder_is_that_of_a_run(tmp_path: Path) -> None:
    pytest.importorskip("torch")
    corpus = tmp_path / "text.txt"
    corpus.write_text("".join(f"line {n} of a text\n" for n in range(2000)))
    small.go(resolve(["nano", f"data.corpus={corpus}", "data.context=32", "train.steps=2"]), tmp_path / "run")
    start = PAGE.index("## The run's folder")
    named = re.findall(r"^\| `([\w.]+)/?", PAGE[start:], flags=re.MULTILINE)
    missing = [name for name in named if not (tmp_path / "run" / name).exists()]
    assert len(named) == 7 and missing == ["samples"]  # which text has not
