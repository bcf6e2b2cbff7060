"""Words and keywords make the experiment that the command line would make."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

import danlu
from danlu.spec import resolve, shrink


@pytest.mark.parametrize(
    ("words", "settings", "typed"),
    [
        ([], {}, "tiny"),
        (["nano +swiglu", "+qk-norm"], {"lr": 1e-3}, "nano +swiglu +qk-norm optimizer.lr=1e-3"),
        (["nano"], {"seed": 1, "model.layers": 6}, "nano train.seed=1 model.layers=6"),
        (["tiny"], {"steps": 7}, "tiny train.steps=7"),  # Muon has steps of its own
        (["nano"], {"seconds": 5}, "nano train.seconds=5"),
        (["nano"], {"optimizer": "lion", "beta2": 0.98}, "nano optimizer=lion optimizer.beta2=0.98"),
        (["nano"], {"corpus": "a b/*.txt"}, ["nano", "data.corpus=a b/*.txt"]),
        (["nano"], {"context": "1k", "clip": np.float64(0.5)}, "nano data.context=1000 train.clip=0.5"),
        (
            ["nano"],
            {"evaluate_tokens": None, "tied": False},
            "nano train.evaluate_tokens=none model.tied=false",
        ),
        (["nano"], {"norm": {"kind": "layer", "eps": 1e-6}}, ["nano", "model.norm={kind: layer, eps: 1e-6}"]),
        (["nano"], {"norm": danlu.spec.LayerNorm(eps=1e-6)}, ["nano", "model.norm={kind: layer, eps: 1e-6}"]),
        (
            ["nano"],
            {"ramp": [{"batch": 2, "until": 0.1}]},
            ["nano", "train.ramp=[{batch: 2, until: 0.1}]"],
        ),
    ],
)
def test_the_same_experiment(words: list[str], settings: dict[str, Any], typed: Any) -> None:
    assert danlu.experiment(*words, **settings) == resolve(typed)


def test_over_an_experiment() -> None:
    start = danlu.experiment("nano", lr=1e-3)
    over = danlu.experiment(start, "+swiglu", steps=3)
    assert over == resolve("nano optimizer.lr=1e-3 +swiglu train.steps=3")
    assert danlu.experiment(start) == start


def test_shrunk() -> None:
    small = shrink.resolve(["gpt3-175b", "train.steps=3"], "500k")
    assert danlu.experiment("gpt3-175b", shrink="500k", steps=3) == small
    assert danlu.experiment(danlu.experiment("gpt3-175b"), shrink=500_000, steps=3) == small


def test_a_path_with_a_space_is_one_word(tmp_path: Path) -> None:
    path = tmp_path / "my experiment.yaml"
    path.write_text("base: nano\ntrain: {steps: 5}\n")
    assert danlu.experiment(path) == danlu.experiment(str(path)) == resolve("nano train.steps=5")


def test_an_error_names_the_file(tmp_path: Path) -> None:
    path = tmp_path / "mine.yaml"
    path.write_text("base: nano\nmodel: {layers: 0}\n")
    with pytest.raises(danlu.spec.DanluError, match=r"mine.yaml: model.layers = 0"):
        danlu.experiment(path)
    assert danlu.experiment(path, layers=2) == resolve("nano model.layers=2")


@pytest.mark.parametrize(
    ("words", "settings"),
    [
        (["nano +swiglo"], {}),
        (["nono"], {"lr": 1}),
        (["nano"], {"model.lairs": 6}),
        (["nano"], {"lr": "fast"}),
        (["nano"], {"lr": float("inf")}),
        (["nano"], {"corpus": ""}),
        (["nano"], {"heads": 5}),
    ],
)
def test_the_same_sentence(words: list[str], settings: dict[str, Any]) -> None:
    names = {"lr": "optimizer.lr", "corpus": "data.corpus", "heads": "model.mixer.heads"}
    values = {float("inf"): "Infinity"}
    typed = [f"{names.get(name, name)}={values.get(value, value)}" for name, value in settings.items()]
    with pytest.raises(danlu.spec.DanluError) as from_words:
        resolve([*words[0].split(), *typed])
    with pytest.raises(danlu.spec.DanluError) as from_keywords:
        danlu.experiment(*words, **settings)
    assert str(from_keywords.value) == str(from_words.value)


def test_keywords_that_mean_nothing_or_several_fields() -> None:
    with pytest.raises(
        danlu.spec.DanluError, match=r"^eps may be model.norm.eps or optimizer.eps; write the full name$"
    ):
        danlu.experiment("nano", eps=1e-6)
    with pytest.raises(danlu.spec.DanluError, match=r"^laers is not .* did you mean model.layers[?]"):
        danlu.experiment("nano", laers=2)
    with pytest.raises(danlu.spec.DanluError, match="is not a value of a field; give a number"):
        danlu.experiment("nano", lr={1, 2})
    with pytest.raises(danlu.spec.DanluError, match="an Experiment must come first"):
        danlu.experiment("nano", danlu.experiment("nano"))


@pytest.mark.parametrize("wrong", [None, 5, {"lr": 1}])
def test_what_is_not_a_word_is_told(wrong: object) -> None:
    with pytest.raises(danlu.spec.SpecError, match="is not a word of an experiment; give a recipe"):
        danlu.experiment(wrong)
