"""A linear VAE is reverse water-filling: the closed form is a stationary point, and training finds it."""

from __future__ import annotations

import math

import pytest
import torch
from torch.distributions import MultivariateNormal

from danlu.nn.bottlenecks import Gaussian, GaussianNoise, linear_vae

VALUES = torch.tensor([4, 2, 1, 0.5, 0.25, 0.1], dtype=torch.float64)
SIZE = 5


def data(values=VALUES):
    """Two vectors an axis, whose mean is 0 and whose covariance is diagonal with these values, exactly."""
    half = torch.diag((len(values) * values).sqrt())
    return torch.cat((half, -half))


def corners(size=SIZE):
    """Noise whose mean is 0 and whose covariance is 1 exactly: means of quadratic functions are exact."""
    half = math.sqrt(size) * torch.eye(size, dtype=torch.float64)
    return torch.cat((half, -half))


def loss_of(encoder, log_variance, decoder, likelihood, beta, noise):
    """−log-likelihood and penalty, means over data and noise; with kl by dimension and squared error."""
    x = data().repeat_interleave(len(noise), 0)
    z = torch.cat((x @ encoder.T, log_variance.expand(len(x), -1)), -1)
    out = Gaussian(size=SIZE, beta=beta)(z, noise.repeat(len(data()), 1))
    mean = out.value @ decoder.T
    error = (x - mean).square().sum(-1).mean()
    return -likelihood(x, mean).mean() + out.penalty, out.kl.mean(0), error


def optimum(noise, beta):
    """Parameters at the closed form: decoder W, encoder σ²·Wᵀ/s² with the posterior's variances σ²."""
    best = linear_vae(VALUES, SIZE, noise, beta)
    decoder = torch.zeros(6, SIZE, dtype=torch.float64)
    decoder[torch.arange(SIZE), torch.arange(SIZE)] = best.gains
    # the β-posterior: precision 1 + W²/(βs²), mean that of W/(βs²)
    encoder = (best.variances / (beta * noise))[:, None] * decoder.T
    return best, encoder, best.variances.log(), decoder


def test_the_figures_of_the_notes():
    best = linear_vae(VALUES, SIZE, 0.3, beta=2)
    expected = torch.tensor([0.9485, 0.6020, 0.2554, 0, 0], dtype=torch.float64)
    torch.testing.assert_close(best.kl, expected, rtol=0, atol=1e-4)
    assert best.error == pytest.approx(2.65)


@pytest.mark.parametrize(("noise", "beta"), [(0.3, 2.0), (0.3, 1.0), (0.05, 1.0), (2.0, 3.0)])
def test_the_closed_form_is_what_a_vae_has_there(noise, beta):
    best, encoder, log_variance, decoder = optimum(noise, beta)
    likelihood = GaussianNoise(deviation=noise**0.5).double()
    for parameter in (encoder, log_variance, decoder):
        parameter.requires_grad_()
    loss, kl, error = loss_of(encoder, log_variance, decoder, likelihood, beta, corners())
    torch.testing.assert_close(kl, best.kl, rtol=1e-9, atol=1e-9)
    assert float(error) == pytest.approx(best.error, rel=1e-9)
    collapsed = int((beta * noise >= VALUES[:SIZE]).sum())
    assert int((best.kl == 0).sum()) == collapsed
    for grad in torch.autograd.grad(loss, (encoder, log_variance, decoder)):
        assert grad.abs().max() < 1e-5  # stationary; the deviation is a float32 number


def test_no_neighbour_is_better():
    """A minimum, and not only a stationary point: 200 random steps of two lengths all cost more."""
    noise, beta = 0.3, 2.0
    likelihood = GaussianNoise(deviation=noise**0.5).double()
    _, *parameters = optimum(noise, beta)
    least = float(loss_of(*parameters, likelihood, beta, corners())[0])
    for length in (0.03, 0.3):
        for _ in range(100):
            moved = [p + length * torch.randn_like(p) for p in parameters]
            assert float(loss_of(*moved, likelihood, beta, corners())[0]) > least


def test_with_learned_noise_the_bound_is_the_likelihood_of_probabilistic_pca():
    """s² the mean of the eigenvalues left out, β = 1: ELBO = mean ln p(x), of N(0, WWᵀ + s²)."""
    kept = 3
    noise = float(VALUES[kept:].mean())
    best = linear_vae(VALUES, SIZE, noise)
    assert (best.kl > 0).sum() == kept + 1  # .5 is above its mean with the two below: kept by this size
    best = linear_vae(VALUES, kept, noise)
    decoder = torch.zeros(6, SIZE, dtype=torch.float64)
    decoder[torch.arange(kept), torch.arange(kept)] = best.gains
    variances = torch.cat((best.variances, torch.ones(SIZE - kept, dtype=torch.float64)))
    encoder = (variances / noise)[:, None] * decoder.T
    likelihood = GaussianNoise(deviation=noise**0.5).double()
    loss, _, _ = loss_of(encoder, variances.log(), decoder, likelihood, 1.0, corners())
    model = MultivariateNormal(torch.zeros(6).double(), decoder @ decoder.T + noise * torch.eye(6).double())
    assert -float(loss) == pytest.approx(float(model.log_prob(data()).mean()), abs=1e-6)
    d = len(VALUES)
    logs = d * math.log(2 * math.pi) + float(VALUES[:kept].log().sum()) + (d - kept) * math.log(noise)
    assert -float(loss) == pytest.approx(-0.5 * (logs + d), abs=1e-6)


@pytest.mark.slow
@pytest.mark.parametrize(("noise", "beta", "exact"), [(0.3, 2.0, True), (0.3, 1.0, False)])
def test_training_finds_it(noise, beta, exact):
    """From random weights, by Adam. With β = 1 the turn to the axes is slow: totals alone are asserted."""
    torch.manual_seed(0)
    parameters = [
        torch.randn(shape, dtype=torch.float64).mul(0.3).requires_grad_()
        for shape in ((SIZE, 6), (SIZE,), (6, SIZE))
    ]
    likelihood = GaussianNoise(deviation=noise**0.5).double()
    steps, noises = 3000, corners()
    adam = torch.optim.Adam(parameters, lr=0.02)
    plan = torch.optim.lr_scheduler.CosineAnnealingLR(adam, steps)
    for _ in range(steps):
        adam.zero_grad()
        loss_of(*parameters, likelihood, beta, noises)[0].backward()
        adam.step()
        plan.step()
    best = linear_vae(VALUES, SIZE, noise, beta)
    _, kl, error = loss_of(*parameters, likelihood, beta, noises)
    assert float(error) == pytest.approx(best.error, abs=0.005)
    assert float(kl.sum()) == pytest.approx(float(best.kl.sum()), abs=0.02)
    if exact:
        torch.testing.assert_close(kl.sort(descending=True).values.detach(), best.kl, rtol=0, atol=0.005)
