"""Norms against PyTorch's, values and gradients."""

from __future__ import annotations

import copy

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.autograd import gradcheck

from danlu.nn import LayerNorm, RMSNorm, rms_norm
from danlu.nn.norms import BatchNorm, FiLM, GroupNorm, InstanceNorm
from tests.nn.compare import as_torchs, assert_same, assert_same_to_torch, randomised, value_and_gradients

EPS = 1e-5
BF16 = 2.0**-8  # rounding to bfloat16 changes a number by at most this share


@settings(max_examples=40, deadline=None)
@given(
    st.lists(st.integers(1, 5), min_size=0, max_size=3),
    st.integers(1, 33),
    st.sampled_from([1e-12, 1e-6, 1e-5, 1e-2]),
    st.floats(-3, 3),
    st.integers(0, 2**31),
)
def test_rms_norm_is_torchs(shape, width, eps, magnitude, seed):
    x = torch.randn(*shape, width, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    x *= 10**magnitude
    got = value_and_gradients(lambda x: rms_norm(x, eps), x)
    expected = value_and_gradients(lambda x: F.rms_norm(x, (width,), eps=eps), x)
    scale = 10**-magnitude  # of the gradient
    assert_same(got[:1], expected[:1], rtol=1e-12, atol=1e-12)
    assert_same(got[1:], expected[1:], rtol=1e-10, atol=1e-12 * max(scale, 1))


def test_rms_norm_float32():
    x = torch.randn(5, 7, 64)
    got = value_and_gradients(rms_norm, x)
    assert_same(got, value_and_gradients(lambda x: F.rms_norm(x, (64,), eps=EPS), x), rtol=1e-5, atol=1e-6)


def test_rms_norm_gradcheck():
    x = torch.randn(3, 2, 5, dtype=torch.float64, requires_grad=True)
    assert gradcheck(rms_norm, (x,))
    assert gradcheck(rms_norm, (x.transpose(0, 2),))


def test_a_gradient_penalty_is_right_or_refused():
    def penalised(f):
        x = torch.linspace(-1, 1, 10, dtype=torch.float64).view(2, 5).requires_grad_()
        (dx,) = torch.autograd.grad(f(x).pow(3).sum(), x, create_graph=True)
        dx.square().sum().backward()
        return x.grad

    try:
        got = penalised(rms_norm)
    except RuntimeError as error:
        assert "once_differentiable" in str(error)
    else:
        torch.testing.assert_close(got, penalised(lambda x: F.rms_norm(x, (5,), eps=EPS)))


def test_rms_norm_bfloat16_is_within_its_rounding():
    """Two roundings: of 1/√(mean x² + ε) and of its product with x."""
    x = torch.randn(64, 96).bfloat16()
    y = rms_norm(x)
    assert y.dtype == torch.bfloat16
    exact = F.rms_norm(x.double(), (96,), eps=EPS)
    assert ((y.double() - exact).abs() <= 2.01 * BF16 * exact.abs()).all()


def test_rms_norm_bfloat16_gradient():
    """dx = (dy − y·mean(dy·y))·scale: bounded by a few roundings of its larger terms."""
    x = torch.randn(64, 96).bfloat16()
    _, got = value_and_gradients(rms_norm, x)
    _, exact = value_and_gradients(lambda x: F.rms_norm(x, (96,), eps=EPS), x.double())
    assert got.dtype == torch.bfloat16
    assert (got.double() - exact).norm() <= 2 * BF16 * exact.norm()


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("norm", [rms_norm, RMSNorm(8), LayerNorm(8)])
def test_zero_input_is_finite(norm, dtype):
    y, dx = value_and_gradients(norm, torch.zeros(2, 8, dtype=dtype))
    assert (y == 0).all()
    assert dx.isfinite().all()


def test_large_bfloat16_input_does_not_overflow():
    """The mean square is taken in float32: (1e18)² is beyond bfloat16's precision but not its range."""
    y = rms_norm(torch.full((2, 16), 1e18, dtype=torch.bfloat16))
    assert (y == 1).all()


@pytest.mark.parametrize("gain", [False, True])
def test_rms_norm_module_is_torchs(gain):
    ours = randomised(RMSNorm(12, eps=1e-4, gain=gain)).double()
    theirs = torch.nn.RMSNorm(12, eps=1e-4, elementwise_affine=gain, dtype=torch.float64)
    if gain:
        theirs.weight.data.copy_(ours.gain)
    check_module(ours, theirs)


@pytest.mark.parametrize(("gain", "bias"), [(False, False), (True, False), (True, True)])
def test_layer_norm_module_is_torchs(gain, bias):
    ours = randomised(LayerNorm(12, eps=1e-4, gain=gain, bias=bias)).double()
    theirs = torch.nn.LayerNorm(12, eps=1e-4, elementwise_affine=gain, bias=bias, dtype=torch.float64)
    if gain:
        theirs.weight.data.copy_(ours.gain)
    if bias:
        theirs.bias.data.copy_(ours.bias)
    check_module(ours, theirs)


def check_module(ours, theirs):
    x = torch.randn(3, 4, 12, dtype=torch.float64)
    results = []
    for module in (ours, theirs):
        at = x.clone().requires_grad_()
        y = module(at)
        y.pow(3).sum().backward()
        results.append([y.detach(), at.grad, *(p.grad for p in module.parameters())])
    assert len(results[0]) == 2 + len(list(theirs.parameters()))
    assert_same(*results, rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16])
