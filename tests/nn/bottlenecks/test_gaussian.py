"""The Gaussian bottleneck against torch.distributions, and its weights."""

from __future__ import annotations

import math

import pytest
import torch
from torch.distributions import Normal, kl_divergence

from danlu.nn.bottlenecks import Gaussian, GaussianNoise, kl_between, kl_to_standard
from danlu.nn.bottlenecks.annealing import cyclic, linear
from danlu.nn.bottlenecks.gaussian import paid


def normals(*shape):
    return torch.randn(shape, dtype=torch.float64), 2 * torch.randn(shape, dtype=torch.float64)


def test_kl_is_that_of_torch():
    (m1, v1), (m2, v2) = normals(50, 4), normals(50, 4)
    q, p = Normal(m1, (v1 / 2).exp()), Normal(m2, (v2 / 2).exp())
    standard = Normal(torch.zeros_like(m1), torch.ones_like(m1))
    torch.testing.assert_close(kl_to_standard(m1, v1), kl_divergence(q, standard), rtol=1e-12, atol=1e-13)
    torch.testing.assert_close(kl_between(m1, v1, m2, v2), kl_divergence(q, p), rtol=1e-12, atol=1e-13)
    assert kl_between(m1, v1, m1, v1).abs().max() == 0
    torch.testing.assert_close(kl_between(m1, v1, 0 * m1, 0 * v1), kl_to_standard(m1, v1))


def test_kl_keeps_its_digits_near_the_prior():
    """½(μ² + (e^v − 1 − v)) ≈ ½(μ² + v²/2) where both are small; e^v rounded would lose it in float32."""
    small = torch.tensor([1e-4])
    torch.testing.assert_close(kl_to_standard(small, small), torch.tensor([0.75e-8]), rtol=5e-3, atol=0)


def test_the_value_is_the_mean_and_noise_times_the_deviation():
    made, (mean, log_variance) = Gaussian(size=4), normals(10, 4)
    z, noise = torch.cat((mean, log_variance), -1), torch.randn(10, 4, dtype=torch.float64)
    torch.testing.assert_close(made(z, noise).value, mean + noise * log_variance.exp().sqrt())
    assert torch.equal(made(z).value, mean)


def test_the_penalty_sums_over_dimensions_and_averages_over_vectors():
    z = torch.randn(5, 3, 8)
    out = Gaussian(size=4, beta=0.3)(z)
    expected = 0.3 * sum(float(out.kl[..., j].mean()) for j in range(4))
    assert float(out.penalty) == pytest.approx(expected, rel=1e-5)


def test_free_nats_are_of_the_mean_over_the_batch():
    """Not of each example: 0.1 and 0.5 are 0.3 together, above λ = 0.25, though one of them is below."""
    kl = torch.tensor([[0.1, 0.0], [0.5, 0.2]], requires_grad=True)
    total = paid(kl, 0.25)
    assert total.item() == pytest.approx(0.3 + 0.25)
    total.backward()
    assert kl.grad.tolist() == [[0.5, 0.0], [0.5, 0.0]]
    assert paid(kl).item() == pytest.approx(0.3 + 0.1)


def test_decoder_noise_is_a_gaussian():
    x, mean = torch.randn(7, 5), torch.randn(7, 5)
    expected = Normal(mean, 0.3).log_prob(x).sum(-1)
    torch.testing.assert_close(GaussianNoise(deviation=0.3)(x, mean), expected, rtol=1e-5, atol=1e-4)
    assert not list(GaussianNoise(deviation=0.3).parameters())


def test_learned_noise_goes_to_the_root_mean_square_error():
    """Where the gradient is 0: s² = mean (x − mean)², by which the log-likelihood is −(d/2)(1 + ln 2πs²)."""
    x = torch.randn(400, 3, dtype=torch.float64)
    rms = float(x.square().mean().sqrt())
    noise = GaussianNoise(deviation=rms, learned=True).double()
    total = noise(x, torch.zeros_like(x)).mean()
    total.backward()
    assert abs(float(noise.log_deviation.grad)) < 1e-6  # the deviation is a float32 number at first
    assert total.item() == pytest.approx(-1.5 * (1 + math.log(2 * math.pi * rms**2)), abs=1e-9)


def test_annealing():
    assert [linear(step, 4) for step in (0, 1, 4, 9)] == [0, 0.25, 1, 1]
    assert [cyclic(step, 8) for step in (0, 2, 4, 7, 8, 10)] == [0, 0.5, 1, 1, 0, 0.5]
    assert cyclic(3, 10, rise=0.3) == pytest.approx(1)
