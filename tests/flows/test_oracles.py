"""Other implementations, where they are installed: torchcfm, POT and Meta's flow_matching."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator

import numpy as np
import pytest
import torch
from torch import Tensor

from danlu.flows import (
    VP,
    Bridge,
    Euler,
    Heun,
    Linear,
    Lipman,
    Normal,
    OptimalTransport,
    Plain,
    RungeKutta,
    Smoothed,
    Trigonometric,
    convert,
    denoiser_of,
    log_likelihood,
    sinkhorn,
    velocity_of,
)
from tests.flows.cases import MIXTURE, name, normal, of, signs, uniform

CLOSE = {"rtol": 1e-9, "atol": 1e-9}


def cfm():
    return pytest.importorskip(
        "torchcfm.conditional_flow_matching", reason="torchcfm is not installed", exc_type=ImportError
    )


def meta(module: str):
    return pytest.importorskip(
        f"flow_matching.{module}", reason="the extra oracles is not installed", exc_type=ImportError
    )


@pytest.fixture
def float64() -> Iterator[None]:
    """What flow_matching makes of its own, as the start of an integral, is of the default type."""
    before = torch.get_default_dtype()
    torch.set_default_dtype(torch.float64)
    yield
    torch.set_default_dtype(before)


# ---------------------------------------------------------------- torchcfm


@pytest.mark.parametrize(
    ("path", "theirs", "arguments"),
    [
        (Smoothed(sigma=0.2), "ConditionalFlowMatcher", {"sigma": 0.2}),
        (Lipman(sigma=0.1), "TargetConditionalFlowMatcher", {"sigma": 0.1}),
        (Bridge(sigma=0.7), "SchrodingerBridgeConditionalFlowMatcher", {"sigma": 0.7}),
        (Trigonometric(), "VariancePreservingConditionalFlowMatcher", {"sigma": 0.0}),
    ],
    ids=lambda value: str(value),
)
def test_torchcfm_has_the_same_paths(path, theirs, arguments):
    matcher = getattr(cfm(), theirs)(**arguments)
    x0, x1, z, t = normal(6, 2, 3), normal(6, 2, 3, seed=1), normal(6, 2, 3, seed=2), 0.1 + 0.8 * uniform(6)
    noise = x0 if isinstance(path, Lipman) else z  # theirs has no x₀: its Gaussian is the noise
    expected = matcher.sample_xt(x0, x1, t, noise)
    torch.testing.assert_close(path.at(x0, x1, t, z), expected)
    # theirs adds 1e-8 to the bridge's denominator, 2t(1 − t)
    torch.testing.assert_close(
        path.target(x0, x1, t, z), matcher.compute_conditional_flow(x0, x1, t, expected), rtol=1e-6, atol=1e-6
    )


@pytest.mark.parametrize("shape", [(40, 2), (25, 3, 4)])
def test_torchcfm_has_the_same_plan(shape):
    """The exact plan of equal batches is a permutation; theirs is drawn from, ours is taken as it is."""
    transport = pytest.importorskip(
        "torchcfm.optimal_transport", reason="torchcfm is not installed", exc_type=ImportError
    )
    sampler, x0, x1 = transport.OTPlanSampler("exact"), normal(*shape), normal(*shape, seed=1)
    plan, n = sampler.get_map(x0, x1), shape[0]
    order = OptimalTransport().order(x0, x1)
    np.testing.assert_allclose(plan, np.eye(n)[order.numpy()] / n, atol=1e-12)
    (paired,) = OptimalTransport().pair(x0, x1)
    cost = (x0 - paired).square().flatten(1).sum(1)
    np.random.seed(0)
    theirs0, theirs1 = sampler.sample_plan(x0, x1, replace=False)  # each pair once, in another order
    theirs = (theirs0 - theirs1).square().flatten(1).sum(1)
    torch.testing.assert_close(theirs.sort().values, cost.sort().values, **CLOSE)
    distance = transport.wasserstein(x0, x1, power=2)
    assert cost.mean().item() == pytest.approx(distance**2, rel=1e-9)


def test_torchcfm_walks_between_the_same_pairs():
    """OT-CFM without noise: of x_t and its velocity both ends are known, x_t − tv and x_t + (1 − t)v."""
    matcher = cfm().ExactOptimalTransportConditionalFlowMatcher(sigma=0.0)
    x0, x1 = normal(30, 2), normal(30, 2, seed=1)
    np.random.seed(0)
    t, x, v = matcher.sample_location_and_conditional_flow(x0, x1)
    start, end = x - t[:, None] * v, x + (1 - t[:, None]) * v
    (paired,) = OptimalTransport().pair(x0, x1)
    row = torch.cdist(start, x0).argmin(1)
    torch.testing.assert_close(start, x0[row], **CLOSE)
    torch.testing.assert_close(end, paired[row], **CLOSE)
    torch.testing.assert_close(x, Linear().at(x0[row], paired[row], t), **CLOSE)
    torch.testing.assert_close(v, Linear().target(x0[row], paired[row], t), **CLOSE)


def test_pot_finds_no_cheaper_plan():
    ot = pytest.importorskip("ot", exc_type=ImportError)
    noise, data = normal(60, 2), normal(60, 2, seed=1)
    (paired,) = OptimalTransport().pair(noise, data)
    cost = torch.cdist(noise, data).square().numpy()
    weights = torch.full((60,), 1 / 60).double().numpy()
    assert (noise - paired).square().sum(1).mean().item() == pytest.approx(ot.emd2(weights, weights, cost))


@pytest.mark.parametrize("epsilon", [0.2, 2.0])
def test_pot_has_the_same_entropic_plan(epsilon):
    ot = pytest.importorskip("ot", exc_type=ImportError)
    cost = torch.cdist(normal(40, 2), normal(40, 2, seed=1)).square()
    weights = torch.full((40,), 1 / 40).double().numpy()
    plan = ot.sinkhorn(
        weights, weights, cost.numpy(), epsilon, method="sinkhorn_log", numItermax=20_000, stopThr=1e-13
    )
    np.testing.assert_allclose(sinkhorn(cost, epsilon, off=1e-11).exp().numpy(), plan, rtol=0, atol=1e-9)


# ---------------------------------------------------------------- flow_matching: paths and conversions

# Ours, their scheduler, and its arguments: the same α and σ at the same t.
SAME = [
    (Linear(), "CondOTScheduler", {}),
    (Linear(), "PolynomialConvexScheduler", {"n": 1}),
    (Trigonometric(), "CosineScheduler", {}),
    (VP(), "VPScheduler", {}),
    (VP(beta_min=0.3, beta_max=9.0), "VPScheduler", {"beta_min": 0.3, "beta_max": 9.0}),
]
# Theirs is ours by another clock: t, and how fast it runs.
CLOCKS: list[tuple[Plain, str, dict, Callable[[Tensor], Tensor]]] = [
    (Linear(), "PolynomialConvexScheduler", {"n": 3}, lambda t: t**3),
    (Linear(), "PolynomialConvexScheduler", {"n": 0.5}, lambda t: t.sqrt()),
    (Trigonometric(), "LinearVPScheduler", {}, lambda t: t.asin() * (2 / math.pi)),
]


def scheduler(theirs: str, arguments: dict):
    return getattr(meta("path.scheduler"), theirs)(**arguments)


@pytest.mark.parametrize(("path", "theirs", "arguments"), SAME, ids=name)
def test_flow_matching_has_the_same_scales(path, theirs, arguments):
    other, t = scheduler(theirs, arguments), torch.linspace(0.02, 0.98, 25).double()
    found, (alpha, sigma, _), (dalpha, dsigma, _) = other(t), path.scales(t), path.rates(t)
    for ours, their in zip((alpha, sigma, dalpha, dsigma), vars(found).values(), strict=True):
        torch.testing.assert_close(ours, their, **CLOSE)
    torch.testing.assert_close(path.time(sigma / alpha), t, **CLOSE)
    torch.testing.assert_close(other.snr_inverse(alpha / sigma), t, **CLOSE)


@pytest.mark.parametrize(
    ("path", "theirs", "arguments", "clock"), CLOCKS, ids=lambda x: "clock" if callable(x) else name(x)
)
def test_flow_matching_has_the_same_scales_by_another_clock(path, theirs, arguments, clock):
    """α(τ), and dα/dt = α̇(τ)·dτ/dt."""
    t = torch.linspace(0.02, 0.98, 25).double().requires_grad_()
    tau = clock(t)
    (speed,) = torch.autograd.grad(tau.sum(), t)
    t, tau = t.detach(), tau.detach()
    found, (alpha, sigma, _), (dalpha, dsigma, _) = (
        scheduler(theirs, arguments)(t),
        path.scales(tau),
        path.rates(tau),
    )
    torch.testing.assert_close(alpha, found.alpha_t, **CLOSE)
    torch.testing.assert_close(sigma, found.sigma_t, **CLOSE)
    torch.testing.assert_close(dalpha * speed, found.d_alpha_t, **CLOSE)
    torch.testing.assert_close(dsigma * speed, found.d_sigma_t, **CLOSE)


@pytest.mark.parametrize(("path", "theirs", "arguments"), SAME, ids=name)
def test_flow_matching_has_the_same_conversions(path, theirs, arguments):
    affine = meta("path").AffineProbPath(scheduler(theirs, arguments))
    x0, x1, t = normal(6, 2), normal(6, 2, seed=1), 0.1 + 0.8 * uniform(6)
    sample = affine.sample(x_0=x0, x_1=x1, t=t)
    torch.testing.assert_close(path.at(x0, x1, t), sample.x_t, **CLOSE)
    torch.testing.assert_close(path.target(x0, x1, t), sample.dx_t, **CLOSE)
    value, x, column = normal(6, 2, seed=3), sample.x_t, t[:, None]
    for ours, by in (
        (("denoised", "velocity"), "target_to_velocity"),
        (("noise", "velocity"), "epsilon_to_velocity"),
        (("velocity", "denoised"), "velocity_to_target"),
        (("velocity", "noise"), "velocity_to_epsilon"),
        (("noise", "denoised"), "epsilon_to_target"),
        (("denoised", "noise"), "target_to_epsilon"),
    ):
        expected = getattr(affine, by)(value, x, column)
        torch.testing.assert_close(convert(path, x, t, value, of=ours[0], to=ours[1]), expected, **CLOSE)


@pytest.mark.parametrize(("path", "theirs", "arguments"), SAME[2:], ids=name)
def test_flow_matching_changes_the_path_of_a_velocity_alike(path, theirs, arguments):
    """A velocity on the linear path, asked on another: theirs by the chain rule of time and scale, ours by
    the denoiser that both stand for; a mixture's own velocity there is a third way."""
    schedulers = meta("path.scheduler")
    given = MIXTURE.velocity(Linear())
    other = schedulers.ScheduleTransformedModel(
        velocity_model=lambda x, t: given(x, t[:, 0]),
        original_scheduler=schedulers.CondOTScheduler(),
        new_scheduler=scheduler(theirs, arguments),
    )
    x, t = 2 * normal(9, 2), 0.05 + 0.9 * uniform(9)
    ours = velocity_of(path, denoiser_of(Linear(), given))(x, t)
    torch.testing.assert_close(ours, other(x, t[:, None]), **CLOSE)
    torch.testing.assert_close(ours, MIXTURE.velocity(path)(x, t), **CLOSE)


