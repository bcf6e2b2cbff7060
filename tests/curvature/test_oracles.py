"""Products, traces and Gauss-Newton matrices of networks with tied weights against ``torch.func``, which goes
another way: forward over reverse, and Jacobians made whole."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
import torch.nn as nn
import torch.nn.functional as F
from torch import Tensor
from torch.func import functional_call, hessian, jacrev

from danlu import spec
from danlu.curvature import GaussNewton, Hessian, Outputs, flatten, hutchinson, split
from danlu.models import build
from danlu.nn import pure

TOKENS = torch.tensor([[0, 3, 1, 4], [2, 2, 0, 1], [4, 3, 3, 2]])
TARGETS = torch.tensor([[3, 1, 4, 0], [2, 0, 1, 3], [3, 3, 2, 1]])
SOFT = torch.randn(3, 4, 5, dtype=torch.float64, generator=torch.Generator().manual_seed(2)).softmax(-1)
LOSSES: dict[str, Callable[[Tensor], Tensor]] = {
    "cross-entropy": lambda z: F.cross_entropy(z.flatten(0, 1), TARGETS.flatten()),
    "with a z-loss": lambda z: (
        F.cross_entropy(z.flatten(0, 1), TARGETS.flatten(), reduction="sum")
        + 0.3 * z.logsumexp(-1).square().sum()
    ),
    "soft targets": lambda z: F.kl_div(z.log_softmax(-1), SOFT, reduction="sum"),
    "squares": lambda z: F.mse_loss(z, SOFT, reduction="sum"),
    "each class alone": lambda z: F.binary_cross_entropy_with_logits(z, SOFT, reduction="sum"),
}


class Tied(nn.Module):
    """Embedding, one hidden layer with dropout, and the embedding again as the readout."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.embedding = nn.Embedding(5, 3)
        self.hidden, self.dropout = nn.Linear(3, 3), nn.Dropout(0.5)
        self.readout = nn.Linear(3, 5, bias=False)
        self.readout.weight = self.embedding.weight

    def forward(self, tokens: Tensor) -> Tensor:
        x = self.embedding(tokens)
        return self.readout(self.dropout(F.gelu(self.hidden(x))) + x)


def tied() -> nn.Module:
    return Tied().double()


def decoder() -> nn.Module:
    """danlu's own, with tied weights and dropout, in float64."""
    torch.manual_seed(0)
    mixer = {"kind": "attention", "heads": 2}
    described = spec.Decoder(
        layers=1, width=4, tied=True, dropout=0.3, mixer=mixer, feed_forward={"kind": "mlp", "hidden": 6}
    )
    model = build(described, 5, 4).double()
    model.compute = torch.float64
    return model


def whole(product: Callable[[Tensor], Tensor], size: int) -> Tensor:
    return torch.stack([product(unit) for unit in torch.eye(size, dtype=torch.float64)])


@pytest.mark.slow  # torch.func's first Hessian takes seconds
@pytest.mark.parametrize(("make", "name"), [*((tied, name) for name in LOSSES), (decoder, "cross-entropy")])
def test_tied_weights_against_torch_func(make: Callable[[], nn.Module], name: str) -> None:
    """∇²L, gᵀ, JᵀH_zJ and both traces. A tied weight is one parameter, whose two places add up; dropout is
    off."""
    model, loss = make().eval(), LOSSES[name]
    parameters = list(model.parameters())
    assert len(parameters) == len({id(p) for p in model.state_dict(keep_vars=True).values()})
    names = [name for name, _ in model.named_parameters()]
    start = flatten([p.detach() for p in parameters])

    def outputs(vector: Tensor) -> Tensor:
        given = dict(zip(names, split(vector, parameters), strict=True))
        return functional_call(model, given, (TOKENS,), tie_weights=True)

    def term() -> Outputs:
        z = model(TOKENS)
        return Outputs(z, loss(z))

    with pure():
        product = Hessian(parameters, [lambda: term().loss])
        newton = GaussNewton(parameters, [term])
        ours, ours_newton = whole(product, len(start)), whole(newton, len(start))
        jacobian = jacrev(outputs)(start).flatten(0, 2)
        z = outputs(start).detach()
        by_outputs = hessian(loss)(z).reshape(z.numel(), z.numel())
        theirs = hessian(lambda vector: loss(outputs(vector)))(start)
        torch.testing.assert_close(
            product.gradient(), torch.func.grad(lambda vector: loss(outputs(vector)))(start)
        )
    theirs_newton = jacobian.T @ by_outputs @ jacobian
    close = {"rtol": 1e-9, "atol": 1e-10}
    torch.testing.assert_close(ours, theirs, **close)
    torch.testing.assert_close(ours_newton, theirs_newton, **close)
    assert (theirs - theirs_newton).abs().max() > 1e-4  # two matrices, not one
    for matrix, wanted in ((ours, theirs), (ours_newton, theirs_newton)):
        draw = torch.Generator().manual_seed(5)
        found = hutchinson(lambda v, m=matrix: m @ v, start, error=0, most=400, generator=draw)
        assert abs(found.value - float(wanted.trace())) < 5 * found.error
