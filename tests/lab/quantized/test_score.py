"""What rounding costs, in pairs."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn as nn

from danlu.curvature import jackknife
from danlu.lab.quantized.score import compare
from danlu.objectives import HeldOut, Objective
from danlu.spec import resolve


def test_the_jackknife_of_a_mean_is_its_standard_error() -> None:
    """s/√n, exactly."""
    x = np.random.default_rng(0).normal(size=9)
    without = [(x.sum() - one) / 8 for one in x]
    assert jackknife(without) == pytest.approx(x.std(ddof=1) / 3, rel=1e-12)
    assert math.isnan(jackknife([]))


class Means(Objective):
    """The mean over places of the place times what the model multiplies by."""

    size = 1

    def held_out(self, limit: int | None = None) -> HeldOut:
        return HeldOut(32, lambda places, rows: {"x": np.array(list(places), np.float32)})

    def score(self, model: nn.Module, example: Any) -> dict[str, torch.Tensor]:
        return {"sum": model(example["x"]).sum(), "count": torch.tensor(len(example["x"]))}

    def measure(self, sums: Any) -> dict[str, float]:
        return {"bits_per_byte": sums["sum"] / sums["count"]}


class Times(nn.Module):
    def __init__(self, factor: float) -> None:
        super().__init__()
        self.factor = factor

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x * self.factor


def test_differences_are_of_the_same_examples() -> None:
    experiment = resolve(["tiny", "train.batch=1"])
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("danlu.train.evaluate.EVALUATION_UNITS", 1)
        found = compare(Times(1), Times(1.5), Means(), experiment)
    assert (found.before, found.after, found.delta) == (15.5, 23.25, 7.75)
    assert found.passes == 32 and found.kl is None and found.flips is None
    assert found.error == pytest.approx(0.5 * np.arange(32).std(ddof=1) / math.sqrt(32), rel=1e-9)
