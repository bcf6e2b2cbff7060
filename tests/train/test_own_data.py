"""Own images and arrays go the whole way: classified, generated, resumed; what does not fit is a sentence."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from danlu.data import DataError
from danlu.spec import SpecError, resolve
from danlu.train.errors import RunError
from danlu.train.load import load_run
from danlu.train.trainer import Trainer
from tests.data.test_folder import photos
from tests.train import small
from tests.train.test_resume import Died, at_call, die

QUICK = ["train.precision=float32", "train.device=cpu", "train.log_every=1", "train.steps=6"]
QUICK += ["train.evaluate_every=3", "train.checkpoint_every=2", "train.batch=16"]
FLOW = [*QUICK, "objective.samples=16", "objective.judge=energy", "objective.steps=2"]
UNET = "model={kind: unet, width: 8, scales: [1, 2], blocks: 1}"


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DANLU_CACHE", str(tmp_path / "cache"))


def images(tmp_path: Path, **settings: Any) -> list[str]:
    pytest.importorskip("PIL")
    if not (tmp_path / "p").exists():
        photos(tmp_path / "p", 40)
    return ["data.kind=images", f"data.folder={tmp_path / 'p'}", "data.pixels=8", "data.held_out=0.25"]


def arrays(tmp_path: Path, shape: tuple[int, ...], labels: bool = True) -> list[str]:
    random = np.random.default_rng(0)
    classes = np.arange(60) % 3
    numbers = random.normal(size=(60, *shape)) / 4 + classes.reshape(-1, *(1 for _ in shape))
    np.savez(tmp_path / "x.npz", numbers=numbers, classes=classes)
    words = ["data.kind=arrays", f"data.file={tmp_path / 'x.npz'}", "data.array=numbers"]
    return [*words, "data.held_out=0.3"] + ["data.labels=classes"] * labels


@pytest.mark.slow
def test_images_are_generated_and_the_run_resumes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    experiment = resolve(["flow-digits", *FLOW, UNET, *images(tmp_path), "data.shift=1"])
    summary = small.go(experiment, tmp_path / "whole")
    assert (summary["unit"], summary["images"], summary["metric"]["name"]) == ("image", 96, "energy_distance")
    assert len(summary["sample"].splitlines()) == 8
    at_call(monkeypatch, Trainer, "step", 4, die)
    with pytest.raises(Died):
        small.go(experiment, tmp_path / "cut")
    monkeypatch.undo()
    monkeypatch.setenv("DANLU_CACHE", str(tmp_path / "cache"))
    small.go(experiment, tmp_path / "cut")
    small.assert_same(tmp_path / "whole", tmp_path / "cut")


def test_images_are_classified(tmp_path: Path) -> None:
    experiment = resolve(["digits", *QUICK, *images(tmp_path)])
    summary = small.go(experiment, tmp_path / "run")
    assert 0 <= summary["metric"]["value"] <= 1
    assert "cats" in summary["sample"] or "dogs" in summary["sample"]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("recipe", "shape"),
    [("flow-8gaussians", (5,)), ("denoise-8gaussians", (4, 4)), ("flow-8gaussians", (2, 4, 4))],
)
def test_arrays_are_generated(tmp_path: Path, recipe: str, shape: tuple[int, ...]) -> None:
    network = UNET if len(shape) > 1 else "model.layers=1"
    words = [recipe, *FLOW, network, *arrays(tmp_path, shape), "objective.conditional=true"]
    summary = small.go(resolve(words), tmp_path / "run")
    assert (summary["unit"], summary["rows"]) == ("row", 96)
    made = load_run(tmp_path / "run")
    wanted = shape if len(shape) != 2 else (1, *shape)
    assert made.objective.generate(made.model, 3).shape == (3, *wanted)  # type: ignore[attr-defined]


@pytest.mark.parametrize(("shape", "patch"), [((5,), 1), ((4, 4), 2)])
def test_arrays_are_classified(tmp_path: Path, shape: tuple[int, ...], patch: int) -> None:
    """Three classes whose means are four standard deviations apart in every number."""
    words = ["digits-mlp", *QUICK, "train.steps=60", "train.evaluate_every=60", "model.width=32"]
    words += [*arrays(tmp_path, shape), f"model.patch={patch}", "optimizer.lr=1e-2"]
    words += ["model.position=none", "model.dropout=0.0"]
    assert small.go(resolve(words), tmp_path / "run")["metric"]["value"] > 0.9


@pytest.mark.parametrize(
    ("words", "error", "said"),
    [
        (["flow-8gaussians", "objective.conditional=true"], DataError,
         "has no classes, which objective.conditional = true needs; name them by data.labels"),
        (["digits-mlp", "model.patch=1"], DataError, "has no classes, which objective.kind = classify needs"),
        (["flow-digits"], SpecError, "judge = frechet measures features of digits"),
        (["flow-8gaussians", UNET], RunError, "data.kind = arrays: this network is for images"),
        (["digits-mlp", "model.patch=8", "data.labels=classes"], RunError, "allowed: 1$"),
        (["tiny"], SpecError, "objective.kind = causal takes data of kind text, and data.kind = arrays"),
    ],
)  # fmt: skip
def test_what_does_not_fit_is_a_sentence(
    tmp_path: Path, words: list[str], error: type[Exception], said: str
) -> None:
    recipe, *more = words
    with pytest.raises(error, match=said) as told:
        small.go(resolve([recipe, *arrays(tmp_path, (5,), labels=False), *more]), tmp_path / "run")
    assert "\n" not in str(told.value) and not (tmp_path / "run").exists()


def test_images_without_subfolders_have_no_classes(tmp_path: Path) -> None:
    pytest.importorskip("PIL")
    photos(tmp_path / "p", 8, classes=())
    with pytest.raises(DataError, match=r"has no classes.*; put the images of each class in a subfolder"):
        small.go(resolve(["digits", *QUICK, *images(tmp_path)]), tmp_path / "run")


def test_other_data_are_noticed(tmp_path: Path) -> None:
    """What a network was trained on says how its samples are scaled, so they must be there, and the same."""
    words = ["flow-8gaussians", *FLOW, "model.layers=1"]
    experiment = resolve([*words, *arrays(tmp_path, (5,))])
    small.go(experiment, tmp_path / "run")
    shutil.copy(tmp_path / "x.npz", tmp_path / "kept.npz")
    arrays(tmp_path, (6,))
    for again in (lambda: load_run(tmp_path / "run"), lambda: small.go(experiment, tmp_path / "run")):
        with pytest.raises(RunError, match=r"trained on other data: the file .*x\.npz or its split changed"):
            again()
    shutil.copy(tmp_path / "kept.npz", tmp_path / "x.npz")
    load_run(tmp_path / "run")
