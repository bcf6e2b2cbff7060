"""The fit of a signal goes the whole way: trained, resumed, sampled, measured; what cannot be is refused."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

from danlu.cli.main import app
from danlu.lab.errors import LabError
from danlu.lab.measures import of_run
from danlu.spec import DanluError, resolve
from danlu.train.errors import RunError
from danlu.train.load import load_run
from tests.train import small
from tests.train.test_resume import dies_and_goes_on

WORDS = [
    "siren-photograph", "data={kind: signed-distance, pixels: 16}", "train.device=cpu", "train.log_every=1",
    "train.steps=8", "train.evaluate_every=4", "train.checkpoint_every=2", "train.batch=32",
]  # fmt: skip


@pytest.mark.parametrize(
    "more",
    [
        [],
        ["objective.supervise=gradients"],
        ["objective.supervise=laplacians"],
        ["model={kind: coordinate-mlp, width: 16}", "train.batch=64"],
        ["model={kind: lipschitz-mlp, width: 16}", "data={kind: chirp, points: 100}"],
    ],
)
def test_a_run_resumes_bit_for_bit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, more: list[str]) -> None:
    experiment = resolve([*WORDS, *more])
    summary = small.go(experiment, tmp_path / "whole")
    assert (summary["unit"], summary["points"]) == ("point", 8 * experiment.train.batch)
    first = experiment.objective.metrics[0]
    assert first.name == ("held_out_loss" if "objective.supervise=laplacians" in more else "psnr")
    assert (
        summary["metric"].items() >= {"name": first.name, "unit": first.unit, "better": first.better}.items()
    )
    dies_and_goes_on(experiment, tmp_path / "cut", monkeypatch)
    small.assert_same(tmp_path / "whole", tmp_path / "cut")


@pytest.mark.parametrize("more", [[], ["objective.supervise=gradients"], ["objective.supervise=laplacians"]])
def test_accumulation_changes_nothing(tmp_path: Path, more: list[str]) -> None:
    for micro in (32, 8):
        small.go(resolve([*WORDS, *more, f"train.microbatch={micro}"]), tmp_path / str(micro))
    small.close(small.losses(tmp_path / "32"), small.losses(tmp_path / "8"))


@pytest.mark.slow
@pytest.mark.parametrize("more", [[], ["objective.supervise=gradients"], ["objective.supervise=laplacians"]])
def test_two_processes_are_one(tmp_path: Path, more: list[str]) -> None:
    small.assert_two_are_one([*WORDS, *more], tmp_path)


def test_a_run_shows_its_signal(tmp_path: Path) -> None:
    small.go(resolve(WORDS), tmp_path / "run")
    said = CliRunner().invoke(app, ["sample", str(tmp_path / "run")])
    assert said.exit_code == 0 and len(said.output.splitlines()) == 16
    found = json.loads(CliRunner().invoke(app, ["sample", str(tmp_path / "run"), "--json"]).output)
    assert found["kind"] == "picture" and np.shape(found["images"]) == (1, 1, 16, 16)


@pytest.mark.parametrize("model", ["siren", "coordinate-mlp", "lipschitz-mlp"])
def test_a_trained_net_is_between_its_bounds(tmp_path: Path, model: str) -> None:
    """And stretches at least as much as between any two neighbours of the grid, to a hundredth."""
    words = [*WORDS, f"model={{kind: {model}, width: 16}}", "optimizer.lr=1e-2"]
    small.go(resolve(words), tmp_path / "run")
    found = of_run(tmp_path / "run", ["lipschitz-above", "lipschitz-below"])
    assert 0 < found["lipschitz-below"] <= found["lipschitz-above"]
    loaded = load_run(tmp_path / "run", 8)
    grid = loaded.objective.values(loaded.model)[..., 0].astype(float)
    steepest = max(np.abs(np.diff(grid, axis=axis)).max() for axis in (0, 1)) / (2 / 16)
    assert steepest <= 1.01 * found["lipschitz-above"]
    if model == "lipschitz-mlp":
        assert found["lipschitz-above"] <= 1 + 1e-5


def test_attention_has_no_lipschitz_constant(tmp_path: Path) -> None:
    pytest.importorskip("sklearn")
    words = ["train.steps=1", "train.device=cpu", "train.batch=2", "train.evaluate_tokens=4"]
    small.go(resolve(["digits", *words]), tmp_path / "attention")
    for name in ("lipschitz-above", "lipschitz-below"):
        with pytest.raises(LabError, match="dot-product attention, for which there is no Lipschitz constant"):
            of_run(tmp_path / "attention", [name])
    small.go(resolve(["flow-8gaussians", "objective.samples=16", *words]), tmp_path / "points")
    with pytest.raises(LabError, match="PointMLP is not known to have a Lipschitz constant"):
        of_run(tmp_path / "points", ["lipschitz-above"])
    with pytest.raises(LabError, match="has the objective flow: this is measured at the points of a signal"):
        of_run(tmp_path / "points", ["lipschitz-below"])


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (["data=text"], "objective.kind = fit takes data of kind photograph"),
        (["data=digits"], "takes data of kind photograph or picture or chirp or signed-distance"),
        (["model=decoder"], "objective.kind = fit is for a model of kind siren or coordinate-mlp"),
        (["model.patch=2"], "model.patch is not a field of model"),
        (["objective=causal"], "objective.kind = causal takes data of kind text, and data.kind = photograph"),
        (["data={kind: picture}"], "data.file is missing"),
        (["data.pixels=100"], "100 does not divide the 256 pixels"),
        (["objective.supervise=laplacian"], "objective.supervise"),
        (["objective.supervise=gradients", "train.parallel=fsdp"], "set train.parallel = ddp"),
        (["objective.supervise=laplacians", "train.parallel=fsdp"], "supervise = laplacians differentiates"),
    ],
)
def test_what_does_not_fit_is_refused(words: list[str], sentence: str) -> None:
    with pytest.raises(DanluError, match=sentence):
        resolve(["siren-photograph", *words])


class TestOwnPicture:
    @pytest.fixture(autouse=True)
    def pillow(self) -> None:
        self.library = pytest.importorskip("PIL.Image")

    def save(self, path: Path, height: int, width: int, seed: int = 0) -> np.ndarray:
        pixels = np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)
        self.library.fromarray(pixels).save(path)
        return pixels

    def experiment(self, path: Path, *more: str):
        return resolve([*WORDS, f"data={{kind: picture, file: {path}, pixels: 8}}", "train.batch=16", *more])

    def test_it_is_the_middle_square_averaged(self, tmp_path: Path) -> None:
        from danlu.data import prepare

        pixels = self.save(tmp_path / "mine.png", 32, 40)
        signal = prepare(self.experiment(tmp_path / "mine.png").data)
        tiles = pixels[:, 4:36].reshape(8, 4, 8, 4, 3).mean((1, 3)) / 255
        off = np.abs(signal.whole.values.reshape(8, 8, 3) - tiles)
        assert off.max() <= 1 / 255 + 1e-6  # Pillow rounds rows, and then columns
        assert signal.seen.values.shape == (16, 3)

    def test_another_picture_under_its_name_is_another_run(self, tmp_path: Path) -> None:
        self.save(tmp_path / "mine.png", 16, 16)
        experiment = self.experiment(tmp_path / "mine.png")
        small.go(experiment, tmp_path / "run")
        self.save(tmp_path / "mine.png", 16, 16, seed=1)
        with pytest.raises(RunError, match="was trained on other data: the picture"):
            small.go(experiment, tmp_path / "run")

    def test_what_is_no_picture_is_said(self, tmp_path: Path) -> None:
        (tmp_path / "text.png").write_text("no picture")
        self.save(tmp_path / "small.png", 6, 20)
        whole = self.library.fromarray(np.zeros((64, 64, 3), np.uint8))
        whole.save(tmp_path / "cut.jpg")
        (tmp_path / "cut.jpg").write_bytes((tmp_path / "cut.jpg").read_bytes()[:-200])
        for name, sentence in [
            (
                "text.png",
                r"data.file = .*text.png cannot be read as PNG or JPEG \(no image\); name another file",
            ),
            ("cut.jpg", "cut.jpg cannot be read as PNG or JPEG"),
            ("small.png", r"data.pixels = 8 is more than .*small.png has \(20 × 6\); allowed: 4 to 6"),
            ("none.png", "none.png is missing"),
            (".", "is a folder"),
        ]:
            with pytest.raises(DanluError, match=sentence):
                small.go(self.experiment(tmp_path / name), tmp_path / "run")
        assert not (tmp_path / "run").exists()


@pytest.mark.slow
@pytest.mark.parametrize(
    ("recipe", "least", "unseen"),
    [
        ("siren-photograph", 40, 21),
        ("fourier-photograph", 26, 21),
        ("siren-chirp", 45, 40),
        ("signed-distance", 35, 35),
    ],
)
def test_recipes_fit_their_signals(tmp_path: Path, recipe: str, least: float, unseen: float) -> None:
    """Decibels of the seen and of the unseen points; a constant has 11, bilinear interpolation of the picture
    22.5."""
    pytest.importorskip("PIL")
    metrics = small.go(resolve([recipe, "train.device=cpu"]), tmp_path / "run")["metrics"]
    assert metrics["seen_psnr"]["value"] > least and metrics["psnr"]["value"] > unseen


@pytest.mark.slow
def test_laplacians_alone_are_a_signal_up_to_an_affine_function(tmp_path: Path) -> None:
    """In one dimension nothing else is harmonic."""
    words = ["objective.supervise=laplacians", "data.high=10", "train.steps=800", "optimizer.lr=1e-3"]
    metrics = small.go(resolve(["siren-chirp", *words, "train.device=cpu"]), tmp_path / "run")["metrics"]
    assert metrics["psnr"]["value"] > 25


@pytest.mark.slow
def test_gradients_alone_are_a_signal_up_to_a_constant(tmp_path: Path) -> None:
    words = ["objective.supervise=gradients", "train.steps=400", "optimizer.lr=1e-3", "train.device=cpu"]
    metrics = small.go(resolve(["siren-chirp", *words]), tmp_path / "run")["metrics"]
    assert metrics["psnr"]["value"] > 25
