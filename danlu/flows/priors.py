"""Laws that sampling may start from, of independent numbers: drawn from given uniform numbers."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn.functional import softplus

from danlu.flows.shapes import rows, size


class Prior(ABC):
    """What every such law has."""

    @abstractmethod
    def sample(self, uniform: Tensor) -> Tensor:
        """From uniform numbers in (0, 1), of the same shape (batch, …)."""

    @abstractmethod
    def log_density(self, x: Tensor) -> Tensor:
        """(batch, …) → (batch,)."""


@dataclass(frozen=True)
class Normal(Prior):
    """Standard normal."""

    def sample(self, uniform: Tensor) -> Tensor:
        return torch.special.ndtri(uniform)

    def log_density(self, x: Tensor) -> Tensor:
        return -rows(x).square().sum(1) / 2 - size(x) / 2 * math.log(2 * math.pi)


@dataclass(frozen=True)
class Uniform(Prior):
    """Uniform between −``half`` and ``half``; √3 has variance 1."""

    half: float = math.sqrt(3)

    def sample(self, uniform: Tensor) -> Tensor:
        return (2 * uniform - 1) * self.half

    def log_density(self, x: Tensor) -> Tensor:
        beyond = rows(x).abs().amax(1) > self.half
        return x.new_full(x.shape[:1], -size(x) * math.log(2 * self.half)).masked_fill(beyond, -torch.inf)


@dataclass(frozen=True)
class Logistic(Prior):
    """Logistic of the given scale: tails that fall as e^(−|x|/scale)."""

    scale: float = math.sqrt(3) / math.pi

    def sample(self, uniform: Tensor) -> Tensor:
        return self.scale * torch.logit(uniform)

    def log_density(self, x: Tensor) -> Tensor:
        y = rows(x) / self.scale
        one = -y - 2 * softplus(-y) - math.log(self.scale)
        return one.sum(1)
