"""A study over sizes, end to end, on networks that learn in a second."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from danlu.cli.schemas import SCHEMAS
from danlu.files.json import misfit
from danlu.lab import ledger
from danlu.lab.across import Question, try_across
from danlu.lab.across.report import report
from danlu.lab.across.terminal import details, sentence, table
from danlu.lab.trial.kept import kept
from danlu.spec.errors import DanluError

ON = (
    "nano model.width=16 model.mixer.heads=2 model.layers=1 data.context=16 train.steps=25 "
    "train.evaluate_tokens=2048 schedule.warmup=0.02 optimizer.lr=0.03"
)


@pytest.mark.slow
def test_an_idea_over_two_sizes(tmp_path: Path) -> None:
    question = Question(("constant",), on=ON, rungs=2)
    answer = try_across(question, tmp_path, show=False, book=tmp_path / "ledger.yaml")
    (idea,) = answer.ideas
    result = json.loads((answer.study.path / "result.json").read_text())
    rungs = result["ideas"][0]["rungs"]
    assert [len(rung["pairs"]) for rung in rungs] == [5, 5]
    for rung, least in zip(rungs, (10, 2), strict=True):
        assert rung["baseline"]["trials"] == rung["variant"]["trials"] >= least
        mean = sum(pair["variant"] - pair["baseline"] for pair in rung["pairs"]) / 5
        assert rung["difference"] == pytest.approx(mean)
    assert idea.regime is not None and idea.regime.early
    if idea.verdict != "void":
        assert idea.said.endswith("(early)")
    # A schedule costs no time, so that time and FLOPs say the same.
    assert [gain.value for gain in idea.timed] == [gain.value for gain in idea.gains]
    assert "constant" in sentence(idea, answer) and len(table(answer)) == 3
    assert any("Cost:" in line for line in details(answer))
    assert report(answer).startswith("<!DOCTYPE html>") or "<svg" in report(answer)
    (entry,) = ledger.read(tmp_path / "ledger.yaml")
    assert entry.verdict == idea.verdict and entry.regime is not None and entry.regime.early
    runs = sorted(path.name for path in (tmp_path / "runs").iterdir())
    pairs = kept(answer.study.path)  # for the page that follows it
    assert [(row["idea"], row["at"], len(row["runs"])) for row in pairs] == [
        ("+constant", "rung 0", 5), ("+constant", "rung 1", 5)
    ]  # fmt: skip
    assert {run[side] for row in pairs for run in row["runs"] for side in ("baseline", "variant")} <= {*runs}
    again = try_across(question, tmp_path, show=False, book=tmp_path / "ledger.yaml")
    assert again.json() == answer.json()
    assert misfit([one.json() for one in answer.ideas], SCHEMAS["try"].shape) == ""
    assert sorted(path.name for path in (tmp_path / "runs").iterdir()) == runs


def test_what_cannot_be_asked_is_refused_before_anything_runs(tmp_path: Path) -> None:
    with pytest.raises(DanluError, match="changes nothing"):
        try_across(Question(("rotary",), on=ON), tmp_path, show=False, book=tmp_path / "ledger.yaml")
    with pytest.raises(
        DanluError, match="lr=1e-3 sets nothing but a rate, and over sizes each side gets its own"
    ):
        try_across(
            Question(("optimizer.lr=1e-3",), on=ON), tmp_path, show=False, book=tmp_path / "ledger.yaml"
        )
    with pytest.raises(DanluError, match=r"data.kind|no text"):  # what the idea is tried on, which is no text
        try_across(Question(("vib",)), tmp_path, show=False, book=tmp_path / "ledger.yaml")
    assert not list(tmp_path.iterdir())
