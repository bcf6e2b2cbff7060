"""Gradients through a choice: straight-through and rotated, for values that have none of their own.

The value that comes out is the given one exactly: x − x is 0, where x + (value − x) would be rounded.
"""

from __future__ import annotations

import torch

from danlu.nn import safe


def straight_through(value: torch.Tensor, like: torch.Tensor) -> torch.Tensor:
    """``value`` with the gradient of ``like`` (Bengio, Léonard & Courville 2013). Shapes: equal.

    Unbiased where what follows is linear in the value; ``danlu.nn.bottlenecks.score`` has the bias elsewhere.

    >>> x = torch.tensor([0.2, 0.7], requires_grad=True)
    >>> y = straight_through(x.round(), x)
    >>> y.tolist(), torch.autograd.grad(y.square().sum(), x)[0].tolist()
    ([0.0, 1.0], [0.0, 2.0])
    """
    return value.detach() + (like - like.detach())


def rotated(value: torch.Tensor, z: torch.Tensor) -> torch.Tensor:
    """``value`` with the gradient of λRz: the rotation R that turns ``z`` to its direction, λ = ‖value‖/‖z‖,
    both constants (Fifty et al. 2024, section 4.2). Shapes: (…, d) both.

    The gradient keeps its angle to the vector, and its length is multiplied by λ. Two cases the paper leaves
    open: where one of the vectors is 0 the gradient passes unchanged; where they are opposite R is the
    reflection in the plane across them.
    """
    with torch.no_grad():
        here, there = safe.norm(z, keepdim=True), safe.norm(value, keepdim=True)
        no_direction = (here == 0) | (there == 0)
        u, v = safe.divide(z, here, eps=0), safe.divide(value, there, eps=0)
        between = u + v
        w = safe.divide(between, safe.norm(between, keepdim=True))
        scale = safe.divide(there, here, eps=0)
    # Rz = z − 2w(w·z) + 2v(u·z), which needs no matrix
    turned = z - 2 * w * (w * z).sum(-1, keepdim=True) + 2 * v * (u * z).sum(-1, keepdim=True)
    return straight_through(value, torch.where(no_direction, z, scale * turned))
