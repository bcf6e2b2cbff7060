"""Layers on coordinates: statistics of their initial weights by depth, derivatives, the kernel."""

from __future__ import annotations

import inspect
import math

import pytest
import torch

from danlu.models.initialise import draw, streams
from danlu.nn import build
from danlu.nn.conditions import TimeEmbedding
from danlu.nn.coordinates import FourierFeatures, Octaves, Raw, Sine
from danlu.nn.lipschitz import lower_bound
from danlu.spec import Init, encodings

N = 256


def test_a_siren_keeps_its_statistics_at_every_depth() -> None:
    """Phases of variance s² = 1 + ω²/3n from the second layer on, which is 1.47² (the paper's code has biases
    that are multiplied by ω), and ω²(1/18 + 1/6) = 14.1² in the first, of coordinates in [−1, 1]²; and so
    sines of variance (1 − e^{−2s²})/2, .70² to .71². Means of four networks: within 4 % and .015."""
    networks = [torch.rand(1024, 2) * 2 - 1 for _ in range(4)]
    for depth in range(5):
        variance = 1 + 900 / (3 * N) if depth else 900 * (1 / 18 + 1 / 6)
        layers = [Sine(N if depth else 2, N, first=depth == 0) for _ in networks]
        pairs = list(zip(layers, networks, strict=True))
        phases = torch.stack([layer.omega * layer.linear(x).detach() for layer, x in pairs])
        networks = list(phases.sin())
        assert phases.std((1, 2)).mean().item() == pytest.approx(math.sqrt(variance), rel=0.04)
        sd = math.sqrt((1 - math.exp(-2 * variance)) / 2)
        assert phases.sin().std((1, 2)).mean().item() == pytest.approx(sd, abs=0.015)


@pytest.mark.parametrize(("first", "bound"), [(True, 1 / 64), (False, math.sqrt(6 / 64) / 30)])
def test_a_sines_weights_are_uniform_within_their_bounds(first: bool, bound: float) -> None:
    layer = Sine(64, 512, first=first)
    for tensor, most in ((layer.linear.weight, bound), (layer.linear.bias, 1 / 8)):
        assert tensor.abs().max() <= most and tensor.abs().max() > 0.98 * most
        assert tensor.var().item() == pytest.approx(most**2 / 3, rel=0.15)


def test_gradient_and_laplacian_of_a_siren() -> None:
    """Of Σ a sin(ω(Wx + b)): ω Wᵀ(a ⊙ cos), and −ω² Σ a‖w‖² sin; the derivative of sine is sine, moved."""
    layer, a = Sine(2, 16, omega=3.0, first=True).double(), torch.randn(16, dtype=torch.float64)
    x = torch.rand(7, 2, dtype=torch.float64, requires_grad=True)
    weight, phase = layer.linear.weight, 3.0 * layer.linear(x)
    (gradient,) = torch.autograd.grad((layer(x) @ a).sum(), x, create_graph=True)
    torch.testing.assert_close(gradient, 3.0 * (a * phase.cos()) @ weight)
    twice = [torch.autograd.grad(gradient[:, i].sum(), x, retain_graph=True)[0][:, i] for i in range(2)]
    laplacian = sum(twice)
    torch.testing.assert_close(laplacian, -9.0 * (phase.sin() * a) @ weight.square().sum(-1))


def test_the_kernel_of_fourier_features_is_gaussian() -> None:
    """⟨γ(v), γ(w)⟩/m is a mean of m cosines: within 4 standard errors of k = e^{−2π²σ²d²}; a cosine has
    variance (1 + k⁴)/2 − k²."""
    features, scale = 20_000, 3.0
    encode = FourierFeatures(2, features=features, scale=scale).double()
    v = torch.rand(8, 2, dtype=torch.float64)
    w = v + torch.randn(8, 2, dtype=torch.float64) * 0.05
    kernel = (encode(v) * encode(w)).sum(-1) / features
    k = torch.exp(-2 * (math.pi * scale) ** 2 * (v - w).square().sum(-1))
    error = (((1 + k**4) / 2 - k**2) / features).sqrt()
    assert ((kernel - k).abs() <= 4 * error).all() and k.max() > 0.5 > 0.1 > k.min()
    torch.testing.assert_close((encode(v) ** 2).sum(-1) / features, torch.ones(8, dtype=torch.float64))


def test_frequencies_are_normal_fixed_saved_and_drawn_from_a_stream_of_their_own() -> None:
    encode = FourierFeatures(2, features=5000, scale=7.0)
    frequencies = encode.frequencies.clone()
    assert frequencies.std() == pytest.approx(7.0, rel=0.03) and not list(encode.parameters())
    assert "frequencies" in encode.state_dict()
    with streams(encode, 5) as begin:
        draw([encode], Init(), None, begin)
        again = encode.frequencies.clone()
        torch.randn(3)
        draw([encode], Init(), None, begin)
    assert torch.equal(encode.frequencies, again) and not torch.equal(again, frequencies)


def test_octaves_by_hand() -> None:
    x = torch.tensor([[0.25, -0.5]])
    phases = torch.pi * torch.tensor([0.25, 0.5, 1.0, -0.5, -1.0, -2.0])
    torch.testing.assert_close(Octaves(2, octaves=3)(x)[0], torch.cat([phases.sin(), phases.cos()]))


@pytest.mark.parametrize(
    "spec", [encodings.Raw(), encodings.FourierFeatures(features=9), encodings.Octaves(octaves=3)]
)
def test_the_lipschitz_constant_of_an_encoding_is_exact(spec: encodings.Encoding) -> None:
    """The Jacobian has the same Gram matrix at every point."""
    encode = build(spec, 2).double()
    assert encode(torch.zeros(2, 2, dtype=torch.float64)).shape == (2, encode.outputs)
    found = lower_bound(encode, torch.rand(5, 2, dtype=torch.float64), steps=60)
    torch.testing.assert_close(found, torch.full_like(found, encode.lipschitz()), rtol=1e-4, atol=0)


@pytest.mark.parametrize("encode", [Raw(2), FourierFeatures(2, features=4), Octaves(2), Sine(2, 4)])
def test_the_type_of_the_input_is_kept(encode: torch.nn.Module) -> None:
    for dtype in (torch.bfloat16, torch.float32):
        assert encode(torch.zeros(3, 2, dtype=dtype)).dtype == dtype


@pytest.mark.parametrize(
    ("spec", "built"),
    [
        (encodings.Raw, Raw),
        (encodings.FourierFeatures, FourierFeatures),
        (encodings.Octaves, Octaves),
        (encodings.TimeEmbedding, TimeEmbedding),
    ],
)
def test_fields_are_keyword_arguments(spec: type, built: type) -> None:
    """Of the class that a specification builds, with the same defaults."""
    assert type(build(spec(), 2)) is built
    parameters = inspect.signature(built).parameters.values()
    keywords = {p.name: p.default for p in parameters if p.kind is p.KEYWORD_ONLY}
    assert keywords == spec().settings()
