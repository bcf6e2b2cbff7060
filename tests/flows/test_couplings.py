"""Couplings: permutations of least cost, found by trying all; labels go along; pairs of reflow."""

from __future__ import annotations

from itertools import permutations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from danlu.flows import Heun, Independent, Linear, OptimalTransport, reflow
from tests.flows.cases import MIXTURE, normal


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
