"""Division, square root, logarithm and norm with finite gradients everywhere, at zero too.

Adding an ε changes every value. These change none but where the operation itself, or its gradient, is
infinite; there the value is the stated one and the gradient 0. Masking the result is not enough: the
gradient of the branch not taken is ∞ · 0 = NaN. So the argument is replaced before the operation, and the
result after it. A NaN stays a NaN, and so does the root or the logarithm of a negative number.

All work elementwise on tensors of one floating type, and in that type.

Within danlu they serve queries and keys of length one (``qk_norm``), and bottlenecks (``estimators``,
``lfq``). Norms and optimizers need none: they add an ε that their papers ask for.

>>> x = torch.zeros(3, requires_grad=True)
>>> torch.autograd.grad(norm(x), x)[0], torch.autograd.grad(x.square().sum().sqrt(), x)[0]
(tensor([0., 0., 0.]), tensor([nan, nan, nan]))
"""

from __future__ import annotations

import torch


def divide(a: torch.Tensor, b: torch.Tensor, eps: float = 1e-12) -> torch.Tensor:
    """a/b, and 0 where |b| ≤ ``eps``. Shapes: broadcast.

    The gradient of b is −a/b², so that ``eps`` bounds it by |a|/ε², which float32 holds for |a| up to
    10¹⁴ with the default; with ``eps = 0`` a subnormal b still overflows. Raises ValueError for a negative
    ``eps``.
    """
    if eps < 0:
        raise ValueError(f"eps = {eps} is negative")
    small = b.abs() <= eps
    quotient = a / b.masked_fill(small, 1)
    return quotient.masked_fill(small, 0)


def sqrt(x: torch.Tensor) -> torch.Tensor:
    """√x, with the gradient 0 at 0 (that of the even continuation √|x|, where it has none)."""
    zero = x == 0
    return x.masked_fill(zero, 1).sqrt().masked_fill(zero, 0)


def log(x: torch.Tensor) -> torch.Tensor:
    """ln x; from 0 to below the type's smallest normal number t it is ln t (−87.3 in float32), with the
    gradient 0, so that p · log(p) is 0 at 0. The gradient elsewhere is at most 1/t, which the type holds.
    """
    smallest = torch.finfo(x.dtype).tiny
    return x.masked_fill((x >= 0) & (x < smallest), smallest).log()


def norm(x: torch.Tensor, dim: int | tuple[int, ...] = -1, keepdim: bool = False) -> torch.Tensor:
    """The Euclidean norm √(Σ x²) over ``dim``, with the gradient 0, a subgradient, at 0.

    The numbers are divided by the largest of them, so that no square overflows or vanishes; ``x`` in half
    precision is summed in float32. The gradient has derivatives of its own, 0 at 0.
    """
    exact = x.to(torch.promote_types(x.dtype, torch.float32))
    # ‖x‖ = m·‖x/m‖ for any m > 0: m is a constant to the gradient.
    largest = exact.detach().abs().amax(dim, keepdim=True)
    largest = largest.masked_fill((largest == 0) | largest.isinf(), 1)
    length = largest * sqrt((exact / largest).square().sum(dim, keepdim=True))
    if not keepdim:
        length = length.squeeze(dim)
    return length.to(x.dtype)
