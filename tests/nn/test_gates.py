"""Gates by hand, their opening at the start, and by finite differences."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.autograd import gradcheck
from torch.utils.flop_counter import FlopCounterMode

from danlu import spec
from danlu.nn import Attention, ElementGate, HeadGate, build
from danlu.optim import by_role

GATES = [spec.HeadGate(), spec.HeadGate(hidden=3), spec.ElementGate()]
each = pytest.mark.parametrize("gate", GATES, ids=["heads", "heads-mlp", "elements"])


@settings(max_examples=30, deadline=None)
@given(
    st.integers(1, 3), st.integers(1, 6), st.integers(1, 4), st.integers(1, 4), st.none() | st.integers(1, 3)
)
def test_a_head_gate_reads_its_own_slice(batch, length, heads, part, hidden):
    gate = HeadGate(heads * part, heads, 5, hidden=hidden).double()
    for parameter in gate.parameters():
        torch.nn.init.normal_(parameter)
    x = torch.randn(batch, length, heads * part, dtype=torch.float64)
    y = torch.randn(batch, heads, length, 5, dtype=torch.float64)
    got = gate(x, y)
    for h in range(heads):
        z = x[..., h * part : (h + 1) * part] @ gate.weight.view(heads, part, -1)[h]
        if hidden is not None:
            z = (z + gate.hidden_bias.view(heads, -1)[h]).relu() @ gate.second.view(heads, -1, 1)[h]
        expected = y[:, h] * torch.sigmoid(z + gate.bias[h])
        torch.testing.assert_close(got[:, h], expected, rtol=1e-12, atol=1e-12)


def test_an_element_gate_is_its_formula():
    gate = ElementGate(12, 3, 5).double()
    x = torch.randn(2, 7, 12, dtype=torch.float64)
    y = torch.randn(2, 3, 7, 5, dtype=torch.float64)
    opened = torch.sigmoid(x @ gate.map.weight.T).view(2, 7, 3, 5)
    expected = y * opened.permute(0, 2, 1, 3)
    torch.testing.assert_close(gate(x, y), expected, rtol=1e-13, atol=1e-13)


@pytest.mark.parametrize("open", [0.25, 0.5, 0.9])
@pytest.mark.parametrize("hidden", [None, 4])
def test_a_head_gate_starts_as_far_open_as_asked(open, hidden):
    """Without weights exactly; with those drawn on average over inputs: they add a number of spread
    √(1/3) or less to the logit, which moves a sigmoid by less than a quarter of it."""
    gate = HeadGate(64, 4, 16, hidden=hidden, open=open)
    x, y = torch.randn(8, 50, 64), torch.ones(8, 4, 50, 16)
    assert abs(gate(x, y).mean().item() - open) < 0.25 * (1 / 3) ** 0.5
    torch.nn.init.zeros_(gate.weight)
    torch.testing.assert_close(gate(x, y), torch.full_like(y, open))


@each
def test_gradcheck(gate):
    layer = build(gate, 6, 3, 2).double()
    for parameter in layer.parameters():
        torch.nn.init.normal_(parameter)
    names = [name for name, _ in layer.named_parameters()]

    def call(x, y, *parameters):
        return torch.func.functional_call(layer, dict(zip(names, parameters, strict=True)), (x, y))

    x, y = torch.randn(1, 2, 6, dtype=torch.float64), torch.randn(1, 3, 2, 2, dtype=torch.float64)
    parameters = [p.detach().requires_grad_() for p in layer.parameters()]
    assert gradcheck(call, (x.requires_grad_(), y.requires_grad_(), *parameters))


@each
def test_types_roles_and_flops(gate):
    layer = build(gate, 12, 3, 5)
    x, y = torch.randn(2, 7, 12).bfloat16(), torch.randn(2, 3, 7, 5).bfloat16()
    with FlopCounterMode(display=False) as counter:
        out = layer(x, y)
    assert counter.get_total_flops() == layer.flops(2 * 7)
    assert out.dtype == torch.bfloat16
    for parameter in layer.parameters():
        (gradient,) = torch.autograd.grad(out.sum(), parameter, retain_graph=True)
        assert gradient.dtype == torch.float32
    roles = by_role(torch.nn.ModuleList([Attention(12, heads=3, gate=gate)]))
    for name, _ in layer.named_parameters():
        kind = {"bias": "bias", "hidden_bias": "bias", "map.weight": "kernel"}.get(name, "gain")
        assert f"0.gate.{name}" in roles[kind]


@each
def test_attention_gates_its_heads_before_the_last_map(gate):
    plain = Attention(12, heads=3).double()
    gated = Attention(12, heads=3, gate=gate).double()
    gated.load_state_dict(plain.state_dict(), strict=False)
    x = torch.randn(2, 7, 12, dtype=torch.float64)
    plain.out = gated.out = torch.nn.Identity()
    heads = plain(x).view(2, 7, 3, 4).transpose(1, 2)
    expected = gated.gate(x, heads).transpose(1, 2).flatten(2)
    torch.testing.assert_close(gated(x), expected, rtol=1e-12, atol=1e-12)
