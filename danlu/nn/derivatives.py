"""Where backward passes written by hand give way, and where second derivatives end."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch.autograd import forward_ad

_PURE: list[None] = []  # one for each open ``pure``; a list and no ContextVar: the compiler can guard it


@contextmanager
def pure() -> Iterator[None]:
    """Within, this process runs networks by PyTorch's plain operators alone, which have derivatives of every
    order: no fused kernel, and no backward pass of our own. Slower; for Hessians and what is made of them.
    What is compiled runs as it was compiled.

    >>> from danlu.nn import attend
    >>> q = torch.randn(1, 2, 5, 4, requires_grad=True)
    >>> with pure():
    ...     y = attend(q, q, q, scale=0.5)
    >>> (slope,) = torch.autograd.grad(y.square().sum(), q, create_graph=True)
    >>> torch.autograd.grad(slope.sum(), q)[0].shape
    torch.Size([1, 2, 5, 4])
    """
    _PURE.append(None)
    try:
        yield
    finally:
        _PURE.pop()


def is_pure() -> bool:
    """Whether a ``pure`` is open. Compiled code asks nobody."""
    return bool(_PURE) and not torch.compiler.is_compiling()


def transformed() -> bool:
    """Whether networks are to run by PyTorch's operators alone: within ``pure``, or where one of
    ``torch.func``'s transforms or forward-mode differentiation is active. Each of these would need a rule of
    its own from an ``autograd.Function``; PyTorch's operators have them all."""
    if torch.compiler.is_compiling():
        return False
    return bool(_PURE) or torch._C._are_functorch_transforms_active() or forward_ad._current_level >= 0


def by_operators(x: torch.Tensor) -> bool:
    """Whether a function of ``x`` is put together from PyTorch's operators, in place of an
    ``autograd.Function`` of our own: on a GPU, where one kernel does it all; under the compiler, which writes
    its own; and where ``transformed``."""
    return x.is_cuda or torch.compiler.is_compiling() or transformed()


class _Refused(torch.autograd.Function):
    """The identity, without a gradient."""

    @staticmethod
    def forward(ctx: Any, grad: torch.Tensor) -> torch.Tensor:
        return grad.view_as(grad)

    @staticmethod
    def backward(ctx: Any, *grads: torch.Tensor) -> torch.Tensor:
        raise RuntimeError(
            "PyTorch's fused attention has no second derivative; run the forward pass within "
            "`with danlu.nn.pure():`, or within "
            "`with torch.nn.attention.sdpa_kernel(torch.nn.attention.SDPBackend.MATH):`"
        )


def _refuse(grad: torch.Tensor) -> torch.Tensor | None:
    return _Refused.apply(grad) if torch.is_grad_enabled() else None


def once_only(y: torch.Tensor, *inputs: torch.Tensor) -> torch.Tensor:
    """``y``, what PyTorch's attention made of ``inputs``; where a fused kernel made it, a second derivative
    then raises RuntimeError with what to do (PyTorch's own error names an operator). Compiled code has no
    second derivative in any case, and would be cut in two here."""
    if torch.compiler.is_compiling():
        return y
    if y.grad_fn is not None and y.grad_fn.name().startswith("ScaledDotProduct"):
        for x in inputs:
            if x.requires_grad:
                x.register_hook(_refuse)
    return y
