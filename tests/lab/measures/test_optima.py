"""Measures that know the best: of the loss of maximum entropy, of what passes a linear autoencoder."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest
import torch

from danlu.lab.errors import LabError
from danlu.lab.measures import measure
from danlu.lab.measures.trained import Trained
from danlu.nn.bottlenecks import linear_vae
from danlu.spec import resolve
from tests.train import small
from tests.train.test_maxent import of_table


def taken(run: Trained, name: str) -> float:
    return measure(name, run.experiment.objective.metrics).take(run)


def test_a_solved_model_is_at_its_optimum_and_seeds_begin_elsewhere(tmp_path: Path) -> None:
    """At the start the loss above the optimum is KL(p*‖p) by Pythagoras, and after L-BFGS nothing."""
    words = of_table(tmp_path, "+lbfgs", "model.spread=0.5", "train.evaluate_every=none")
    above = []
    for steps, seed in ((1, 0), (1, 1), (60, 0)):
        folder = tmp_path / f"{steps}-{seed}"
        small.go(resolve([*words, f"train.steps={steps}", f"train.seed={seed}"]), folder)
        above.append(taken(Trained(folder), "above-optimum"))
    assert above[0] > 1e-3 and above[0] != above[1] and above[2] < 1e-10
    starts = [Trained(tmp_path / name).initial.weight for name in ("1-0", "1-1", "60-0")]
    assert torch.equal(starts[0], starts[2]) and not torch.equal(starts[0], starts[1])
    assert 0.2 < starts[0].std() < 0.8  # six numbers of deviation .5


LINEAR = [
    "vae-digits", "data=eight-gaussians", "objective.judge=energy", "objective.bottleneck.size=2",
    "model.layers=0", "objective.noise=0.4", "objective.bottleneck.beta=1.5", "objective.samples=32",
    "objective.draws=2", "train.steps=1", "train.device=cpu", "train.batch=16",
]  # fmt: skip


def test_the_best_linear_autoencoder_passes_the_nats_of_the_spectrum(tmp_path: Path) -> None:
    """W = U(Λ − θ)^½, means (Λ − θ)^½ Λ⁻¹ Uᵀx and variances θ/λ: for data of the spectrum itself the two
    measures are one number."""
    small.go(resolve(LINEAR), tmp_path / "run")
    run = Trained(tmp_path / "run")
    objective, model = run.objective, run.run.model
    data = (objective.source.fresh(1, 4096)[0].astype(float) - objective.centre) / objective.spread
    values, vectors = (torch.from_numpy(part) for part in np.linalg.eigh(np.cov(data.T, bias=True)))
    best = linear_vae(values, 2, 0.16, 1.5)
    values, vectors = values.flip(0), vectors.flip(1)  # the largest first
    means = (best.gains / values)[:, None] * vectors.T
    with torch.no_grad():
        model.code.weight.copy_(torch.cat([means, torch.zeros(2, 2)]))
        centre = torch.from_numpy(data.mean(0))
        model.code.bias.copy_(torch.cat([-means @ centre, best.variances.log()]))
    assert taken(run, "nats-of-the-spectrum") == pytest.approx(float(best.kl.sum()), rel=1e-6)  # s is float32
    assert taken(run, "latent-nats") == pytest.approx(float(best.kl.sum()), rel=1e-5)
    assert best.kl.sum() > 1
    assert taken(run, "nats-off-the-spectrum") < 1e-5
    with torch.no_grad():
        model.code.bias[-2:] -= 0.2  # log-variances: each KL rises by .1 and by half of what v loses
    rises = 0.1 - best.variances / 2 * (1 - math.exp(-0.2))
    assert taken(run, "nats-off-the-spectrum") == pytest.approx(float(rises.abs().max()), rel=1e-3)
    with pytest.raises(LabError, match="whose least loss is not known"):
        taken(run, "above-optimum")


def test_shades_have_the_variance_of_what_makes_them_real(tmp_path: Path) -> None:
    """With noise above every direction nothing passes; just below the least one all do, by hand."""
    words = [word for word in LINEAR if "data=" not in word and "beta" not in word]
    small.go(resolve([*words, "objective.noise=0.01", "objective.bottleneck.size=64"]), tmp_path / "run")
    run = Trained(tmp_path / "run")
    objective = run.objective
    pixels = objective.source.train[0].reshape(-1, 64).astype(float)
    values = np.linalg.eigvalsh(np.cov(pixels.T, bias=True)) + 1 / 16**2 / 12  # shades are 1/16 apart
    theta = (0.01 * objective.spread) ** 2
    by_hand = 0.5 * np.log(np.maximum(values / theta, 1)).sum()
    assert taken(run, "nats-of-the-spectrum") == pytest.approx(by_hand, rel=1e-6)


def test_what_has_no_such_optimum_is_refused(tmp_path: Path) -> None:
    small.go(
        resolve(["flow-8gaussians", "train.steps=1", "train.batch=8", "objective.samples=16"]),
        tmp_path / "run",
    )
    for name in ("latent-nats", "nats-of-the-spectrum", "nats-off-the-spectrum"):
        with pytest.raises(LabError, match="measured of autoencoders with"):
            taken(Trained(tmp_path / "run"), name)
