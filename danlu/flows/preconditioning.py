"""EDM's preconditioning (Karras et al. 2022, table 1): D = c_skip x + c_out F(c_in x, c_noise)."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor

from danlu.flows.shapes import length, over, size


class Coefficients(NamedTuple):
    """(batch,) each, or as σ is."""

    skip: Tensor
    out: Tensor
    into: Tensor
    noise: Tensor


@dataclass(frozen=True)
class Preconditioning:
    """``sigma_data``: σ_d, the root of mean x² of the data, which is to be centred and measured: the
    network's input and target have mean square 1 at every level only if it is right.

    ``reach``, for noise with heavy tails: where x is longer than so many times what noise of σ and data make
    together, its length tells the level. Cauchy's noise has no mean length, and c_skip x, which a network
    would have to undo, no bound. None: never.
    """

    sigma_data: float = 0.5
    reach: float | None = None

    def coefficients(self, sigma: Tensor) -> Coefficients:
        """Of levels ``sigma`` > 0."""
        sum2 = sigma.square() + self.sigma_data**2
        root = sum2.sqrt()
        return Coefficients(
            self.sigma_data**2 / sum2, sigma * self.sigma_data / root, 1 / root, sigma.log() / 4
        )

    def denoised(self, network: Callable[[Tensor, Tensor], Tensor], x: Tensor, sigma: Tensor) -> Tensor:
        """D at ``x`` (batch, …) and levels ``sigma`` (batch,) by ``network``(c_in x, c_noise)."""
        _, _, into, noise = self.coefficients(sigma)
        skip, out, _, _ = self.coefficients(self.level(x, sigma))
        return over(skip, x) * x + over(out, x) * network(over(into, x) * self._drawn_in(x, into), noise)

    def level(self, x: Tensor, sigma: Tensor) -> Tensor:
        """max(σ, ‖x‖/(reach √d) − σ_d): the level that skips, scales and weighs each row, (batch,)."""
        if self.reach is None:
            return sigma
        return torch.maximum(sigma, length(x) / (self.reach * size(x) ** 0.5) - self.sigma_data)

    def _drawn_in(self, x: Tensor, into: Tensor) -> Tensor:
        """``x``, from ``reach`` times its usual length on with a length that grows as the logarithm: no two x
        become one."""
        if self.reach is None:
            return x
        times = (length(x) * into / (self.reach * size(x) ** 0.5)).clamp(min=1.0)
        return over((1 + times.log()) / times, x) * x

    def target(self, data: Tensor, x: Tensor, sigma: Tensor) -> Tensor:
        """What the network should answer where the data are ``data``: (x₀ − c_skip x)/c_out. With the weight
        of ``EDMWeight`` the loss of D is the plain squared error of this."""
        skip, out, _, _ = self.coefficients(sigma)
        return (data - over(skip, x) * x) / over(out, x)
