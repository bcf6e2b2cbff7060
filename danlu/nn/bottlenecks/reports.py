"""What is told of a bottleneck over a whole set, gathered batch by batch.

A number of a batch is not the set's: the perplexity of few codes is low whatever the codebook, so that the
mean over batches is below that of the set.
"""

from __future__ import annotations

import math

import torch


class Usage:
    """How often each code was used. ``counts`` (groups, codes) int64, on the CPU; those of several processes
    may be added up.

    >>> usage = Usage(codes=4)
    >>> usage.add(torch.tensor([[0], [1]]))
    >>> usage.add(torch.tensor([[2], [2]]))
    >>> usage.used.tolist(), round(float(usage.perplexity), 3)
    ([3], 2.828)
    """

    def __init__(self, codes: int, groups: int = 1) -> None:
        self.counts = torch.zeros(groups, codes, dtype=torch.int64)

    def add(self, codes: torch.Tensor) -> None:
        """Count ``codes`` (…, groups), as ``Bottled`` has them."""
        groups, size = self.counts.shape
        flat = codes.detach().reshape(-1, groups) + torch.arange(groups, device=codes.device) * size
        self.counts += torch.bincount(flat.flatten(), minlength=groups * size).view(groups, size).cpu()

    @property
    def entropy(self) -> torch.Tensor:
        """Nats of each group, (groups,) float64; NaN before anything was counted."""
        share = self.counts.double() / self.counts.sum(-1, keepdim=True)
        return torch.special.entr(share).sum(-1)

    @property
    def perplexity(self) -> torch.Tensor:
        """exp(entropy) of each group: 1 if all fell on one code, ``codes`` if all were used alike."""
        return self.entropy.exp()

    @property
    def used(self) -> torch.Tensor:
        """How many codes of each group were used at all."""
        return (self.counts > 0).sum(-1)

    @property
    def bits(self) -> float:
        """Bits that a vector costs where each group is coded by itself: at least what all say together."""
        return float(self.entropy.sum()) / math.log(2)


class ActiveUnits:
    """The variance over a set of each latent number's posterior mean (Burda et al. 2016), by
    batches (Chan, Golub & LeVeque 1979), in float64."""

    def __init__(self, size: int) -> None:
        self.count = 0
        self.mean = torch.zeros(size, dtype=torch.float64)
        self._squares = torch.zeros(size, dtype=torch.float64)

    def add(self, mean: torch.Tensor) -> None:
        """``mean`` (…, size): μ of each example."""
        x = mean.detach().reshape(-1, mean.shape[-1]).double().cpu()
        total = self.count + len(x)
        away = x.mean(0) - self.mean
        self._squares += (x - x.mean(0)).square().sum(0) + away.square() * (self.count * len(x) / total)
        self.mean += away * (len(x) / total)
        self.count = total

    @property
    def variance(self) -> torch.Tensor:
        """(size,) float64, divided by the count."""
        return self._squares / self.count

    def active(self, above: float = 0.01) -> int:
        """How many numbers have a variance ``above`` the threshold, the paper's by default."""
        return int((self.variance > above).sum())
