"""Networks by plain operators (``danlu.nn.pure``): the same numbers, and right second derivatives."""

from __future__ import annotations

import pytest
import torch
import torch.nn as nn
from torch.func import functional_call, hessian

from danlu import spec
from danlu.curvature import Hessian, flatten, split
from danlu.nn import Block, attend, build, derivatives, pure
from tests.nn.test_registry import members
from tests.nn.test_second_derivatives import (
    FEED_FORWARDS,
    LENGTH,
    MIXERS,
    NETWORKS,
    WIDTH,
    gradients,
    hessian_product,
    loss,
    moved,
    real,
)


@pytest.mark.slow  # together some seconds
@pytest.mark.parametrize("name", NETWORKS)
def test_products_of_residual_networks(name: str) -> None:
    """Equal to finite differences of gradients that the ordinary kernels make."""
    parts = {"mixer": spec.Attention(heads=2), "feed_forward": spec.MLP(), "norm": spec.RMSNorm(),
             "position": spec.Rotary()}  # fmt: skip
    network = moved(nn.Sequential(*(Block(WIDTH, **(parts | NETWORKS[name])) for _ in range(2))))
    x = real(2, LENGTH, WIDTH)
    wanted = hessian_product(network, x)
    with pure():
        found = hessian_product(network, x, exact=True)
    for got, want in zip(found, wanted, strict=True):
        assert (got - want).norm() / (want.norm() + 1e-3) < 1e-6


PARTS = {
    **{p.__name__: (p(), (3, WIDTH)) for p in members(spec.Norm) if p is not spec.NoNorm},
    **{f"{p.kind}-{p.activation}": (p, (2, WIDTH)) for p in FEED_FORWARDS[:3]},
    **{name: (mixer, (1, 4, WIDTH)) for name, mixer in MIXERS.items() if name != "vq"},
}


@pytest.mark.slow  # torch.func's first Hessian takes seconds
@pytest.mark.parametrize("name", PARTS)
def test_whole_hessians(name: str) -> None:
    """Of parts by all their parameters, column by column, equal to ``torch.func.hessian``."""
    part, shape = PARTS[name]
    module, x = moved(build(part, WIDTH)).eval(), real(*shape)
    names, parameters = zip(*module.named_parameters(), strict=True)

    def of(vector: torch.Tensor) -> torch.Tensor:
        return loss(module, dict(zip(names, split(vector, parameters), strict=True)), x)

    start = flatten(parameters).detach()
    size = min(len(start), 12)  # the first parameters: torch.func computes all columns at once
    wanted = hessian(lambda few: of(torch.cat((few, start[size:]))))(start[:size])

    def term() -> torch.Tensor:
        with pure():
            return loss(module, dict(zip(names, parameters, strict=True)), x)

    product = Hessian(parameters, [term])
    units = torch.eye(len(start), dtype=torch.float64)[:size]
    found = torch.stack([product(unit)[:size] for unit in units])
    torch.testing.assert_close(found, wanted, rtol=1e-8, atol=1e-9)


def test_pytorchs_fused_attention_is_not_taken() -> None:
    def second() -> torch.Tensor:
        q = real(1, 2, LENGTH, 4).requires_grad_()
        y = attend(q * 2, q, q, scale=0.5, kernel="sdpa")
        (first,) = torch.autograd.grad(y.sin().sum(), q, create_graph=True)
        return torch.autograd.grad(first.square().sum(), q)[0]

    with pytest.raises(RuntimeError, match=r"no second derivative; run .* `with danlu\.nn\.pure\(\):`"):
        second()
    with pure():
        assert derivatives.is_pure() and torch.isfinite(second()).all()
    assert not derivatives.is_pure()


def test_it_ends_where_an_error_is_raised() -> None:
    with pytest.raises(ZeroDivisionError), pure(), pure():
        raise ZeroDivisionError
    assert not derivatives.is_pure()


def test_values_are_those_of_the_kernels() -> None:
    block = moved(Block(WIDTH, mixer=spec.Attention(heads=2), feed_forward=spec.MLP(activation="relu2"),
                        norm=spec.RMSNorm(), position=spec.Rotary()))  # fmt: skip
    x, parameters = real(2, LENGTH, WIDTH).requires_grad_(), dict(block.named_parameters())
    wanted = gradients(block, parameters, x)
    with pure():
        found = gradients(block, parameters, x)
        assert "danlu" not in str(functional_call(block, parameters, (x,)).grad_fn)
    for got, want in zip(found, wanted, strict=True):
        torch.testing.assert_close(got, want, rtol=1e-10, atol=1e-12)
