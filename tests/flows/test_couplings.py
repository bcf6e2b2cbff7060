"""Couplings: permutations of least cost, found by trying all; labels go along; pairs of reflow."""

from __future__ import annotations

import math
from itertools import permutations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from danlu.flows import Entropic, Heun, Independent, Linear, OptimalTransport, reflow, sinkhorn
from danlu.flows.couplings import squared_distances
from tests.flows.cases import MIXTURE, normal, of, uniform


@settings(max_examples=25, deadline=None)
@given(n=st.integers(1, 6), d=st.integers(1, 3), seed=st.integers(0, 999))
def test_no_permutation_costs_less(n, d, seed):
    noise, data = normal(n, d, seed=seed), normal(n, d, seed=seed + 1000)
    order = OptimalTransport().order(noise, data)
    assert sorted(order.tolist()) == list(range(n))
    costs = [(noise - data[list(p)]).square().sum().item() for p in permutations(range(n))]
    assert (noise - data[order]).square().sum().item() == pytest.approx(min(costs))


def test_in_one_dimension_it_sorts():
    noise, data = normal(300, 1), normal(300, 1, seed=1)
    (paired,) = OptimalTransport().pair(noise, data)
    order = noise[:, 0].argsort()
    assert (paired[order, 0].diff() >= 0).all()


def test_labels_go_along_with_their_data():
    noise, data = normal(40, 2, 3), normal(40, 2, 3, seed=1)
    labels = torch.arange(40)
    paired, moved = OptimalTransport().pair(noise, data, labels)
    torch.testing.assert_close(paired, data[moved], rtol=0, atol=0)
    assert sorted(moved.tolist()) == labels.tolist() and moved.tolist() != labels.tolist()
    same, unmoved = Independent().pair(noise, data, labels)
    assert torch.equal(same, data) and torch.equal(unmoved, labels)


def test_it_is_the_same_every_time_and_draws_nothing():
    noise, data = normal(30, 2), normal(30, 2, seed=1)
    state = torch.get_rng_state()
    first = OptimalTransport().order(noise, data)
    assert torch.equal(first, OptimalTransport().order(noise, data))
    assert torch.equal(state, torch.get_rng_state())


def test_what_is_not_finite_is_refused():
    with pytest.raises(ValueError, match="not finite: no assignment"):
        OptimalTransport().order(normal(2, 2), torch.tensor([[0.0, torch.inf], [0.0, 0.0]]))


def test_reflow_pairs_are_ends_of_paths():
    """Solved back from the data they give the noise."""
    v, times = MIXTURE.velocity(Linear()), torch.linspace(0, 1, 101).double()
    noise, data = reflow(v, normal(5, 2), times, Heun())
    torch.testing.assert_close(Heun().flow(v, data, times.flip(0)).x, noise, rtol=0, atol=1e-3)


@pytest.mark.parametrize("epsilon", [0.3, 2.0, 50.0])
def test_the_entropic_plan_is_the_one_that_is_least(epsilon):
    """P = exp(f + g − C/ε) with even sums is the only minimum (Cuturi 2013, lemma 2): ln P + C/ε has no part
    that is not of its row or of its column."""
    cost = squared_distances(normal(20, 2), normal(30, 2, seed=1))
    log = sinkhorn(cost, epsilon, off=1e-9)
    torch.testing.assert_close(log.logsumexp(1).exp(), of(1 / 20).expand(20))
    assert (log.logsumexp(0).exp() - 1 / 30).abs().sum() < 1e-9
    rough = sinkhorn(cost, epsilon)
    torch.testing.assert_close(rough.logsumexp(1).exp(), of(1 / 20).expand(20))
    assert (rough.logsumexp(0).exp() - 1 / 30).abs().sum() < 1e-3
    left = log + cost / epsilon
    left = left - left.mean(0) - left.mean(1, keepdim=True) + left.mean()
    assert left.abs().max() < 1e-9


@pytest.mark.parametrize("epsilon", [0.5, 2.0])
def test_the_entropic_plan_of_two_normal_laws(epsilon):
    """Their joint law is normal with correlation c: of its exponent, 2xy/ε = c xy/(1 − c²). On 500 quantiles,
    which is off by the outermost ones."""
    x = torch.special.ndtri((torch.arange(500).double() + 0.5) / 500)[:, None]
    plan = sinkhorn(squared_distances(x, x), epsilon, off=1e-9).exp()
    found = (x.T @ plan @ x).item() / x.square().mean().item()
    c = (math.sqrt(1 + (4 / epsilon) ** 2) - 1) / (4 / epsilon)
    assert found == pytest.approx(c, abs=0.01)


def test_entropic_pairs_lie_between_the_assignment_and_chance():
    noise = 2 * torch.arange(6).double()[:, None]
    data = noise[[3, 0, 5, 1, 4, 2]] + 0.1 * normal(6, 1)
    least = OptimalTransport().order(noise, data)
    assert torch.equal(Entropic(epsilon=0.2).order(noise, data, uniform(6)), least)
    assert torch.equal(Entropic(epsilon=1e9).order(noise, data, (torch.arange(6) + 0.5) / 6), torch.arange(6))


@pytest.mark.slow
def test_entropic_pairs_are_drawn_by_the_plan():
    """As often as the plan says, within 4 standard errors; the same numbers draw the same pairs."""
    noise, data, n = normal(4, 2), normal(4, 2, seed=1), 4000
    shares = sinkhorn(squared_distances(noise, data), 1.0).softmax(1)
    drawn = torch.stack([Entropic(epsilon=1.0).order(noise, data, u) for u in uniform(n, 4)])
    counts = torch.stack([(drawn == j).double().mean(0) for j in range(4)], 1)
    assert ((counts - shares).abs() < 4 * (shares * (1 - shares) / n).sqrt() + 1e-4).all()
    labels = torch.arange(4)
    paired, moved = Entropic(epsilon=1.0).pair(noise, data, labels, uniform=uniform(4))
    assert torch.equal(paired, data[moved])
    assert torch.equal(moved, Entropic(epsilon=1.0).order(noise, data, uniform(4)))


def test_what_has_no_entropic_plan_is_refused():
    with pytest.raises(ValueError, match=r"epsilon = 1e-09: the entropic plan is not found.*coupling ot"):
        sinkhorn(squared_distances(normal(30, 2), normal(30, 2, seed=1)), 1e-9)
    with pytest.raises(ValueError, match="draws; give it a uniform number"):
        Entropic().order(normal(2, 2), normal(2, 2))
