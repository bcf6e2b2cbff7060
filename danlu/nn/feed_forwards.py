"""Feed-forward layers: plain and gated."""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F

from danlu import spec
from danlu.nn.contracts import Activation, FeedForward
from danlu.nn.derivatives import by_operators
from danlu.nn.given import Given
from danlu.nn.linear import Linear
from danlu.nn.registry import build, builds
from danlu.nn.shares import Columns, Plan, Rows, Units


class _SquaredReLU(torch.autograd.Function):
    """max(x, 0)², keeping max(x, 0) alone for the backward pass 2·max(x, 0)·dy. It is an output too, so
    that it has a gradient, for second derivatives."""

    @staticmethod
    def forward(ctx: Any, x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        positive = x.relu()
        ctx.set_materialize_grads(False)
        ctx.save_for_backward(positive)
        return positive.square(), positive

    @staticmethod
    def backward(ctx: Any, *grads: torch.Tensor | None) -> torch.Tensor | None:
        dy, dpositive = grads
        (positive,) = ctx.saved_tensors
        dx = None if dy is None else dy * (2 * positive)
        if dpositive is not None:  # only of a second derivative
            more = dpositive * (positive > 0)
            dx = more if dx is None else dx + more
        return dx


def squared_relu(x: torch.Tensor) -> torch.Tensor:
    """max(x, 0)² (So et al. 2021)."""
    if by_operators(x):
        return x.relu().square()
    y, _ = _SquaredReLU.apply(x)
    return y


ACTIVATIONS: dict[str, Activation] = {
    "relu": F.relu,
    "gelu": F.gelu,
    "gelu-tanh": lambda x: F.gelu(x, approximate="tanh"),
    "relu2": squared_relu,
    "silu": F.silu,
    "sigmoid": torch.sigmoid,
    "none": lambda x: x,
}


def activation_of(name: Given) -> Activation:
    """The function of that name, a key of ``ACTIVATIONS``, or of an own part's specification; a module or a
    function is its own."""
    return ACTIVATIONS[name] if isinstance(name, str) else build(name)


@builds(spec.MLP)
class MLP(FeedForward):
    """W₂ act(W₁ x). Shapes: (…, width) → (…, width), in the type of the input.

    ``hidden`` is the inner width, 4·width if left out; ``biases``: whether the maps have biases, left out:
    as ``bias``, what the model has everywhere. ``activation``: a key of ``ACTIVATIONS``, the name of an own
    one, a module or a function.

    >>> MLP(64, hidden=96, activation=torch.nn.Mish())(torch.randn(2, 10, 64)).shape
    torch.Size([2, 10, 64])
    """

    def __init__(
        self,
        width: int,
        *,
        activation: Given = "gelu",
        hidden: int | None = None,
        biases: bool | None = None,
        bias: bool = False,
    ) -> None:
        super().__init__()
        hidden = hidden or 4 * width
        bias = bias if biases is None else biases
        self.up = Linear(width, hidden, bias=bias)
        self.down = Linear(hidden, width, bias=bias)
        self.activation = activation_of(activation)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.down(self.activation(self.up(x)))

    @property
    def out(self) -> Linear:
        """The last map of the branch."""
        return self.down

    def value_path(self) -> list[torch.Tensor]:
        """The weights through which values flow."""
        return [self.up.weight, self.down.weight]

    def readers(self) -> list[Linear]:
        return [self.up]

    def shard(self) -> Plan:
        hidden = Units(self.up.out_features)
        return {"up": Rows((hidden,)), "down": Columns(hidden)}

    def flops(self, tokens: int) -> int:
        return self.up.flops(tokens) + self.down.flops(tokens)


@builds(spec.GLU)
class GLU(FeedForward):
    """W₂ (act(W_g x) ⊙ W_v x) (Shazeer 2020, eqs. 5 and 6). Shapes: (…, width) → (…, width), in the type
    of the input.

    ``hidden`` is the inner width; left out, 8/3·width rounded up to a multiple of ``multiple``, which
    holds as many parameters as the plain layer. ``biases`` and ``activation`` as in ``MLP``.

    >>> GLU(96, multiple=64).up.out_features  # 256, as many as 8/3 of 96
    256
    """

    def __init__(
        self,
        width: int,
        *,
        activation: Given = "silu",
        hidden: int | None = None,
        multiple: int = 16,
        biases: bool | None = None,
        bias: bool = False,
    ) -> None:
        super().__init__()
        bias = bias if biases is None else biases
        hidden = hidden or -(-8 * width // (3 * multiple)) * multiple
        self.gate = Linear(width, hidden, bias=bias)
        self.up = Linear(width, hidden, bias=bias)
        self.down = Linear(hidden, width, bias=bias)
        self.activation = activation_of(activation)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.down(self.activation(self.gate(x)) * self.up(x))

    @property
    def out(self) -> Linear:
        """The last map of the branch."""
        return self.down

    def value_path(self) -> list[torch.Tensor]:
        """The weights through which values flow; the gate multiplies them."""
        return [self.gate.weight, self.up.weight, self.down.weight]

    def readers(self) -> list[Linear]:
        return [self.gate, self.up]

    def shard(self) -> Plan:
        hidden = Units(self.up.out_features)
        return {"gate": Rows((hidden,)), "up": Rows((hidden,)), "down": Columns(hidden)}

    def flops(self, tokens: int) -> int:
        return self.gate.flops(tokens) + self.up.flops(tokens) + self.down.flops(tokens)