@pytest.mark.parametrize("cls", [RMSNorm, LayerNorm])
def test_around_one_is_the_formula_in_float32(cls, dtype):
    """As Gemma: norm and 1 + w in float32, then one rounding to the input's type."""
    norm = cls(12, around_one=True)
    torch.nn.init.normal_(norm.gain, std=1e-3)
    x = torch.randn(5, 12).to(dtype)
    plain = F.rms_norm if cls is RMSNorm else F.layer_norm
    expected = plain(x.float(), (12,), eps=EPS) * (1 + norm.gain)
    got = norm(x)
    assert got.dtype == dtype
    if dtype == torch.float32:
        torch.testing.assert_close(got, expected, rtol=1e-6, atol=1e-6)
    else:  # half a unit in the last place, and the rounding of float32 beside a tie
        assert ((got.float() - expected).abs() <= 0.501 * torch.finfo(dtype).eps * expected.abs()).all()


@pytest.mark.parametrize("cls", [RMSNorm, LayerNorm])
def test_around_one_starts_at_one_and_decays_to_it(cls):
    x = torch.randn(3, 12)
    assert torch.equal(cls(12, around_one=True)(x), cls(12)(x))
    norm = cls(12, around_one=True)
    torch.nn.init.normal_(norm.gain)
    norm.gain.data.mul_(0)  # weight decay to the end
    assert torch.equal(norm(x), cls(12)(x))


def test_gemmas_norm():
    modeling = pytest.importorskip("transformers.models.gemma2.modeling_gemma2")
    theirs = modeling.Gemma2RMSNorm(16, eps=1e-6)
    ours = RMSNorm(16, eps=1e-6, around_one=True)
    torch.nn.init.normal_(theirs.weight, std=0.1)
    ours.gain.data.copy_(theirs.weight)
    x = torch.randn(4, 16)
    torch.testing.assert_close(ours(x), theirs(x), rtol=1e-6, atol=1e-6)
    half = x.bfloat16()
    torch.testing.assert_close(ours(half), theirs(half), rtol=BF16, atol=0)


@pytest.mark.parametrize("affine", [False, True])
@pytest.mark.parametrize("groups", [1, 3, 12])
def test_group_norm_is_torchs_at_every_position(groups, affine):
    ours = GroupNorm(12, groups=groups, eps=1e-4, gain=affine, bias=affine)
    theirs = torch.nn.GroupNorm(groups, 12, eps=1e-4, affine=affine)
    x = torch.randn(3, 5, 12, dtype=torch.float64)

    def at_every_position(module):
        return lambda x: module(x.flatten(0, 1)).view_as(x)

    assert_same_to_torch(*as_torchs(ours, theirs), at_every_position, x)


