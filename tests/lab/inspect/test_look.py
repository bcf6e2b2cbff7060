"""A folder is looked into: the same numbers by whichever way one asks."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
import torch

from danlu.cli.schemas import SCHEMAS
from danlu.files.json import misfit
from danlu.inspection import weighing
from danlu.inspection.table import STATISTICS
from danlu.interop import to_huggingface
from danlu.lab.errors import LabError
from danlu.lab.inspect import Reads, inspect, over_checkpoints, report
from danlu.lab.inspect.words import tables
from danlu.lab.measures import of_run
from danlu.spec import resolve
from danlu.train.load import load_run
from tests.chinese import left, texts
from tests.cli.test_train import danlu
from tests.train import small

LLAMA = ["optimizer=adamw", "model.mixer.qk_norm=none", "+swiglu"]


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("inspect")
    more = ["train.steps=4", "train.checkpoint_every=2", "train.keep=3", "train.internals_every=2"]
    small.run(small.corpus(folder), folder / "run", *more, "model.layers=2", *LLAMA)
    return folder / "run"


def test_what_is_found_is_what_the_measures_say(run: Path) -> None:
    found = inspect(run)
    names = ["kurtosis", "attention-to-first", "max-logit", "logit-rms", "sink-rate", "dead-units"]
    measures = of_run(run, names)
    means = {
        name: sum(found.of(statistic).values()) / 2
        for name, statistic in (("kurtosis", "kurtosis"), ("attention-to-first", "attention-to-first"),
                                ("sink-rate", "sink-rate"), ("dead-units", "dead"))
    }  # fmt: skip
    for name, mean in means.items():
        assert measures[name] == pytest.approx(mean, rel=1e-5)
    scores = found.of("logits")
    assert measures["logit-rms"] == pytest.approx(scores.pop("out"), rel=1e-5)
    assert measures["max-logit"] == pytest.approx(max(scores.values()), rel=1e-5)
    rows = small.rows(run)
    last = [row["inside"] for row in rows if "inside" in row][-1]
    assert found.of("update")["blocks.0.mixer"] == last["update/blocks.0.mixer"]


def test_a_folder_of_transformers_has_what_the_run_has(run: Path, tmp_path: Path) -> None:
    to_huggingface(run, tmp_path / "out", step=4)
    reads = Reads(rows=4, corpus=str(run.parent / "corpus.jsonl"))
    ours, theirs = (inspect(folder, reads=reads) for folder in (run, tmp_path / "out"))
    assert theirs.size == ours.size == 16 and theirs.rows == ours.rows == 4
    same = {key: value for key, value in ours.values.items() if not key.startswith("update/")}
    assert theirs.values == pytest.approx(same, rel=1e-3, abs=1e-6)
    names = ["weight-rms"]
    assert of_run(tmp_path / "out", names) == pytest.approx(of_run(run, names), rel=1e-6)
    with pytest.raises(LabError, match="holds one model and no checkpoints"):
        inspect(tmp_path / "out", step=2)


def test_over_checkpoints(run: Path) -> None:
    two, four = over_checkpoints(run, reads=Reads(rows=2))
    assert (two.step, four.step) == (2, 4) and not two.of("change")
    before, after = (load_run(run, step).model for step in (2, 4))
    expected = weighing.changes(before, after)
    assert {f"change/{layer}": value for layer, value in four.of("change").items()} == expected
    alone = inspect(run, 2, reads=Reads(rows=2))
    assert alone.of("kurtosis") == two.of("kurtosis") and alone.of("gradient") == two.of("gradient")
    page = report([two, four], over_steps=True)
    zh = report([two, four], over_steps=True, language="zh")
    names = (str(run), "embedding", "readout", *STATISTICS, *(f"{name}-rest" for name in STATISTICS))
    assert left(texts(zh), names) == []
    assert page.count("<svg") > 20 and "Layers over steps" in page and "--checkpoints" in page


def test_gradients_are_left_out_and_the_text_may_be_short(run: Path) -> None:
    found = inspect(run, reads=Reads(rows=3, context=8), gradients=False)
    assert (found.rows, found.size) == (3, 8) and not found.of("gradient")
    assert all(torch.isfinite(torch.tensor(list(found.values.values()))))


def test_the_verb(run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    page = tmp_path / "inside.html"
    assert danlu("inspect", str(run), str(run), "--rows", "2", "--out", str(page)) == 0
    out = capsys.readouterr().out
    assert "outliers of the stream" in out and "blocks.1.feed_forward" in out and " | " in out
    assert "What differs most" in page.read_text(encoding="utf-8")
    for more in (["--rows", "2"], ["--measure", "kurtosis", "--measure", "loss"]):
        assert danlu("inspect", str(run), *more, "--json") == 0
        assert misfit(json.loads(capsys.readouterr().out), SCHEMAS["inspect"].shape) == ""


def test_numbers_that_are_predicted_are_no_logits(tmp_path: Path) -> None:
    """In an inspection, in what a run wrote of itself, and to a measure."""
    words = ["flow-8gaussians", "width=8", "steps=1", "samples=16", "evaluate_tokens=16", "internals_every=1"]
    small.go(resolve(words), tmp_path / "run")
    found = inspect(tmp_path / "run")
    assert found.of("branch").keys() == {"out"} and not found.of("logz") and not found.of("logits")
    (inside,) = [row["inside"] for row in small.rows(tmp_path / "run") if "inside" in row]
    assert "branch/out" in inside and not {"logits/out", "logz/out", "logits-max/out"} & inside.keys()
    ((_, rows),) = [one for one in tables([found]) if one[0] == "output"]
    assert [row[0] for row in rows] == ["", "RMS of the output"]


WRONG = {
    "three": (["{run}", "{run}", "{run}"], "3 folders were named"),
    "none": (["{run}/none"], "is not a run's folder|holds no checkpoint"),
    "steps": (["{run}", "--checkpoints", "--step", "2"], "--checkpoints is of one run"),
    "step": (["{run}", "--step", "3"], "3"),
    "measure": (["{run}", "--measure", "kurtosiss"], "did you mean kurtosis"),
    "context": (["{run}", "--context", "1"], "--context"),
}


@pytest.mark.parametrize("case", WRONG)
def test_a_mistake_is_one_sentence(case: str, run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words, said = WRONG[case]
    assert danlu("inspect", *(word.format(run=run) for word in words)) == 2
    found = capsys.readouterr()
    assert found.out == "" and len(found.err.strip().split("\n")) == 1
    assert re.search(said, found.err), found.err
