"""Ideas as a person writes them, and what a study refuses to compare."""

from __future__ import annotations

from pathlib import Path

import pytest

from danlu.lab.errors import LabError
from danlu.lab.trial.arms import read_idea, read_sides
from danlu.spec import resolve
from danlu.spec.errors import DanluError, SpecError


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("qk-norm", ["+qk-norm"]),
        ("+qk-norm", ["+qk-norm"]),
        ("qk-norm+swiglu", ["+qk-norm", "+swiglu"]),
        ("+qk-norm +swiglu", ["+qk-norm", "+swiglu"]),
        ("optimizer.beta2=0.99", ["optimizer.beta2=0.99"]),
        ("lion optimizer.lr=1e-3", ["+lion", "optimizer.lr=1e-3"]),
        ("qk-norm+z-loss", ["+qk-norm", "+z-loss"]),  # a penalty changes nothing that is measured
        ("objective.z_loss=1e-3", ["objective.z_loss=1e-3"]),
    ],
)
def test_ways_of_writing(text: str, words: list[str]) -> None:
    _, found = read_sides("nano", [text])
    ((idea, variant),) = found.items()
    assert list(idea.words) == words
    assert variant == resolve(["nano", *words])
    assert idea.statement


def test_a_file_is_laid_over_the_baseline(tmp_path: Path) -> None:
    fields, idea = tmp_path / "fields.yaml", tmp_path / "own.yaml"
    fields.write_text("model:\n  norm: {kind: layer, bias: false}\noptimizer.lr: 2e-3\n")
    idea.write_text("statement: wider is better\npatch:\n  model.width: 96\n")
    baseline, found = read_sides("nano train.steps=50", [str(fields), str(idea)])
    of_fields, of_idea = found.values()
    same = ["nano", "train.steps=50", "model.norm={kind: layer, bias: false}", "optimizer.lr=2e-3"]
    assert of_fields == resolve(same)
    assert of_idea.model.width == 96 and of_idea.optimizer == baseline.optimizer
    assert [one.statement for one in found][1] == "wider is better"
    assert [one.name for one in found] == ["+fields", "+own"]


@pytest.mark.parametrize(
    ("idea", "sentence"),
    [
        ("qk-nrm", "did you mean .?qk-norm"),
        ("model.norm.kind=rms", "changes nothing on nano: both sides would be the same run"),
        ("rms-norm", "changes nothing"),
        ("train.steps=9", "the length of the runs is --budget's"),
        ("train.seed=9", "their number is --seeds"),
        ("masked-lm", "not of the same thing"),
        ("data.corpus=elsewhere.txt", "different held-out examples; set it in --on"),
        ("train.evaluate_tokens=none", "different held-out examples"),
        ("prefix-lm+z-loss", "not of the same thing"),
        ("train.compile=true", "a study sets it itself"),
        ("model.widht=3", "did you mean .*width"),
        ("absent.yaml", "absent.yaml is missing"),
        ("'objective={kind: prefix, length: 8}'", "not of the same thing"),
        ("sgd+prefix-lm", "not of the same thing"),
        ("", "an idea without a word"),
        ("swiglu+", "nothing where an idea is joined by"),
        ("optimizer.lr", "gives it a value: 'optimizer.lr=VALUE'"),
    ],
)
def test_refused_in_a_sentence(idea: str, sentence: str) -> None:
    with pytest.raises(DanluError, match=sentence):
        read_sides("nano", [idea])


def test_an_idea_is_given_once_and_at_least_one() -> None:
    with pytest.raises(LabError, match="given twice"):
        read_sides("nano", ["swiglu", "+swiglu"])
    with pytest.raises(LabError, match="nothing to try"):
        read_sides("nano", [])
    with pytest.raises(SpecError, match="no recipe"):
        read_sides("nanno", ["swiglu"])
    with pytest.raises(LabError, match="--on is empty"):
        read_sides("", ["swiglu"])


def test_a_file_without_a_change_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "empty.yaml"
    path.write_text("statement: nothing\npatch:\n")
    with pytest.raises(SpecError, match="patch = none is not a mapping of fields"):
        read_idea(str(path))


def test_a_file_joins_an_idea_and_is_relative_to_the_baseline(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "half.yaml").write_text("model.mixer.window: = data.context / 2\n")
    for text in ("half.yaml+swiglu", "+half.yaml +swiglu", "swiglu+./half.yaml"):
        _, found = read_sides("nano data.context=32", [text])
        ((idea, variant),) = found.items()
        assert variant.model.mixer.window == 16 and variant.model.feed_forward.kind == "glu"
        assert set(idea.name.split("+")) == {"", "half", "swiglu"}
