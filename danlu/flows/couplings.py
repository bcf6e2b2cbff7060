"""Which noise goes to which data: pairs for flow matching. What belongs to data, as labels, goes along.

A coupling looks at the whole batch: under accumulation or several processes it is to be taken over fixed
groups.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from danlu.flows.convert import Field
from danlu.flows.samplers import OneStep
from danlu.flows.shapes import rows


class Coupling(ABC):
    """What every coupling has. ``draws``: whether it needs a uniform number in [0, 1) for each row."""

    draws: ClassVar[bool] = False

    @abstractmethod
    def order(self, noise: Tensor, data: Tensor, uniform: Tensor | None = None) -> Tensor:
        """Which row of ``data`` (batch, …) goes to each row of ``noise``, (batch,) int64: a permutation,
        unless it is drawn, by ``uniform`` (batch,)."""

    def pair(
        self, noise: Tensor, data: Tensor, *along: Tensor, uniform: Tensor | None = None
    ) -> tuple[Tensor, ...]:
        """``data`` and what belongs to it, (batch, …) each, in the order of ``noise``."""
        order = self.order(noise, data) if uniform is None else self.order(noise, data, uniform)
        return tuple(each[order.to(each.device)] for each in (data, *along))


@dataclass(frozen=True)
class Independent(Coupling):
    """As they come."""

    def order(self, noise: Tensor, data: Tensor, uniform: Tensor | None = None) -> Tensor:
        return torch.arange(noise.shape[0])


@dataclass(frozen=True)
class OptimalTransport(Coupling):
    """The assignment with the least sum of squared distances (OT-CFM, Tong et al. 2023; Pooladian et al.
    2023): deterministic, and each row is used once. It is of this batch, not of the two laws: with a
    condition of the data it changes what noise a condition sees."""

    def order(self, noise: Tensor, data: Tensor, uniform: Tensor | None = None) -> Tensor:
        from scipy.optimize import linear_sum_assignment

        return torch.as_tensor(linear_sum_assignment(squared_distances(noise, data).numpy())[1])


def squared_distances(noise: Tensor, data: Tensor) -> Tensor:
    """Of each row of ``noise`` from each of ``data``: (batch, batch), float64 on the CPU. Raises ValueError
    where one is not finite."""
    x, y = (rows(each).detach().cpu().double() for each in (noise, data))
    cost = torch.cdist(x, y, compute_mode="donot_use_mm_for_euclid_dist").square()
    if not cost.isfinite().all():
        raise ValueError("noise or data is not finite: no assignment has a least cost")
    return cost


def reflow(velocity: Field, noise: Tensor, times: Tensor, solver: OneStep) -> tuple[Tensor, Tensor]:
    """The pairs of rectified flow's next round (Liu et al. 2022): ``noise`` (batch, …) and where ``velocity``
    takes it from ``times[0]`` to ``times[-1]``. Of a flow with conditions, ask it with those of the rows."""
    return noise, solver.flow(velocity, noise, times).x
