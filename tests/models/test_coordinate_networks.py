"""Networks of coordinates: initial statistics, Lipschitz bounds, and what each of them can fit."""

from __future__ import annotations

import math

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from danlu.data.coordinates import Signal, prepare_signal
from danlu.nn.lipschitz import lower_bound, upper_bound
from danlu.spec import coordinate_networks as networks
from danlu.spec import encodings, signals
from tests.models.others import build

NETS = [
    networks.Siren(width=16, layers=3),
    networks.CoordinateMLP(width=16),
    networks.CoordinateMLP(width=16, encoding=encodings.Octaves(octaves=3), activation="silu"),
    networks.CoordinateMLP(width=16, encoding=encodings.Raw(), activation="gelu"),
    networks.LipschitzMLP(width=16),
]


@pytest.mark.parametrize("spec", NETS, ids=lambda spec: spec.kind)
def test_lower_bounds_are_below_upper_bounds(spec: networks.Siren) -> None:
    torch.manual_seed(0)
    net = build(spec, 2, 3).double()
    net.compute = torch.float64
    points = torch.rand(64, 2, dtype=torch.float64) * 2 - 1
    found = lower_bound(net, points, steps=20)
    exact = torch.linalg.matrix_norm(torch.func.vmap(torch.func.jacrev(net))(points), 2)
    assert (found <= exact * (1 + 1e-9)).all() and found.max() >= 0.95 * exact.max()
    assert found.max() <= upper_bound(net)


def test_an_unknown_activation_has_no_bound() -> None:
    net = build(networks.CoordinateMLP(width=4), 2, 1)
    net._slope = None
    with pytest.raises(ValueError, match="greatest slope of this network's activation is not known"):
        upper_bound(net)


def test_the_readout_of_a_siren_is_drawn_as_a_layer_after_sines() -> None:
    """Uniform within ±√(6/n)/ω, so that the output has variance 2·E sin²/ω², about 1/ω²."""
    torch.manual_seed(0)
    net = build(networks.Siren(width=256, omega=20.0), 2, 64)
    bound = math.sqrt(6 / 256) / 20
    assert 0.98 * bound < net.readout.weight.abs().max() <= bound
    assert net.readout.weight.std().item() == pytest.approx(bound / math.sqrt(3), rel=0.03)


@settings(max_examples=15, deadline=None)
@given(seed=st.integers(0, 2**31), constant=st.sampled_from([0.5, 1.0, 3.0]))
def test_a_lipschitz_mlp_keeps_its_constant_for_any_weights(seed: int, constant: float) -> None:
    torch.manual_seed(seed)
    net = build(networks.LipschitzMLP(width=8, constant=constant), 3, 2).double()
    net.compute = torch.float64
    for parameter in net.parameters():
        torch.nn.init.normal_(parameter)
    x, y = torch.randn(2, 64, 3, dtype=torch.float64)
    moved = torch.linalg.vector_norm(net(x) - net(y), dim=1)
    assert (moved <= constant * torch.linalg.vector_norm(x - y, dim=1) * (1 + 1e-9)).all()
    assert net.lipschitz() <= constant * (1 + 1e-9)


def test_groups_that_do_not_fit_are_refused() -> None:
    with pytest.raises(ValidationError, match="group = 3 does not divide width = 64"):
        networks.LipschitzMLP(group=3)


def fit(spec: networks.Siren, signal: Signal, steps: int, rate: float) -> tuple[float, torch.nn.Module]:
    """PSNR in decibels on what is seen, after ``steps`` of Adam on all of it."""
    torch.manual_seed(0)
    net = build(spec, signal.spec.inputs, signal.spec.outputs)
    x, y = (torch.from_numpy(array) for array in signal.seen[:2])
    optimizer = torch.optim.Adam(net.parameters(), rate)
    for _ in range(steps):
        loss = F.mse_loss(net(x), y)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    with torch.no_grad():
        error = F.mse_loss(net(x), y).item()
    return 10 * math.log10((2 * signal.spec.range[1]) ** 2 / error), net


@pytest.mark.slow
def test_sines_and_fourier_features_fit_a_chirp_that_a_relu_net_cannot() -> None:
    """By 15 decibels and more; a constant has 20·log₁₀(2√2) = 9."""
    signal = prepare_signal(signals.Chirp(points=512))
    plain, _ = fit(networks.CoordinateMLP(width=64, encoding=encodings.Raw()), signal, 300, 1e-3)
    siren, _ = fit(networks.Siren(width=64, layers=3), signal, 300, 1e-3)
    fourier, _ = fit(
        networks.CoordinateMLP(width=64, encoding=encodings.FourierFeatures(features=64, scale=20.0)),
        signal, 300, 1e-3,
    )  # fmt: skip
    assert 8 < plain < 20 and min(siren, fourier) > plain + 15


@pytest.mark.slow
def test_a_1_lipschitz_net_fits_a_signed_distance() -> None:
    """Which is 1-Lipschitz itself: to .02 in the mean (35 decibels), and no slope found above 1."""
    signal = prepare_signal(signals.SignedDistance(of="box", pixels=32))
    decibels, net = fit(networks.LipschitzMLP(width=32), signal, 300, 1e-2)
    assert decibels > 35
    assert lower_bound(net, torch.from_numpy(signal.held_out.coordinates)).max() <= 1 + 1e-4