def test_group_norm_between_layer_norm_and_nothing():
    """One group is layer norm; a group of one feature is its own mean, which leaves b."""
    x = torch.randn(3, 5, 12, dtype=torch.float64)
    torch.testing.assert_close(GroupNorm(12, groups=1).double()(x), LayerNorm(12).double()(x))
    norm = randomised(GroupNorm(12, groups=12))
    assert torch.equal(norm(x.float()), norm.bias.expand(3, 5, 12))


def test_groups_must_divide_the_width():
    with pytest.raises(ValueError, match="groups = 5 does not divide width = 12"):
        GroupNorm(12, groups=5)


@pytest.mark.parametrize("shape", [(2, 6), (2, 3, 6), (2, 3, 5, 6)])
def test_film_is_its_formula(shape):
    norm = randomised(FiLM(6, condition=4)).double()
    x, condition = torch.randn(shape, dtype=torch.float64), torch.randn(2, 4, dtype=torch.float64)
    weight, bias = norm.generator.weight, norm.generator.bias
    for row, c in enumerate(condition):
        a, b = (weight @ c + bias).split(6)
        expected = (1 + a) * F.layer_norm(x[row], (6,), eps=EPS) + b
        torch.testing.assert_close(norm(x, condition)[row], expected, rtol=1e-12, atol=1e-12)


def test_film_starts_as_layer_norm():
    norm, x = FiLM(6, condition=4), torch.randn(2, 3, 6)
    torch.testing.assert_close(norm(x, torch.randn(2, 4)), LayerNorm(6)(x), rtol=0, atol=0)
    randomised(norm).initialise_own()
    torch.testing.assert_close(norm(x, torch.randn(2, 4)), LayerNorm(6)(x), rtol=0, atol=0)
    assert norm.flops(2) == 2 * 2 * 4 * 12


NORMS = [
    RMSNorm(4, around_one=True),
    LayerNorm(4, bias=True, around_one=True),
    GroupNorm(4, groups=2),
    InstanceNorm(4),
    BatchNorm(4, momentum=0.0),
]


@pytest.mark.parametrize("norm", NORMS, ids=lambda n: type(n).__name__)
def test_gradcheck(norm):
    norm = randomised(copy.deepcopy(norm)).double()
    names = [name for name, _ in norm.named_parameters()]
    x = torch.randn(2, 3, 4, dtype=torch.float64, requires_grad=True)

    def call(x, *parameters):
        return torch.func.functional_call(norm, dict(zip(names, parameters, strict=True)), (x,))

    assert gradcheck(call, (x, *(p.detach().requires_grad_() for p in norm.parameters())))


def test_film_gradcheck():
    norm = randomised(FiLM(4, condition=3)).double()
    x = torch.randn(2, 3, 4, dtype=torch.float64, requires_grad=True)
    condition = torch.randn(2, 3, dtype=torch.float64, requires_grad=True)
    assert gradcheck(lambda *inputs: norm(*inputs), (x, condition))


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
@pytest.mark.parametrize("norm", [*NORMS, RMSNorm(4), LayerNorm(4)], ids=lambda n: type(n).__name__)
def test_half_precision(norm, dtype):
    """The type is the input's, gradients of a and b are float32, and the value is within the roundings of
    the input's type: of the standardised number, its product and its sum."""
    norm = randomised(copy.deepcopy(norm))
    x = torch.randn(4, 6, 4).to(dtype).requires_grad_()
    y = norm(x)
    y.sum().backward()
    assert y.dtype == x.grad.dtype == dtype
    assert all(p.grad.dtype == torch.float32 for p in norm.parameters())
    exact = norm.double()(x.detach().double())
    assert (y.double() - exact).norm() <= 4 * torch.finfo(dtype).eps * exact.norm()


@pytest.mark.parametrize("norm", NORMS, ids=lambda n: type(n).__name__)
def test_zero_input_is_finite_everywhere(norm):
    y, dx = value_and_gradients(copy.deepcopy(norm), torch.zeros(2, 3, 4))
    assert (y == 0).all()
    assert dx.isfinite().all()
