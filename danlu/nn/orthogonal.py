"""Layers whose Lipschitz constant is at most 1, by construction: orthonormal maps and sorting."""

from __future__ import annotations

import torch
import torch.nn as nn
import torch.nn.functional as F

from danlu.nn.linear import Linear


def bjorck(weight: torch.Tensor, steps: int = 25) -> torch.Tensor:
    """The orthonormal matrix nearest to ``weight`` (rows, columns), by ``steps`` of W ← W(I + ½(I − WᵀW))
    (Björck & Bowie 1971; Anil et al. 2019, section 4.2.1).

    W is first divided by √(‖W‖₁‖W‖_∞), which is at least ‖W‖₂. A step maps each singular value s to
    s(3 − s²)/2, from [0, 1] into itself and upwards: none ever exceeds 1 (but for rounding), however few the
    steps. A small one grows by 3/2 a step, so that s takes about log(1/s)/log(3/2) + 5 steps to 1.
    """
    bound = (weight.abs().sum(0).max() * weight.abs().sum(1).max()).sqrt()
    wide = weight.shape[0] < weight.shape[1]
    w = (weight.T if wide else weight) / bound
    for _ in range(steps):
        w = torch.addmm(w, w, w.T @ w, beta=1.5, alpha=-0.5)
    return w.T if wide else w


class OrthogonalLinear(nn.Module):
    """y = Qx + b, Q = ``bjorck(weight)`` with orthonormal rows or columns, whichever are fewer.

    Q is made anew in every forward pass, and gradients reach the weight through it.
    Shapes: (…, inputs) → (…, outputs), in the type of the input.
    """

    def __init__(self, inputs: int, outputs: int, *, bias: bool = True, steps: int = 25) -> None:
        super().__init__()
        self.steps = steps
        self.linear = Linear(inputs, outputs, bias=bias)
        self.initialise_own()

    def initialise_own(self) -> None:
        """An orthonormal weight, drawn uniformly."""
        nn.init.orthogonal_(self.linear.weight)

    @property
    def matrix(self) -> torch.Tensor:
        """Q (outputs, inputs)."""
        return bjorck(self.linear.weight, self.steps)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        bias = None if self.linear.bias is None else self.linear.bias.to(x.dtype)
        return F.linear(x, self.matrix.to(x.dtype), bias)

    def lipschitz(self) -> float:
        """‖Q‖₂, as it comes out; 1 but for rounding."""
        return float(torch.linalg.matrix_norm(self.matrix.detach().double(), 2))

    def flops(self, rows: int) -> int:
        """FLOPs of the matrix products of a forward pass, those that make Q among them."""
        small, large = sorted(self.linear.weight.shape)
        return self.linear.flops(rows) + self.steps * 4 * small * small * large


class GroupSort(nn.Module):
    """Sorts each group of ``group`` neighbouring features (Anil et al. 2019, section 4.1): a permutation at
    every point, so that no gradient is lost. With 2 it is their greatest and least.
    Shapes: (…, width) → the same. Raises ValueError where ``group`` does not divide the width."""

    def __init__(self, group: int = 2) -> None:
        super().__init__()
        self.group = group

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        if x.shape[-1] % self.group:
            raise ValueError(f"group = {self.group} does not divide the {x.shape[-1]} features")
        return x.unflatten(-1, (-1, self.group)).sort(dim=-1).values.flatten(-2)

    def lipschitz(self) -> float:
        return 1.0
