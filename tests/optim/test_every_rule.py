"""What all rules do alike with parameters that are out of the ordinary."""

from __future__ import annotations

from typing import get_args

import pytest
import torch

import danlu.optim  # noqa: F401 (registers the rules)
from danlu import spec
from danlu.nn.registry import class_for
from danlu.spec.errors import DanluError

KINDS = [kind for kind in get_args(get_args(spec.Optimizer)[0]) if not issubclass(kind, spec.Solver)]
RULES = [class_for(kind) for kind in KINDS]  # for networks: solvers take no parameters but their model's
each_rule = pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.__name__)
by_element = pytest.mark.parametrize(
    "rule", [rule for rule in RULES if rule.__name__ != "Muon"], ids=lambda rule: rule.__name__
)


def parameter(*shape, dtype=torch.float32):
    generator = torch.Generator().manual_seed(0)
    return torch.nn.Parameter(torch.randn(shape, generator=generator, dtype=torch.float64).to(dtype))


def train(params, optimizer, steps=3):
    for step in range(steps):
        generator = torch.Generator().manual_seed(step)
        for p in params:
            p.grad = torch.randn(p.shape, generator=generator)
        optimizer.step()


@each_rule
@pytest.mark.parametrize("dtype", [torch.complex64, torch.complex128])
def test_complex_parameters_are_refused(rule, dtype):
    with pytest.raises(DanluError, match=rf"{rule.__name__} updates real numbers, and .* \(3×3\) is {dtype}"):
        rule([parameter(2, 2), parameter(3, 3, dtype=dtype)], lr=0.1)
    group = {"params": [parameter(3, 3, dtype=dtype)], "names": ["mixer.poles"]}
    with pytest.raises(DanluError, match=r"mixer\.poles \(3×3\)"):
        rule([group], lr=0.1)


@each_rule
def test_sparse_gradients_are_refused(rule):
    table = torch.nn.Embedding(4, 3, sparse=True)
    before = table.weight.detach().clone()
    optimizer = rule(table.parameters(), lr=0.1)
    table(torch.tensor([1, 1])).sum().backward()
    with pytest.raises(DanluError, match=r"sparse \(torch\.sparse_coo\).*without sparse=True"):
        optimizer.step()
    assert torch.equal(table.weight, before)


@each_rule
@pytest.mark.parametrize("shape", [(3, 0), (0, 3)])
@pytest.mark.parametrize("prepared", [False, True])
def test_parameters_without_numbers_change_nothing(rule, shape, prepared):
    """The others are updated as if they were not there, bit for bit."""
    alone, among = parameter(4, 3), parameter(4, 3)
    train([alone], rule([alone], lr=0.1))
    params = [parameter(*shape), among, parameter(*shape)]
    optimizer = rule(params, lr=0.1)
    if prepared:
        optimizer.prepare()
    train(params, optimizer)
    assert torch.equal(alone, among) and alone.isfinite().all()
    other = rule(params, lr=0.1)
    other.load_state_dict(optimizer.state_dict())
    train(params, other, 1)
    assert among.isfinite().all()


@by_element
def test_a_scalar_is_a_vector_of_one(rule):
    """Bit for bit."""
    scalar, vector = parameter(), torch.nn.Parameter(parameter().detach().reshape(1).clone())
    before = scalar.detach().clone()
    train([scalar], rule([scalar], lr=0.1))
    train([vector], rule([vector], lr=0.1))
    assert torch.equal(scalar.reshape(1), vector) and not torch.equal(scalar, before)


def test_muon_refuses_what_is_no_matrix():
    (muon,) = (rule for rule in RULES if rule.__name__ == "Muon")
    with pytest.raises(ValueError, match=r"shape \(\)"):
        muon([parameter()])


@each_rule
@pytest.mark.parametrize("way", ["plain", "mapping", "state_dict"])
def test_another_order_in_memory_changes_nothing(rule, way):
    """A transposed parameter is updated as its copy is, also where its state comes from a file, which has the
    usual order. To 1e-5: sums are taken in another order."""
    found = []
    for turned in (False, True):
        p = parameter(40, 30)
        if turned:
            p = torch.nn.Parameter(p.detach().t().contiguous().t())
            assert not p.is_contiguous()
        optimizer = rule([p], lr=0.01)
        train([p], optimizer)
        if turned and way != "plain":
            again = rule([p], lr=0.01)
            state = {
                key: t.clone(memory_format=torch.contiguous_format) for key, t in optimizer.state[p].items()
            }
            if way == "mapping":
                again.put_state(p, state)
            else:
                again.load_state_dict({**optimizer.state_dict(), "state": {0: state}})
            optimizer = again
        train([p], optimizer)
        found.append(p.detach().contiguous())
    torch.testing.assert_close(*found, rtol=1e-5, atol=1e-5)


@each_rule
def test_gaps_in_memory_are_refused(rule):
    """Fused kernels would write into the gaps."""
    whole = torch.zeros(4, 6)
    for view in (whole[:, :3], whole[:, ::2], whole[::2], whole[:1].expand(4, 6)):
        with pytest.raises(DanluError, match="gaps between its numbers in memory"):
            rule([torch.nn.Parameter(view)], lr=0.1)
    for view in (
        whole.t(),
        whole[1:3],
        whole[:, None],
        whole[:1],
        whole.view(4, 1, 2, 3).transpose(2, 3)[:, 0],
    ):
        rule([torch.nn.Parameter(view.flatten(1) if rule.__name__ == "Muon" else view)], lr=0.1)
