"""Other implementations, where they are installed: torchcfm and Meta's flow_matching."""

from __future__ import annotations

import pytest
import torch

from danlu.flows import (
    Bridge,
    Linear,
    Lipman,
    Normal,
    OptimalTransport,
    RungeKutta,
    Smoothed,
    Trigonometric,
    convert,
    log_likelihood,
)
from tests.flows.cases import MIXTURE, normal, of, signs, uniform


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
    cfm = pytest.importorskip("torchcfm.conditional_flow_matching", exc_type=ImportError)
    matcher = getattr(cfm, theirs)(**arguments)
    x0, x1, z, t = normal(6, 2, 3), normal(6, 2, 3, seed=1), normal(6, 2, 3, seed=2), 0.1 + 0.8 * uniform(6)
    noise = x0 if isinstance(path, Lipman) else z  # theirs has no x₀: its Gaussian is the noise
    expected = matcher.sample_xt(x0, x1, t, noise)
    torch.testing.assert_close(path.at(x0, x1, t, z), expected)
    torch.testing.assert_close(
        path.target(x0, x1, t, z), matcher.compute_conditional_flow(x0, x1, t, expected), rtol=1e-6, atol=1e-6
    )


def test_pot_finds_no_cheaper_plan():
    ot = pytest.importorskip("ot", exc_type=ImportError)
    noise, data = normal(60, 2), normal(60, 2, seed=1)
    (paired,) = OptimalTransport().pair(noise, data)
    cost = torch.cdist(noise, data).square().numpy()
    weights = torch.full((60,), 1 / 60).double().numpy()
    assert (noise - paired).square().sum(1).mean().item() == pytest.approx(ot.emd2(weights, weights, cost))


@pytest.mark.parametrize(
    ("path", "theirs"), [(Linear(), "CondOTScheduler"), (Trigonometric(), "CosineScheduler")]
)
def test_flow_matching_has_the_same_conversions(path, theirs):
    schedulers = pytest.importorskip("flow_matching.path.scheduler", exc_type=ImportError)
    affine = pytest.importorskip("flow_matching.path", exc_type=ImportError).AffineProbPath(
        getattr(schedulers, theirs)()
    )
    x0, x1, t = normal(6, 2), normal(6, 2, seed=1), 0.1 + 0.8 * uniform(6)
    sample = affine.sample(x_0=x0, x_1=x1, t=t)
    torch.testing.assert_close(path.at(x0, x1, t), sample.x_t)
    torch.testing.assert_close(path.target(x0, x1, t), sample.dx_t)
    value, x, column = normal(6, 2, seed=3), sample.x_t, t[:, None]
    for ours, name in (
        (("denoised", "velocity"), "target_to_velocity"),
        (("noise", "velocity"), "epsilon_to_velocity"),
        (("velocity", "denoised"), "velocity_to_target"),
        (("velocity", "noise"), "velocity_to_epsilon"),
        (("noise", "denoised"), "epsilon_to_target"),
        (("denoised", "noise"), "target_to_epsilon"),
    ):
        expected = getattr(affine, name)(value, x, column)
        torch.testing.assert_close(convert(path, x, t, value, of=ours[0], to=ours[1]), expected)


def test_flow_matching_has_the_same_solution_and_likelihood():
    solvers = pytest.importorskip("flow_matching.solver", exc_type=ImportError)
    v = MIXTURE.velocity(Linear())
    solver = solvers.ODESolver(lambda x, t: v(x, t.to(x.dtype).expand(x.shape[0])))
    x0, times = normal(4, 2), torch.linspace(0, 1, 21).double()
    theirs = solver.sample(x_init=x0, step_size=0.05, method="midpoint", time_grid=of(0.0, 1.0))
    ours = RungeKutta().flow(v, x0, times).x
    torch.testing.assert_close(ours, theirs, rtol=0, atol=5e-3)
    data = MIXTURE.means + 0.2
    _, expected = solver.compute_likelihood(
        x_1=data, log_p0=Normal().log_density, step_size=0.02, method="midpoint", exact_divergence=True
    )
    found = log_likelihood(v, data, times.flip(0), Normal().log_density)
    torch.testing.assert_close(found.value, expected.double(), rtol=0, atol=5e-3)
    probes = log_likelihood(v, data, times.flip(0), Normal().log_density, signs(20, 3, 2))
    assert ((probes.value - found.value).abs() < 5 * probes.error).all()
