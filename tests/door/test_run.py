"""A run from Python is the command's run; what it says; callbacks; how it is followed."""

from __future__ import annotations

import importlib.util
import os
import signal
import sys
from collections.abc import Mapping
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch

import danlu
from danlu.cli.main import main
from danlu.door import progress
from danlu.door.history import History
from danlu.files.json import read_json
from danlu.train import metrics
from danlu.train.load import load_run
from tests.train import small

RUN = ["train.steps=6", "train.evaluate_every=3", "train.evaluate_tokens=200", "train.log_every=2"]


@pytest.fixture
def words(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    monkeypatch.chdir(tmp_path)
    return small.words(small.corpus(tmp_path), *RUN)


def experiment(words: list[str]) -> danlu.spec.Experiment:
    """By keywords, where a later word of a field takes the place of an earlier one."""
    return danlu.experiment(words[0], **dict(word.split("=", 1) for word in words[1:]))


def train(words: list[str], folder: str | None, **more: Any) -> Any:
    with small.quick():
        return danlu.train(experiment(words), folder, **{"progress": False, **more})


def test_it_is_the_run_of_the_command(words: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    run = train(words, "python")
    with small.quick(), pytest.raises(SystemExit):
        main(["train", *words, "--run", "command"])
    small.assert_same(Path("python"), Path("command"))
    assert (Path("python") / "experiment.yaml").read_bytes() == (
        Path("command") / "experiment.yaml"
    ).read_bytes()
    there = read_json(Path("command") / "summary.json")
    assert run.summary["metrics"] == there["metrics"] and run.summary["sample"] == there["sample"]
    assert (run.metric, run.metric.name) == (there["metric"]["value"], "bits_per_byte")
    assert (run.metric.unit, run.metric.better) == ("bits/byte", "lower")
    assert run.state == "finished" and run.experiment == danlu.experiment(*words)
    assert repr(run) == f"<run python: finished, {run.metric:.4f} bits/byte after 6 steps>"


def test_history_is_the_metrics(words: list[str]) -> None:
    run = train([*words, "train.internals_every=4"], "run")
    rows = metrics.read(Path("run") / "metrics.jsonl")
    history = run.history
    assert history["step"] == sorted({row["step"] for row in rows})
    for row in rows:
        place = history["step"].index(row["step"])
        for name, value in {**row, **row.get("inside", {})}.items():
            if name not in ("inside", "seconds"):
                assert history[name][place] == value
    told = sum(value is not None for name in history for value in history[name] if name != "seconds")
    assert told == len({
        (row["step"], name) for row in rows for name in {**row, **row.get("inside", {})}
    } - {(step, name) for step in history["step"] for name in ("inside", "seconds")})  # fmt: skip


def test_rows_of_a_step_are_one() -> None:
    history = History([
        {"step": 1, "seconds": 1.0, "loss": 3.0},
        {"step": 2, "seconds": 2.0, "inside": {"a/b": 5.0}},
        {"step": 2, "seconds": 2.5, "score": 0.5},
    ])  # fmt: skip
    assert history.to_dict() == {
        "step": [1, 2], "seconds": [1.0, 2.0], "loss": [3.0, None], "score": [None, 0.5], "a/b": [None, 5.0],
    }  # fmt: skip
    assert dict(History([])) == {} and repr(history) == "<history of 2 steps, 5 columns>"


@pytest.mark.parametrize("package", ["pandas", "polars"])
def test_frames(package: str, monkeypatch: pytest.MonkeyPatch) -> None:
    history = History([{"step": 1, "loss": 3.0}, {"step": 2, "score": 1}])
    if importlib.util.find_spec(package) is not None:
        frame = getattr(history, f"to_{package}")()
        assert list(frame.columns) == ["step", "loss", "score"] and frame.shape == (2, 3)
        assert frame["loss"][0] == 3.0 and frame["score"][1] == 1
    monkeypatch.setitem(sys.modules, package, None)
    with pytest.raises(danlu.spec.DanluError, match=f"^{package} is not installed: pip install {package}$"):
        getattr(history, f"to_{package}")()


def test_sample_and_model(words: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    run = train(words, "run")
    model, loaded = run.model(), load_run(Path("run"))
    assert not model.training and not any(p.requires_grad for p in model.parameters())
    for name, tensor in loaded.model.state_dict().items():
        assert torch.equal(model.state_dict()[name], tensor)
    with small.quick(), pytest.raises(SystemExit):
        main(["sample", "run", "--prompt", "the", "--tokens", "9"])
    assert run.sample("the", 9) == capsys.readouterr().out.removesuffix("\n")


def test_errors_are_those_of_the_command(words: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    train(words, "run")
    for wrong, setting in (("data.corpus=no.txt", {"corpus": "no.txt"}), ("train.steps=7", {"steps": 7})):
        capsys.readouterr()
        with small.quick(), pytest.raises(SystemExit):
            main(["train", *words, wrong, "--run", "run"])
        said = capsys.readouterr().err.removeprefix("danlu: ").removesuffix("\n")
        with small.quick(), pytest.raises(danlu.spec.DanluError) as error:
            danlu.train(experiment(words), "run", progress=False, **setting)
        assert str(error.value) == said
    with pytest.raises(danlu.spec.DanluError, match=r"^nowhere is not a run's folder"):
        danlu.run("nowhere")


class Count(danlu.Callback):
    """Counts updates and adds up a tensor; asks for a stop at an update."""

    name = "count"

    def __init__(self, stop: int | None = None) -> None:
        self.stop, self.count, self.sum = stop, 0, torch.zeros(2)

    def after_step(self, run: Any) -> None:
        self.count += 1
        self.sum += torch.tensor([run.loss, run.state.step])
        run.write(run.where() | {"count": self.count})
        if self.count == self.stop:
            os.kill(os.getpid(), signal.SIGTERM)

    def state(self) -> int:
        return self.count

    def load_state(self, state: int) -> None:
        self.count = state

    def tensors(self) -> dict[str, dict[str, torch.Tensor]]:
        return {"count": {"sum": self.sum}}

    def load_tensors(self, tensors: Mapping[str, Mapping[str, torch.Tensor]]) -> None:
        self.sum = tensors["count"]["sum"]


def test_a_callback_goes_on_where_it_was(words: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    whole, before, after = Count(), Count(stop=2), Count()
    train(words, "whole", callbacks=[whole])
    stopped = train(words, "cut", callbacks=[before], progress=True)
    assert (stopped.state, stopped.summary["steps"]) == ("stopped", 2)
    assert "SIGTERM: saved step 2; danlu.run('cut').resume() continues\n" in capsys.readouterr().err
    with small.quick():
        resumed = stopped.resume(callbacks=[after], progress=False)
    assert resumed.state == "finished" and after.count == whole.count == 6
    assert torch.equal(after.sum, whole.sum)
    assert small.rows(Path("cut")) == small.rows(Path("whole"))
    assert resumed.history["count"] == [1, 2, 3, 4, 5, 6]


class AtEvaluation(danlu.Callback):
    def after_evaluation(self, run: Any, metrics: Mapping[str, float]) -> None:
        run.end()


class Between(danlu.Callback):
    def between_updates(self, run: Any) -> None:
        if run.state.step == 2:
            run.end()


class AfterStep(danlu.Callback):
    def after_step(self, run: Any) -> None:
        if run.state.step == 2:
            run.end()


@pytest.mark.parametrize(("callback", "steps"), [(AtEvaluation, 3), (Between, 2), (AfterStep, 2)])
def test_a_callback_ends_the_run(
    words: list[str], callback: type[danlu.Callback], steps: int, capsys: pytest.CaptureFixture[str]
) -> None:
    """It is evaluated and saved, and stays finished, also where nobody ends it again."""
    run = train(words, "run", callbacks=[callback()])
    assert (run.state, run.summary["steps"]) == ("finished", steps)
    assert run.metric == run.history["bits_per_byte"][-1] and run.history["step"][-1] == steps
    before = run.summary
    with small.quick():
        again = run.resume()
    assert again.summary == before and "finished" in capsys.readouterr().err


def test_what_a_callback_keeps_has_a_name_of_its_own(words: list[str]) -> None:
    for names in (["clock"], [""], ["mine", "mine"]):
        callbacks = [type("Keeps", (Count,), {"name": name})() for name in names]
        with pytest.raises(danlu.spec.DanluError, match=r"^Keeps.name = .* needs its own name$"):
            train(words, "run", callbacks=callbacks)

    class Model(danlu.Callback):
        def tensors(self) -> dict[str, dict[str, torch.Tensor]]:
            return {"model": {}}

    with pytest.raises(danlu.spec.DanluError, match=r"^Model.tensors: a checkpoint has a file 'model'"):
        train(words, "other", callbacks=[Model()])


def test_a_folder_of_its_own(tmp_path: Path, words: list[str]) -> None:
    settings = {"corpus": tmp_path / "corpus.jsonl", "context": 16, "batch": 2, "steps": 1}
    with small.quick():
        run = danlu.train("nano +swiglu", progress=False, **settings)
    assert run.folder.parent == Path("runs") and run.folder.name.startswith("nano+swiglu-")


def test_a_notebook_has_one_output(words: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    shown: list[tuple[str, str, str]] = []

    def show(kind: str) -> Any:
        return lambda data, raw, display_id: shown.append((kind, display_id, data["text/plain"]))

    display = SimpleNamespace(display=show("display"), update_display=show("update"))
    ipython = SimpleNamespace(get_ipython=lambda: SimpleNamespace(kernel=None), display=display)
    monkeypatch.setitem(sys.modules, "IPython", ipython)
    monkeypatch.setitem(sys.modules, "IPython.display", display)
    train(words, "run", progress=True)
    assert [kind for kind, *_ in shown] == ["display"] + ["update"] * (len(shown) - 1)
    assert len({output for _, output, _ in shown}) == 1
    *messages, line = shown[-1][2].split("\n")
    assert line.startswith("100%  step 6 · ") and "bits/byte" in line and "M parameters" in messages[-1]
    ipython.get_ipython = lambda: SimpleNamespace()  # on a terminal
    assert not progress.in_notebook()


def test_plain_lines_hold_nothing_that_moves(words: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    train(words, "run", progress=True)
    err = capsys.readouterr().err
    assert "step 1 · loss" in err and "bits/byte" in err and "\x1b" not in err and "\r" not in err


class Breaks(danlu.Callback):
    def after_step(self, run: Any) -> None:
        raise ValueError("mine")


def test_an_error_of_a_callback_is_its_own(words: list[str]) -> None:
    """Not taken for damage of a file of the run."""
    with pytest.raises(ValueError, match=r"^mine$"):
        train(words, "run", callbacks=[Breaks()])


@pytest.mark.parametrize("wrong", [danlu.Callback, lambda run: None, 3])
def test_what_is_not_a_callback_is_told(words: list[str], wrong: Any) -> None:
    with pytest.raises(danlu.spec.DanluError, match="is not a callback; give instances of a subclass"):
        train(words, "run", callbacks=[wrong])
