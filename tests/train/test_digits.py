"""An experiment on images goes the whole way that one on text goes."""

from __future__ import annotations

from pathlib import Path

import pytest

from danlu.spec import SpecError, resolve
from danlu.train.load import load_run
from tests.train import small
from tests.train.test_resume import dies_and_goes_on

pytest.importorskip("sklearn")
WORDS = ["digits", "train.precision=float32", "train.device=cpu", "train.log_every=1", "train.steps=8"]
WORDS += ["train.evaluate_every=4", "train.checkpoint_every=2", "data.shift=1"]


def test_a_run_resumes_bit_for_bit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    experiment = resolve([*WORDS, "train.microbatch=8"])
    summary = small.go(experiment, tmp_path / "whole")
    assert (summary["unit"], summary["images"], summary["metric"]["better"]) == ("image", 8 * 32, "higher")
    assert summary["metrics"]["cross_entropy"]["unit"] == "nats/image"
    dies_and_goes_on(experiment, tmp_path / "cut", monkeypatch)
    small.assert_same(tmp_path / "whole", tmp_path / "cut")


def test_accumulation_changes_nothing(tmp_path: Path) -> None:
    for micro in (32, 4):
        small.go(resolve([*WORDS, f"train.microbatch={micro}"]), tmp_path / str(micro))
    small.close(small.losses(tmp_path / "32"), small.losses(tmp_path / "4"))


def test_the_best_is_the_highest(tmp_path: Path) -> None:
    more = ["train.steps=24", "optimizer.lr=1e-2", "data.shift=0"]
    summary = small.go(resolve([*WORDS, *more]), tmp_path / "run")
    values = {row["step"]: row["accuracy"] for row in small.rows(tmp_path / "run") if "accuracy" in row}
    best = max(values.values())
    assert summary["best"] == {"step": next(s for s, v in values.items() if v == best), "value": best}
    assert load_run(tmp_path / "run").step == summary["best"]["step"]


@pytest.mark.slow
@pytest.mark.parametrize("recipe", ["digits", "digits-mlp"])
def test_they_learn(tmp_path: Path, recipe: str) -> None:
    """19 in 20 of the held-out images: nearest neighbours name 98 in 100, a tenth are right by chance."""
    assert small.go(resolve([recipe, "train.device=cpu"]), tmp_path / "run")["metric"]["value"] > 0.95


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (
            ["data=text"],
            "objective.kind = classify takes data of kind digits or images or arrays, and data.kind = text",
        ),
        (["model.kind=decoder"], "objective.kind = classify is for a model of kind patches"),
        (["model.patch=3"], "model.patch = 3 does not divide an image of 8 × 8 pixels; allowed: 1, 2, 4, 8"),
        (["train.tokens=100"], "data.kind = digits has no tokens; set train.steps or train.seconds"),
        (["model.tied=true"], "model.tied = true, and what embeds pixels cannot read classes"),
    ],
)
def test_what_does_not_fit_is_said(words: list[str], said: str) -> None:
    with pytest.raises(SpecError) as caught:
        resolve([*WORDS, *words])
    assert said in str(caught.value)