# ---------------------------------------------------------------- flow_matching: solutions and likelihoods


def solver_of(path: Plain):
    v = MIXTURE.velocity(path)
    return v, meta("solver").ODESolver(lambda x, t: v(x, t.to(x.dtype).expand(x.shape[0])))


@pytest.mark.parametrize(("ours", "method"), [(Euler(), "euler"), (Heun(), "heun2")], ids=name)
def test_flow_matching_takes_the_same_steps(ours, method):
    v, solver = solver_of(Trigonometric())
    for times in (torch.linspace(0, 1, 8).double(), of(1.0, 0.7, 0.1, 0.0)):
        theirs = solver.sample(x_init=normal(5, 2), step_size=None, method=method, time_grid=times)
        torch.testing.assert_close(ours.flow(v, normal(5, 2), times).x, theirs, rtol=0, atol=1e-13)


@pytest.mark.parametrize("path", [Linear(), Trigonometric()], ids=name)
def test_flow_matching_has_the_same_solution(path):
    """Against steps that adapt, of order 5; and the same place by Kutta's other rule of order 4."""
    v, solver = solver_of(path)
    start, times = normal(4, 2), torch.linspace(0, 1, 101).double()
    ours = RungeKutta().flow(v, start, times).x
    how = {"x_init": start, "step_size": None, "time_grid": of(0.0, 1.0)}
    exact = solver.sample(**how, method="dopri5", rtol=1e-10, atol=1e-10)
    torch.testing.assert_close(ours, exact, rtol=0, atol=1e-6)
    rule = solver.sample(**how | {"time_grid": times}, method="rk4")
    torch.testing.assert_close(rule, exact, rtol=0, atol=1e-6)


@pytest.mark.parametrize("path", [Linear(), Trigonometric()], ids=name)
def test_flow_matching_has_the_same_likelihood(path, float64):
    v, solver = solver_of(path)
    data = MIXTURE.means + 0.2
    start, expected = solver.compute_likelihood(
        x_1=data,
        log_p0=Normal().log_density,
        step_size=None,
        method="dopri5",
        rtol=1e-9,
        atol=1e-9,
        time_grid=of(1.0, 0.0),
        exact_divergence=True,
    )
    times = torch.linspace(1, 0, 61).double()
    found = log_likelihood(v, data, times, Normal().log_density)
    torch.testing.assert_close(found.value, expected, rtol=0, atol=1e-6)
    torch.testing.assert_close(found.prior, start, rtol=0, atol=1e-6)
    probes = log_likelihood(v, data, times[::3], Normal().log_density, signs(20, 3, 2))
    assert ((probes.value - expected).abs() < 5 * probes.error).all()
