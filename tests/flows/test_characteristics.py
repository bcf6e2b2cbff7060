"""Tracks through data points with a free prior: fields, densities, continuity, and both ends."""

from __future__ import annotations

import math

import pytest
import scipy.stats
import torch

from danlu.flows import (
    Characteristics,
    Heun,
    Linear,
    Logistic,
    Normal,
    RungeKutta,
    Trigonometric,
    Uniform,
    straight,
)
from danlu.flows.exact import gaussian
from tests.flows.cases import PLAIN, name, normal, of, uniform

PRIORS = {
    Normal(): scipy.stats.norm(),
    Uniform(): scipy.stats.uniform(-math.sqrt(3), 2 * math.sqrt(3)),
    Logistic(): scipy.stats.logistic(scale=math.sqrt(3) / math.pi),
}
POINTS, MASSES = of(-1.0, 0.4, 1.5)[:, None], of(0.5, 0.3, 0.2)


def bent(x, data, t):
    """Tracks that turn and stretch on their way: z = (x − t·data)/(1 − t) turned by t, plus .3 t sinh."""
    z = (x - t * data) / (1 - t)
    turned = torch.stack([t.cos() * z[0] - t.sin() * z[1], t.sin() * z[0] + t.cos() * z[1]])
    return turned + t * turned.sinh() * 0.3


@pytest.mark.parametrize("prior", PRIORS, ids=name)
def test_priors_are_those_of_scipy(prior):
    u, law = uniform(40), PRIORS[prior]
    x = prior.sample(u)
    torch.testing.assert_close(x, torch.tensor(law.ppf(u.numpy())))
    torch.testing.assert_close(
        prior.log_density(x.reshape(20, 2)), torch.tensor(law.logpdf(x)).reshape(20, 2).sum(1)
    )
    assert law.var() == pytest.approx(1)


@pytest.mark.parametrize("path", PLAIN, ids=name)
@pytest.mark.parametrize("prior", PRIORS, ids=name)
def test_straight_tracks_are_the_path(path, prior):
    """f is the target of the path at the noise that x stands for, and p_t = p₀((x − αx₁)/σ)/σ^d."""
    began, data, t = prior.sample(uniform(6, 2)), normal(6, 2), 0.1 + 0.8 * uniform(6)
    x = path.at(began, data, t)
    flow = Characteristics(straight(path), prior)
    torch.testing.assert_close(flow.field(x, data, t), path.target(began, data, t))
    expected = prior.log_density(began) - 2 * path.scales(t).sigma.log()
    torch.testing.assert_close(flow.log_density(x, data, t), expected)


def test_the_marginal_of_a_normal_prior_is_the_exact_field():
    x, t = normal(5, 1), of(0.4).expand(5)
    alone = Characteristics(straight(Linear())).velocity(x, t, POINTS[:1])
    sharp = gaussian(POINTS[0], of(1e-9)).velocity(Linear())(x, t)
    torch.testing.assert_close(alone, sharp)


def test_bent_tracks_begin_anywhere_and_obey_continuity():
    """φ₀ = x, and ∂_t p + ∇·(p f) = 0 by automatic differentiation."""
    data = normal(6, 2)
    torch.testing.assert_close(
        torch.func.vmap(bent)(normal(6, 2), data, torch.zeros(6).double()), normal(6, 2)
    )
    flow = Characteristics(bent, Logistic())
    x, t = (0.5 * normal(6, 2, seed=4)).requires_grad_(), (0.2 + 0.5 * uniform(6)).requires_grad_()
    density = flow.log_density(x, data, t).exp()
    (total,) = torch.autograd.grad(density.sum(), t, retain_graph=True)
    flux = flow.field(x, data, t) * density[:, None]
    for i in range(2):
        total = total + torch.autograd.grad(flux[:, i].sum(), x, retain_graph=True)[0][:, i]
    assert (total.abs() / density).max() < 1e-9


@pytest.mark.parametrize(("prior", "path"), [(Normal(), Linear()), (Logistic(), Trigonometric())], ids=name)
def test_one_dimension_conserves_the_distribution(prior, path):
    """F_t(x) = Σ mass · F₀((x − αx_i)/σ) stays as it was at the start, to 8 digits, in steps that are even in
    ln(1 − t): the map is the monotone one."""
    law = PRIORS[prior]
    flow = Characteristics(straight(path), prior)
    start = prior.sample(torch.linspace(0.03, 0.97, 12).double())[:, None]
    times = (1 - torch.logspace(0, -1, 121, dtype=torch.float64)).tolist()
    for state in RungeKutta().along(
        lambda x, t: flow.velocity(x, of(t).expand(12), POINTS, MASSES), start, times
    ):
        x = state
    alpha, sigma, _ = path.scales(of(times[-1]))
    after = torch.tensor(law.cdf((x - alpha * POINTS.T) / sigma)) @ MASSES
    torch.testing.assert_close(after, torch.tensor(law.cdf(start[:, 0])), rtol=0, atol=1e-8)


def test_a_uniform_prior_reaches_the_masses():
    """The field of a uniform prior jumps; yet from quantiles that are even, each point gets its mass."""
    n = 100
    flow = Characteristics(straight(Linear()), Uniform())
    start = Uniform().sample((torch.arange(n).double() + 0.5) / n)[:, None]
    found = (
        Heun()
        .flow(lambda x, t: flow.velocity(x, t, POINTS, MASSES), start, torch.linspace(0, 0.99, 100).double())
        .x
    )
    apart = (found - POINTS.T).abs()
    assert apart.amin(1).max() < 0.1
    share = torch.bincount(apart.argmin(1), minlength=3) / n
    assert (share - MASSES).abs().max() < 0.02
