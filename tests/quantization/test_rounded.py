"""Maps whose numbers are rounded at use."""

from __future__ import annotations

import pytest
import torch

from danlu import spec
from danlu.nn import Linear
from danlu.quantization import RTN, linear_maps, named, quantize, quantize_blocks
from danlu.quantization.rounded import Rounded, multiply_integers, rounded, unrounded
from tests.models.small import at, small, tokens


def test_names_and_the_exact_weight_stay() -> None:
    linear = Linear(16, 8)
    before, names = linear.weight.detach().clone(), [name for name, _ in linear.named_parameters()]
    rounded(linear, named("int3", 8))
    wanted = quantize(before, named("int3", 8))
    assert [name for name, _ in linear.named_parameters()] == names == list(linear.state_dict())
    assert torch.equal(linear.state_dict()["weight"], before)
    assert torch.equal(linear.weight, wanted.dequantize())
    x = torch.randn(3, 16)
    assert torch.equal(linear(x), torch.nn.functional.linear(x, wanted.dequantize(), linear.bias))
    linear(x).sum().backward()
    assert torch.equal(dict(linear.named_parameters())["weight"].grad, x.sum(0).expand(8, 16))
    found = unrounded(linear)
    assert found is not None and torch.equal(found.dequantize(), wanted.dequantize())
    assert type(linear) is Linear and torch.equal(linear.weight, wanted.dequantize())


def test_while_it_is_not_active_the_map_is_as_it_was() -> None:
    linear, x = Linear(16, 8), torch.randn(3, 16)
    before = linear(x)
    rounded(linear, named("int2"), named("int8", "token"), active=False)
    assert isinstance(linear, Rounded) and torch.equal(linear(x), before)
    assert unrounded(linear) is None and torch.equal(linear(x), before)


def test_the_weight_is_rounded_before_it_is_cast() -> None:
    linear, x = Linear(64, 8, bias=False), torch.randn(5, 64).bfloat16()
    exact = linear.weight.detach().clone()
    rounded(linear, named("int4", 32))
    weight = quantize(exact, named("int4", 32)).dequantize().bfloat16()
    assert torch.equal(linear(x), torch.nn.functional.linear(x, weight))


@pytest.mark.parametrize("inputs", ["int8", "int8-affine"])
@pytest.mark.parametrize("format", ["int8", "int4", "int8-full"])
def test_products_of_integers_give_the_same_function(format: str, inputs: str) -> None:
    model, text = small(double=False, **at(spec.Rotary()), bias=True).eval(), tokens()
    weights = quantize_blocks(model, named(format), RTN())
    for block in model.blocks:
        for linear in linear_maps(block).values():
            rounded(linear, None, named(inputs, "token"))
    fake = model(text)
    slopes = torch.autograd.grad(fake.square().mean(), list(model.parameters()))
    assert multiply_integers(model, weights) == 0  # all are small
    assert multiply_integers(model, weights, least=0) == len(weights)
    with torch.no_grad():
        torch.testing.assert_close(model(text), fake, rtol=1e-4, atol=1e-4)
        assert not torch.equal(model(text), fake)  # another order of sums
    whole = model(text)  # a gradient is asked for
    assert torch.equal(whole, fake)
    for slope, one in zip(
        torch.autograd.grad(whole.square().mean(), list(model.parameters())), slopes, strict=True
    ):
        assert torch.equal(slope, one)


def test_groups_are_left_to_floating_point() -> None:
    model = small(double=False)
    weights = quantize_blocks(model, named("int8", 8), RTN())
    for linear in linear_maps(model.blocks[0]).values():
        rounded(linear, None, named("int8", "token"))
    assert multiply_integers(model, weights, least=0) == 0
