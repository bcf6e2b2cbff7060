"""Runs whose files somebody edited: one sentence that names the file or the tensor, never a traceback."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file

from danlu.files.errors import DanluError
from danlu.files.json import to_json
from danlu.train.load import load_run
from tests.train import small

RUN = ["train.steps=4", "train.checkpoint_every=2", "train.average=ema", "train.log_every=1"]


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("run")
    small.run(small.corpus(folder), folder / "run", *RUN)
    return folder


@pytest.fixture
def run(trained: Path, tmp_path: Path) -> Path:
    shutil.copytree(trained / "run", tmp_path / "run")
    return tmp_path / "run"


def edit(run: Path, change: Callable[[dict[str, Any]], object], step: int = 4) -> None:
    """Change a checkpoint's state and make its sum right again."""
    path = run / "checkpoints" / f"step-{step}" / "state.json"
    content = json.loads(path.read_bytes())["content"]
    change(content)
    sum_ = hashlib.sha256(to_json(content).encode()).hexdigest()
    path.write_text(to_json({"sha256": sum_, "content": content}))


def edit_tensors(run: Path, change: Callable[[dict[str, torch.Tensor]], object], name: str = "model") -> None:
    path = run / "checkpoints" / "step-4" / f"{name}.safetensors"
    tensors = load_file(path)
    change(tensors)
    save_file(tensors, path)
    digest = {"size": path.stat().st_size, "sha256": hashlib.sha256(path.read_bytes()).hexdigest()}
    edit(run, lambda content: content["files"].update({path.name: digest}))


def resume(trained: Path, run: Path) -> None:
    small.run(trained / "corpus.jsonl", run, *(word.replace("steps=4", "steps=6") for word in RUN))


def refused(run: Path, trained: Path, said: str) -> None:
    """Both by what samples and by what goes on with it."""
    with pytest.raises(DanluError, match=said) as found:
        load_run(run, 4)
    assert "\n" not in str(found.value)
    text = (run / "experiment.yaml").read_text()
    (run / "experiment.yaml").write_text(text.replace("steps: 4", "steps: 6"))
    with pytest.raises(DanluError, match=said) as found:
        resume(trained, run)
    assert "\n" not in str(found.value)


