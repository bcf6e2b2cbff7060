"""Products of a vector with the Hessian of a sum of terms, and with its Gauss-Newton matrix."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple

import torch
from torch import Tensor

Term = Callable[[], Tensor]
Product = Callable[[Tensor], Tensor]  # (size,) → (size,), linear and symmetric


class Outputs(NamedTuple):
    """What a network returns, and the scalar that is made of it and of nothing else that is learned."""

    outputs: Tensor
    loss: Tensor


def flatten(tensors: Sequence[Tensor]) -> Tensor:
    """All numbers in one vector, in the order of the tensors."""
    return torch.cat([tensor.reshape(-1) for tensor in tensors])


def split(vector: Tensor, like: Sequence[Tensor]) -> list[Tensor]:
    """The inverse of ``flatten``: parts of ``vector`` in the shapes of ``like``."""
    parts = vector.split([tensor.numel() for tensor in like])
    return [part.view_as(tensor) for part, tensor in zip(parts, like, strict=True)]


class Hessian:
    """∇²L of L = Σ terms, as a product: ``hessian(v)``, by differentiating gᵀv once more (Pearlmutter 1994).

    ``parameters``: tensors that require gradients, in the order of a vector's numbers. ``keep``: whether
    the graphs of the gradients are kept from product to product, so that a term is computed once, and the
    memory of all terms is held; left out: where there is one term. Parameters must then stay as they are.
    A product is a vector (size,) in the type of the parameters. Raises RuntimeError where a term has no
    second derivative.
    """

    def __init__(
        self, parameters: Sequence[Tensor], terms: Sequence[Term], *, keep: bool | None = None
    ) -> None:
        self.parameters, self.terms = list(parameters), list(terms)
        self.keep = len(self.terms) == 1 if keep is None else keep
        self._kept: list[tuple[Tensor, ...] | None] = [None] * len(self.terms)

    @property
    def size(self) -> int:
        """The number of parameters."""
        return sum(p.numel() for p in self.parameters)

    @property
    def dtype(self) -> torch.dtype:
        return self.parameters[0].dtype

    def value(self) -> float:
        """L, computed anew."""
        with torch.no_grad():
            return sum(float(term()) for term in self.terms)

    def gradient(self) -> Tensor:
        """∇L, (size,), computed anew."""
        total = torch.zeros(self.size, dtype=self.dtype, device=self.parameters[0].device)
        for term in self.terms:
            total += gradient_of(term(), self.parameters)
        return total

    def __call__(self, v: Tensor) -> Tensor:
        along, total = split(v, self.parameters), torch.zeros_like(v)
        for i, term in enumerate(self.terms):
            slopes = self._kept[i]
            if slopes is None:
                slopes = torch.autograd.grad(
                    term(), self.parameters, create_graph=True, materialize_grads=True
                )
                self._kept[i] = slopes if self.keep else None
            total += _along(slopes, self.parameters, along, keep=self.keep)
        return total


class GaussNewton:
    """JᵀH_z J of L = Σ losses, where J is the derivative of a network's outputs z by the parameters and H_z
    the Hessian of a loss by z (Schraudolph 2002): positive semidefinite where the loss is convex in z, and
    the Hessian itself where z is linear in the parameters. ``terms`` return ``Outputs``; what a loss owes to
    the parameters past z is left out. Else as ``Hessian``."""

    def __init__(
        self,
        parameters: Sequence[Tensor],
        terms: Sequence[Callable[[], Outputs]],
        *,
        keep: bool | None = None,
    ) -> None:
        self.parameters, self.terms = list(parameters), list(terms)
        self.keep = len(self.terms) == 1 if keep is None else keep
        self._kept: list[tuple[Tensor, ...] | None] = [None] * len(self.terms)

    def __call__(self, v: Tensor) -> Tensor:
        along, total = split(v, self.parameters), torch.zeros_like(v)
        for i, term in enumerate(self.terms):
            made = self._kept[i]
            if made is None:
                z, loss = term()
                (by_z,) = torch.autograd.grad(loss, z, create_graph=True)
                dummy = torch.zeros_like(z, requires_grad=True)
                # Jᵀu is linear in u: its derivative by u along v is Jv, forward mode out of two reverse.
                back = torch.autograd.grad(
                    z, self.parameters, dummy, create_graph=True, materialize_grads=True
                )
                made = (z, by_z, dummy, *back)
                self._kept[i] = made if self.keep else None
            z, by_z, dummy, *back_ = made
            forth = _along(back_, [dummy], along, keep=True).view_as(z)
            curved = _along([by_z], [z], [forth], keep=True).view_as(z)
            total += gradient_of(z, self.parameters, curved, keep=self.keep)
        return total


def gradient_of(
    y: Tensor, parameters: Sequence[Tensor], by: Tensor | None = None, *, keep: bool = False
) -> Tensor:
    """The gradient of y (of Σ y·by) as one vector, zeros where y does not depend on a parameter."""
    if not y.requires_grad:
        return torch.zeros_like(flatten(parameters))
    found = torch.autograd.grad(y, parameters, by, retain_graph=keep, materialize_grads=True)
    return flatten(found)


def _along(slopes: Sequence[Tensor], by: Sequence[Tensor], v: Sequence[Tensor], *, keep: bool) -> Tensor:
    """The derivative of Σ slopes·v by the tensors ``by``, as one vector."""
    pairs = [(slope, part) for slope, part in zip(slopes, v, strict=True) if slope.requires_grad]
    if not pairs:  # no slope depends on anything: L is linear
        return torch.zeros_like(flatten(by))
    given, parts = zip(*pairs, strict=True)
    return flatten(torch.autograd.grad(given, by, parts, retain_graph=keep, materialize_grads=True))
