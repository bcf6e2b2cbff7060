"""Feed-forward layers against their formulas; linear maps in half precision."""

from __future__ import annotations

from typing import get_args

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.autograd import gradcheck

from danlu import spec
from danlu.nn import GLU, MLP, Embedding, Linear, squared_relu

FORMULAS = {
    "relu": F.relu,
    "gelu": F.gelu,
    "gelu-tanh": lambda x: F.gelu(x, approximate="tanh"),
    "relu2": lambda x: torch.clamp(x, min=0) ** 2,
    "silu": lambda x: x * torch.sigmoid(x),
    "sigmoid": torch.sigmoid,
    "none": lambda x: x,
}


def away_from_zero():
    """Numbers where max(x, 0)² has a second derivative."""
    x = torch.randn(4, 5, dtype=torch.float64)
    return (x + x.sign() * 0.1).requires_grad_()


def test_squared_relu():
    x = away_from_zero()
    torch.testing.assert_close(squared_relu(x), F.relu(x) ** 2, rtol=0, atol=0)
    assert gradcheck(squared_relu, (x,))


def test_a_gradient_penalty_of_squared_relu_is_right_or_refused():
    x = away_from_zero()
    try:
        (dx,) = torch.autograd.grad(squared_relu(x).pow(3).sum(), x, create_graph=True)
        dx.sum().backward()
    except RuntimeError as error:
        assert "once_differentiable" in str(error)
    else:
        torch.testing.assert_close(x.grad, 30 * x.detach().relu() ** 4)  # of max(x, 0)⁶


@pytest.mark.parametrize("bias", [False, True])
@pytest.mark.parametrize("activation", ["relu", "gelu", "gelu-tanh", "relu2", "silu"])
def test_mlp_is_its_formula(activation, bias):
    layer = MLP(6, activation=activation, hidden=10, bias=bias).double()
    x = torch.randn(2, 3, 6, dtype=torch.float64)
    inner = x @ layer.up.weight.T + (layer.up.bias if bias else 0)
    expected = FORMULAS[activation](inner) @ layer.down.weight.T + (layer.down.bias if bias else 0)
    torch.testing.assert_close(layer(x), expected, rtol=1e-12, atol=1e-12)
    assert (layer.up.bias is not None) == bias


@pytest.mark.parametrize("bias", [False, True])
@pytest.mark.parametrize("activation", ["silu", "gelu", "gelu-tanh", "relu", "sigmoid", "none"])
def test_glu_is_its_formula(activation, bias):
    layer = GLU(6, activation=activation, hidden=10, bias=bias).double()
    x = torch.randn(2, 3, 6, dtype=torch.float64)
    gate, value = (x @ m.weight.T + (m.bias if bias else 0) for m in (layer.gate, layer.up))
    expected = (FORMULAS[activation](gate) * value) @ layer.down.weight.T + (layer.down.bias if bias else 0)
    torch.testing.assert_close(layer(x), expected, rtol=1e-12, atol=1e-12)


KINDS = [
    (cls, part.model_fields["activation"].annotation) for cls, part in ((MLP, spec.MLP), (GLU, spec.GLU))
]
CHOICES = [(cls, activation) for cls, allowed in KINDS for activation in get_args(allowed)]


@settings(max_examples=40, deadline=None)
@given(
    st.sampled_from(CHOICES),
    st.lists(st.integers(1, 3), max_size=3),
    st.integers(1, 9),
    st.integers(1, 9),
    st.sampled_from([None, False, True]),
    st.booleans(),
    st.integers(0, 2**31),
)
def test_every_shape(choice, shape, width, hidden, biases, bias, seed):
    """Each position is served by itself, in every shape; ``biases`` go before ``bias``."""
    cls, activation = choice
    torch.manual_seed(seed)
    layer = cls(width, activation=activation, hidden=hidden, biases=biases, bias=bias).double()
    x = torch.randn(*shape, width, dtype=torch.float64)
    y = layer(x)
    assert y.shape == x.shape
    alone = torch.stack([layer(row) for row in x.reshape(-1, width)]).view_as(x)
    torch.testing.assert_close(y, alone, rtol=1e-12, atol=1e-12)
    has = bias if biases is None else biases
    assert all((m.bias is not None) == has for m in layer.children() if isinstance(m, Linear))
    matrices = [m for m in layer.modules() if isinstance(m, Linear)]
    assert layer.flops(7) == sum(2 * 7 * m.weight.numel() for m in matrices)


@pytest.mark.parametrize(("cls", "activation"), CHOICES)
def test_gradcheck(cls, activation):
    layer = cls(3, activation=activation, hidden=4, biases=True).double()
    names = [name for name, _ in layer.named_parameters()]

    def call(x, *parameters):
        return torch.func.functional_call(layer, dict(zip(names, parameters, strict=True)), (x,))

    x = torch.randn(2, 3, dtype=torch.float64, requires_grad=True)
    assert gradcheck(call, (x, *(p.detach().requires_grad_() for p in layer.parameters())))


def test_relatives():
    """A gate equal to the value: none gives the square, relu the squared ReLU."""
    for activation, formula in (("none", torch.square), ("relu", squared_relu)):
        glu = GLU(4, activation=activation, hidden=6)
        glu.up.weight.data.copy_(glu.gate.weight)
        x = torch.randn(3, 4)
        torch.testing.assert_close(glu(x), glu.down(formula(glu.up(x))), rtol=1e-6, atol=1e-6)


def test_the_path_of_values_is_every_weight():
    """Values flow through all of a feed-forward, and the branch ends in ``out``."""
    for layer in (MLP(4, biases=True), GLU(4, biases=True)):
        path = {id(w) for w in layer.value_path()}
        assert path == {id(p) for p in layer.parameters() if p.ndim == 2}
        layer.out.weight.data.zero_()
        layer.out.bias.data.zero_()
        assert (layer(torch.randn(2, 4)) == 0).all()


@pytest.mark.parametrize("width", [8, 48, 64, 100, 768])
def test_default_widths(width):
    """Four times the width; for three matrices, as many parameters, up to the rounding to 16."""
    mlp, glu = MLP(width), GLU(width)
    assert mlp.up.weight.shape == (4 * width, width)
    hidden = glu.up.out_features
    assert hidden % 16 == 0
    assert 0 <= hidden - 8 * width / 3 < 16
    parameters = [sum(p.numel() for p in m.parameters()) for m in (mlp, glu)]
    assert 0 <= parameters[1] - parameters[0] < 3 * 16 * width


def test_linear_is_torchs():
    torch.manual_seed(3)
    ours = Linear(5, 7).double()
    torch.manual_seed(3)
    theirs = torch.nn.Linear(5, 7).double()
    x = torch.randn(4, 5, dtype=torch.float64)
    assert torch.equal(ours(x), theirs(x))


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_linear_in_half_precision_has_float32_gradients(dtype):
    layer = Linear(64, 32)
    x = torch.randn(16, 64, dtype=dtype, requires_grad=True)
    y = layer(x)
    assert y.dtype == dtype
    y.float().square().sum().backward()
    assert x.grad.dtype == dtype
    assert layer.weight.grad.dtype == layer.bias.grad.dtype == torch.float32

    exact = torch.nn.functional.linear(x.double(), layer.weight.double(), layer.bias.double())
    unit = 2.0**-8 if dtype == torch.bfloat16 else 2.0**-11
    assert (y.double() - exact).norm() <= 2 * unit * exact.norm()


def test_embedding_looks_up():
    table = Embedding(5, 3)
    ids = torch.tensor([[4, 0], [2, 2]])
    assert torch.equal(table(ids), table.weight[ids])