STATES: dict[str, tuple[Callable[[dict[str, Any]], object], str]] = {
    "a step below zero": (
        lambda c: c["state"]["position"].update(step=-5), r"position\.step is -5, which is below 0",
    ),
    "units below zero": (lambda c: c["state"]["position"].update(units=-1), r"position\.units is -1"),
    "a position of text": (lambda c: c["state"]["position"].update(step="4"), r"position\.step is text"),
    "a position that is a list": (lambda c: c["state"].update(position=[]), r"position holds a list"),
    "a clock of text": (lambda c: c["state"].update(clock={"train": "1"}), r"clock\.train is text"),
    "no files": (lambda c: c.pop("files"), r"it has no 'files'"),
    "files of null": (lambda c: c.update(files={"model.safetensors": None}), r"holds null, not a mapping"),
    "a layout of no kind": (lambda c: c.update(layout="odd"), r"layout is 'odd'"),
    "another format": (lambda c: c.update(format=99), r"is not of format 1"),
    "an alias of nothing": (lambda c: c["aliases"]["model"].update(x="ghost"), r"has no tensor 'ghost'"),
    "a group without a file": (
        lambda c: c["files"].pop("model.safetensors"), r"does not say what model\.safetensors is",
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", STATES)
def test_a_state_that_was_edited(run: Path, trained: Path, name: str) -> None:
    change, said = STATES[name]
    edit(run, change)
    refused(run, trained, said)


TENSORS: dict[str, tuple[Callable[[dict[str, torch.Tensor]], object], str]] = {
    "missing": (lambda t: t.pop("norm.gain"), "'norm.gain' is missing"),
    "too many": (lambda t: t.update(ghost=torch.zeros(2)), "'ghost' is not of this model"),
    "of another shape": (
        lambda t: t.update({"norm.gain": torch.zeros(3)}), r"'norm\.gain' has the shape \(3,\), not \(16,\)",
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", TENSORS)
def test_tensors_that_were_edited(run: Path, trained: Path, name: str) -> None:
    change, said = TENSORS[name]
    edit_tensors(run, change)
    refused(run, trained, said)


@pytest.mark.parametrize("name", ["optimizer", "average"])
@pytest.mark.parametrize("change", ["rename", "reshape"])
def test_an_optimizer_and_an_average_that_were_edited(
    run: Path, trained: Path, name: str, change: str
) -> None:
    def edited(tensors: dict[str, torch.Tensor]) -> None:
        key = next(key for key, tensor in tensors.items() if tensor.ndim == 2)
        if change == "rename":
            tensors[f"ghost/{key}"] = tensors.pop(key)
        else:
            tensors[key] = tensors[key][:1].clone()

    edit_tensors(run, edited, name)
    with pytest.raises(
        DanluError, match=r"which this model has not|of shape|not of this model|is missing|has the shape"
    ):
        text = (run / "experiment.yaml").read_text()
        (run / "experiment.yaml").write_text(text.replace("steps: 4", "steps: 6"))
        resume(trained, run)


@pytest.mark.parametrize(
    "text", ["null", "[]", "3", '{"sha256": 1}', "[" * 5000, '{"content": ' + "1" * 5000 + "}"]
)
def test_a_state_of_another_shape(run: Path, trained: Path, text: str) -> None:
    (run / "checkpoints" / "step-4" / "state.json").write_text(text)
    refused(run, trained, r"state\.json")


@pytest.mark.parametrize("text", ["null", "[]", "{}", '{"step": "x"}', '{"step": 1e99}', "[" * 5000])
def test_a_pointer_of_another_shape_is_passed_over(run: Path, text: str) -> None:
    (run / "checkpoints" / "latest").write_text(text)
    assert load_run(run).step == 4


EDITS = {
    "model.width": ("width: 16", "width: 32", r"has the shape"),
    "layers": ("layers: 1", "layers: 2", r"is missing"),
    "nonsense": ("layers: 1", "layers: x", r"model\.layers = 'x' is not a whole number"),
    "a pipe": ("", "", r"is a pipe"),
}


@pytest.mark.parametrize("name", EDITS)
def test_an_experiment_that_was_edited(run: Path, name: str) -> None:
    before, after, said = EDITS[name]
    path = run / "experiment.yaml"
    if name == "a pipe":
        path.unlink()
        os.mkfifo(path)
        said = "is not a run's folder"
    else:
        path.write_text(path.read_text().replace(before, after, 1))
    with pytest.raises(DanluError, match=said) as found:
        load_run(run)
    assert "\n" not in str(found.value)


TOKENIZERS = {
    "null": "is not a tokenizer", "[]": "is not a tokenizer", "{": "is not JSON", "[" * 5000: "is not JSON",
    '{"danlu": 1, "kind": "characters", "characters": "ab"}': "has the shape",
    '{"danlu": 1, "kind": "characters", "characters": 3}': "is not a tokenizer",
}  # fmt: skip


@pytest.mark.parametrize("text", TOKENIZERS)
def test_a_tokenizer_that_was_edited(run: Path, text: str) -> None:
    (run / "tokenizer.json").write_text(text)
    with pytest.raises(DanluError, match=TOKENIZERS[text]):
        load_run(run)


@pytest.mark.parametrize(
    "text", ["null", "[]", "{}", '{"data": 3}', '{"data": {}, "choices": {"device": 3}}']
)
def test_an_environment_that_was_edited(run: Path, trained: Path, text: str) -> None:
    (run / "environment.json").write_text(text)
    with pytest.raises(DanluError, match=r"environment\.json"):
        small.run(trained / "corpus.jsonl", run, *RUN)


@pytest.mark.parametrize("text", ["null", "[]", "{}", '{"steps": "many"}'])
def test_a_summary_that_was_edited(run: Path, trained: Path, text: str) -> None:
    (run / "summary.json").write_text(text)
    with pytest.raises(DanluError, match=r"summary\.json"):
        small.run(trained / "corpus.jsonl", run, *RUN)


def test_a_folder_whose_name_is_not_utf_8(trained: Path, tmp_path: Path) -> None:
    with pytest.raises(DanluError, match="is not UTF-8"):
        small.run(trained / "corpus.jsonl", tmp_path / os.fsdecode(b"r\xff"), *RUN)
    assert not list(tmp_path.iterdir())


def test_a_folder_whose_name_is_too_long(trained: Path, tmp_path: Path) -> None:
    with pytest.raises(DanluError, match="choose a shorter name"):
        small.run(trained / "corpus.jsonl", tmp_path / ("r" * 256), *RUN)
