"""Likelihoods of a trained run: of a network whose density is known, and where there is none."""

from __future__ import annotations

import math
from pathlib import Path

import pytest
import torch

from danlu.lab.errors import LabError
from danlu.lab.measures import measure
from danlu.lab.measures.trained import Trained
from danlu.spec import resolve
from tests.train import small
from tests.train.test_flows import COMMON, DENOISE, DIGITS, WORDS


def taken(folder: Path, name: str, silent: bool = False) -> float:
    run = Trained(folder)
    if silent:  # a velocity of 0: the density is that of the noise
        for weight in run.run.model.parameters():
            weight.zero_()
    return measure(name, run.experiment.objective.metrics).take(run)


@pytest.mark.slow
def test_a_flow_that_stands_still_has_the_density_of_its_noise(tmp_path: Path) -> None:
    """−ln p of N(0, spread²) at data with that mean square, and the entropy of the eight Gaussians below."""
    small.go(resolve(WORDS), tmp_path / "run")
    objective = Trained(tmp_path / "run").objective
    data = (objective.source.held_out[0][:1024] - objective.centre) / objective.spread
    wanted = (data**2).sum(1).mean() / 2 + math.log(2 * math.pi) + 2 * math.log(objective.spread)
    assert taken(tmp_path / "run", "nll", silent=True) == pytest.approx(wanted, rel=1e-5)
    above = taken(tmp_path / "run", "nll-above-entropy", silent=True)
    law = objective.source.log_density(objective.source.held_out[0][:1024])
    assert above == pytest.approx(wanted + law.mean(), rel=1e-5) and above > 1


@pytest.mark.slow
def test_a_denoiser_and_classes(tmp_path: Path) -> None:
    small.go(resolve([*DENOISE, "objective.conditional=true"]), tmp_path / "run")
    assert math.isfinite(taken(tmp_path / "run", "nll"))
    with pytest.raises(LabError, match="given their classes, whose density is not known; measure nll"):
        taken(tmp_path / "run", "nll-above-entropy")


@pytest.mark.slow
def test_there_is_no_density_of_images_or_texts(tmp_path: Path) -> None:
    small.go(resolve([*DIGITS, "train.steps=1"]), tmp_path / "digits")
    with pytest.raises(LabError, match="a density of them has no bound"):
        taken(tmp_path / "digits", "nll")
    small.run(small.corpus(tmp_path), tmp_path / "text", "train.steps=1")
    with pytest.raises(LabError, match="measured of objectives flow and denoise"):
        taken(tmp_path / "text", "nll")


@pytest.mark.slow
@pytest.mark.parametrize("recipe", ["flow-8gaussians", "denoise-8gaussians"])
def test_trained_ones_come_near_the_entropy(tmp_path: Path, recipe: str) -> None:
    """Between 0 and a tenth of a nat beyond the law's own −ln p, which no density does better."""
    torch.manual_seed(0)
    small.go(resolve([recipe, *COMMON[:2]]), tmp_path / "run")
    assert -0.02 < taken(tmp_path / "run", "nll-above-entropy") < 0.1
