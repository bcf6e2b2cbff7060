"""The model of maximum entropy: one table of weights."""

from __future__ import annotations

from collections.abc import Collection
from typing import TYPE_CHECKING, ClassVar

import torch
import torch.nn as nn

from danlu.models.initialise import streams
from danlu.nn import builds
from danlu.spec import maxent

if TYPE_CHECKING:
    from danlu.maxent import Problem


@builds(maxent.Maxent)
class Maxent(nn.Module):
    """x (…, columns) → scores (…, classes), both float64: p(y|x) is their softmax.

    Args: ``columns``, ``classes``: how many there are; ``problem``: the constraints that the weights are to
    meet, which their solvers ask for; ``spread``: the standard deviation of the initial weights. Weights are
    float64 whatever the precision of a run.
    """

    width_multiplier = 1.0
    compute = torch.float64
    recompute = False
    parameter_roles: ClassVar = {"weight": "readout"}

    def __init__(self, columns: int, classes: int, problem: Problem, *, spread: float = 0.0) -> None:
        super().__init__()
        self._seed = int(torch.randint(2**62, (), device="cpu")) if spread else 0
        self.problem, self.spread = problem, spread
        self.weight = nn.Parameter(torch.empty(columns, classes, dtype=torch.float64))
        self.blocks = nn.ModuleList()
        self.redraw(())

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x @ self.weight

    @torch.no_grad()
    def redraw(self, modules: Collection[nn.Module]) -> None:
        """The initial weights once more."""
        if not self.spread:
            self.weight.zero_()
            return
        with streams(self, self._seed) as begin:
            begin(self)
            self.weight.normal_(std=self.spread)

    def flops(self, batch: int) -> int:
        """FLOPs of the matrix products of a forward pass over ``batch`` times the training set."""
        return 2 * batch * self.problem.features.rows * self.weight.numel()
