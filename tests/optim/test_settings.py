"""Rates and other settings of an optimizer over a run."""

from __future__ import annotations

import pytest
import torch
import torch.nn as nn

from danlu import spec
from danlu.optim import Progress, Settings
from danlu.spec import Piece, Vary
from danlu.spec.errors import DanluError


def optimizer(*groups: dict[str, object]) -> torch.optim.Optimizer:
    given = [{"params": [nn.Parameter(torch.ones(3))], **group} for group in groups]
    made = torch.optim.AdamW(given, lr=0.1, betas=(0.9, 0.95), eps=1e-8)
    for group in made.param_groups:
        group["peak"] = group["lr"]
    return made


OWN = spec.AdamW(lr=0.1, beta1=0.9, beta2=0.95, weight_decay=0.2)
DECAYED, SPARED, HALF = {"weight_decay": 0.2}, {"weight_decay": 0.0}, {"weight_decay": 0.1}
FLAT = spec.Constant(warmup=0.0)


def test_rates_are_peaks_times_the_factor() -> None:
    made = optimizer({"lr": 0.1}, {"lr": 0.3})
    assert Settings([made], OWN, spec.Linear(warmup=0.0, floor=0.0)).set(Progress(0.75)) == 0.25
    assert [group["lr"] for group in made.param_groups] == [0.1 * 0.25, 0.3 * 0.25]


def test_beta2_rises_and_stays() -> None:
    made = optimizer({}, {})
    vary = Vary(setting="beta2", start=0.5, pieces=(Piece(to=0.75, until="10 steps"), Piece()))
    settings = Settings([made], OWN, FLAT, [vary])
    for step, value in [(0, 0.5), (5, 0.625), (10, 0.75), (19, 0.75), (5, 0.625)]:  # nothing is remembered
        settings.set(Progress(step / 20, step))
        assert [group["betas"] for group in made.param_groups] == [(0.9, value)] * 2


def test_a_piece_starts_from_the_optimizers_own_value() -> None:
    made = optimizer({})
    settings = Settings([made], OWN, FLAT, [Vary(setting="eps", pieces=(Piece(to=1e-6),))])
    settings.set(Progress(0.0))
    assert made.param_groups[0]["eps"] == 1e-8
    settings.set(Progress(0.5))
    assert made.param_groups[0]["eps"] == pytest.approx((1e-8 + 1e-6) / 2, rel=1e-12)


def test_decay_follows_the_rate_in_every_groups_proportion() -> None:
    made = optimizer(DECAYED, SPARED, HALF)
    settings = Settings([made], OWN, spec.Linear(warmup=0.0, floor=0.0), [Vary(setting="weight_decay")])
    for progress in (0.0, 0.25, 0.75):
        settings.set(Progress(progress))
        left = 1 - progress
        found = [group["weight_decay"] for group in made.param_groups]
        assert found == pytest.approx([0.2 * left, 0.0, 0.1 * left], abs=1e-15)


def test_groups_without_the_setting_are_left_alone() -> None:
    ours = optimizer({})
    momentum = torch.optim.SGD([nn.Parameter(torch.ones(3))], lr=0.1, momentum=0.8)
    momentum.param_groups[0]["peak"] = 0.1
    s = spec.Muon(momentum=0.8)
    settings = Settings([momentum, ours], s, FLAT, [Vary(setting="momentum", pieces=(Piece(to=0.4),))])
    settings.set(Progress(0.5))
    assert momentum.param_groups[0]["momentum"] == pytest.approx(0.6)
    assert "momentum" not in ours.param_groups[0]


def test_a_setting_that_no_group_has() -> None:
    with pytest.raises(DanluError, match="no parameter is updated by a rule that has momentum"):
        Settings([optimizer({})], spec.Muon(), FLAT, [Vary(setting="momentum")])
