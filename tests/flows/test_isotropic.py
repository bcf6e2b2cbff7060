"""Su's construction: Green functions without divergence, gravity, flows of laws that are no scale family."""

from __future__ import annotations

import math

import pytest
import scipy.stats
import torch

from danlu.flows import Gaussian, Isotropic, RungeKutta, gravity
from danlu.flows.shapes import length
from tests.flows.cases import normal, of, uniform

# ψ_t(r): two scale families, and two that are none: in one the shape changes, in one the spread ends at 1.
LAWS = {
    "tanh": lambda r, t: (r / t).tanh(),
    "cauchy in the plane": lambda r, t: 1 - t / (t**2 + r**2).sqrt(),
    "power": lambda r, t: 1 - torch.exp(-((r / t) ** (1 + t))),
    "bounded": lambda r, t: 1 - torch.exp(-(r**2) / t - r**4),
}


def divergence(parts, t, x):
    """(∂_t, ∇)·(G₁, G₂…) for each row."""
    first, rest = parts
    (total,) = torch.autograd.grad(first.sum(), t, retain_graph=True)
    for i in range(x.shape[1]):
        total = total + torch.autograd.grad(rest[:, i].sum(), x, retain_graph=True)[0][:, i]
    return total


@pytest.mark.parametrize("d", [1, 2, 3, 5])
@pytest.mark.parametrize("psi", LAWS.values(), ids=LAWS)
def test_green_functions_have_no_divergence(psi, d):
    x = (1.5 * normal(8, d)).requires_grad_()
    t = (0.3 + uniform(8)).requires_grad_()
    parts = Isotropic(psi).green(x, torch.zeros(8, d).double(), t)
    scale = parts[0].detach().abs() / t.detach() + 1e-3
    assert (divergence(parts, t, x) / scale).abs().max() < 1e-9


@pytest.mark.parametrize("d", [1, 2, 3])
def test_gravity_is_the_only_one_isotropic_in_all(d):
    x, t = normal(8, d).requires_grad_(), (0.3 + uniform(8)).requires_grad_()
    height, rest = gravity(t, x)
    assert divergence((height, rest), t, x).abs().max() < 1e-10
    r = (t**2 + length(x) ** 2).sqrt()
    other = 1 / r**0.5  # any other power
    assert divergence((height * other, rest * other[:, None]), t, x).abs().min() > 1e-3
    # its first part, made a density, is Cauchy's: the law of PFGM
    constant = math.gamma((d + 1) / 2) / math.pi ** ((d + 1) / 2)
    law = scipy.stats.multivariate_t(shape=0.49 * torch.eye(d).numpy(), df=1)
    at = normal(6, d)
    ours = constant * gravity(of(0.7).expand(6), at)[0]
    torch.testing.assert_close(ours, torch.tensor(law.pdf(at.numpy())).reshape(6))


@pytest.mark.parametrize("psi", LAWS.values(), ids=LAWS)
def test_noise_has_its_law(psi):
    n, t = 3000, of(0.6)
    noise = Isotropic(psi).noise(normal(n, 2), uniform(n), t)
    assert (
        scipy.stats.kstest(length(noise).numpy(), lambda r: psi(torch.as_tensor(r), t).numpy()).pvalue > 1e-3
    )


def test_density_and_field_are_those_of_the_kernel():
    x, origin, t = normal(5, 3), normal(5, 3, seed=1), of(0.7).expand(5)
    ours = Isotropic(lambda r, t: Gaussian().cdf(r / t, 3))
    torch.testing.assert_close(ours.log_density(x, origin, t), Gaussian().log_density(x, origin, 0.7))
    points, masses = normal(4, 3, seed=2), of(0.1, 0.2, 0.3, 0.4)
    expected = (x - Gaussian().denoised(x, 0.7, points, masses)) / 0.7
    torch.testing.assert_close(ours.velocity(x, t, points, masses), expected)


@pytest.mark.parametrize(
    "psi",
    [lambda r, t: (r / t).atan() * (2 / math.pi), lambda r, t: torch.erf(r / t + r**3)],
    ids=["cauchy", "erf"],
)
def test_one_dimension_conserves_the_distribution(psi):
    """F_t(x) = Σ mass · P(x_i + noise ≤ x) stays the same on paths, to 8 digits, for a law that is no
    scale family too."""
    points, masses = of(-0.7, 0.6)[:, None], of(0.3, 0.7)

    def distribution(x, t):
        apart = x - points.T
        return ((1 + apart.sign() * psi(apart.abs(), of(t))) / 2) @ masses

    flow = Isotropic(psi)
    x = before = torch.linspace(-2.1, 2, 12).double()[:, None]
    times = torch.linspace(1.0, 0.3, 81, dtype=torch.float64).tolist()
    for state in RungeKutta().along(lambda x, t: flow.velocity(x, of(t), points, masses).detach(), x, times):
        x = state
    torch.testing.assert_close(distribution(x, 0.3), distribution(before, 1.0), rtol=0, atol=1e-8)


def test_a_shell_of_data_pulls_nowhere_but_through_the_extra_dimension():
    """Newton's theorem, why PFGM adds a dimension (Xu et al. 2022, section 3.1). In the plane the field
    Σ (x − x_i)/‖x − x_i‖² of n charges on a circle is n zⁿ⁻¹/(1 − zⁿ) in complex numbers: within the circle
    it is none, and samples that follow it stay where they are, or fall to the middle. With the extra
    dimension every point has a slope towards data, whose length in the direction of z is the density of a
    Cauchy law of width z, which is never 0."""
    n, t = 40, of(0.3).expand(200)
    angles = 2 * math.pi * torch.arange(n, dtype=torch.float64) / n
    circle = torch.stack([angles.cos(), angles.sin()], 1)
    x = 0.5 * uniform(200, 1).sqrt() * torch.nn.functional.normalize(normal(200, 2), dim=1)
    apart = x[:, None] - circle
    within_the_plane = (apart / apart.square().sum(2, keepdim=True)).sum(1)
    z = torch.complex(x[:, 0], x[:, 1])
    expected = -n * z ** (n - 1) / (1 - z**n)  # the conjugate of the field
    torch.testing.assert_close(torch.complex(within_the_plane[:, 0], -within_the_plane[:, 1]), expected)
    assert within_the_plane.norm(dim=1).max() < n * 0.5 ** (n - 1) * 1.01
    up = torch.stack([gravity(t, x - one)[0] for one in circle]).sum(0)
    width = (t**2 + apart.square().sum(2).amax(1)).pow(-1.5) * t * n
    assert (up >= width).all() and up.min() > 1
