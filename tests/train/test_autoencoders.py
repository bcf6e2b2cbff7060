"""An experiment with an autoencoder goes the whole way: trained, resumed, sampled."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

from danlu.cli.main import app
from danlu.data import prepare
from danlu.spec import resolve
from danlu.spec.points import EightGaussians
from danlu.train.errors import RunError
from tests.train import small
from tests.train.test_resume import dies_and_goes_on

COMMON = ["train.device=cpu", "train.log_every=1", "train.steps=8", "train.batch=32", "model.width=16"]
COMMON += ["train.evaluate_every=4", "train.checkpoint_every=2", "objective.samples=64"]
VAE, VQ = ["vae-digits", *COMMON, "objective.draws=4"], ["vq-digits", *COMMON, "objective.prior=4"]
RESTARTS = "objective.bottleneck.restart=0.5"


@pytest.mark.parametrize(
    "words",
    [
        VAE,
        pytest.param(
            [*VAE, "objective.anneal=cyclic", "objective.bottleneck.free_nats=0.1"], marks=pytest.mark.slow
        ),
        [*VQ, RESTARTS],
        pytest.param([*VQ, "objective.bottleneck=gumbel"], marks=pytest.mark.slow),
    ],
    ids=["vae", "annealed", "vq", "gumbel"],
)
def test_a_run_resumes_bit_for_bit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, words: list[str]) -> None:
    experiment = resolve(words)
    summary = small.go(experiment, tmp_path / "whole")
    assert summary["unit"] == "image" and summary["images"] == 8 * 32
    assert summary["metric"]["name"] == experiment.objective.metrics[0].name
    dies_and_goes_on(experiment, tmp_path / "cut", monkeypatch)
    small.assert_same(tmp_path / "whole", tmp_path / "cut")


@pytest.mark.slow
@pytest.mark.parametrize("words", [VAE, [*VQ, RESTARTS]], ids=["vae", "vq"])
def test_accumulation_changes_nothing(tmp_path: Path, words: list[str]) -> None:
    for micro in (32, 8):
        small.go(resolve([*words, f"train.microbatch={micro}"]), tmp_path / str(micro))
    small.close(small.losses(tmp_path / "32"), small.losses(tmp_path / "8"), 1e-4)


@pytest.mark.slow
@pytest.mark.parametrize(
    "words",
    [VAE, [*VAE, "objective.anneal=cyclic"], [*VQ, RESTARTS], [*VQ, "objective.bottleneck=gumbel"]],
    ids=["vae", "annealed", "vq", "gumbel"],
)
def test_two_processes_are_one(tmp_path: Path, words: list[str]) -> None:
    """Keys make the noise, and codes are restarted alike."""
    small.assert_two_are_one(words, tmp_path)


def test_free_bits_are_refused_under_accumulation(tmp_path: Path) -> None:
    words = [*VAE, "objective.bottleneck.free_nats=0.1", "train.microbatch=8"]
    with pytest.raises(RunError, match="a term of the loss spans the whole batch"):
        small.go(resolve(words), tmp_path / "run")


def test_a_run_shows_its_pictures(tmp_path: Path) -> None:
    small.go(resolve(VAE), tmp_path / "run")
    said = CliRunner().invoke(app, ["sample", str(tmp_path / "run")])
    assert said.exit_code == 0
    for word in ("data", "reconstructions", "draws", "decoder noise", "nats by dimension", "information cap"):
        assert word in said.output


@pytest.mark.slow
def test_a_trained_linear_autoencoder_is_probabilistic_pca(tmp_path: Path) -> None:
    """Lucas et al. 2019: with learned noise the bound reaches the likelihood of the Gaussian that has the
    data's covariance, of which one latent number and the noise of the plane make both eigenvalues."""
    words = ["vae-digits", "data=eight-gaussians", "objective.judge=energy", "objective.bottleneck.size=1"]
    words += [
        "model.layers=0",
        "train.steps=2000",
        "train.batch=256",
        "optimizer.lr=1e-2",
        "train.device=cpu",
    ]
    summary = small.go(resolve([*words, "train.device=cpu"]), tmp_path / "run")
    points = prepare(EightGaussians()).held_out[0].astype(float)
    values = np.linalg.eigvalsh(np.cov(points.T, bias=True))
    bits = 0.5 * (2 * math.log(2 * math.pi) + np.log(values).sum() + 2) / 2 / math.log(2)
    assert summary["metric"]["value"] == pytest.approx(bits, abs=0.02)


@pytest.mark.slow
def test_digits_by_a_vq_vae(tmp_path: Path) -> None:
    """At most 4.5 times as far from all digits as halves of them are from each other, .63."""
    summary = small.go(resolve(["vq-digits", "train.device=cpu"]), tmp_path / "run")
    last = [row for row in small.rows(tmp_path / "run") if "frechet_distance" in row][-1]
    assert summary["metric"]["name"] == "reconstruction_error"
    assert last["frechet_distance"] < 4.5 * 0.63
