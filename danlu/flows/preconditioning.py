"""EDM's preconditioning (Karras et al. 2022, table 1): D = c_skip x + c_out F(c_in x, c_noise)."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

from torch import Tensor

from danlu.flows.shapes import over


class Coefficients(NamedTuple):
    """(batch,) each, or as σ is."""

    skip: Tensor
    out: Tensor
    into: Tensor
    noise: Tensor


@dataclass(frozen=True)
class Preconditioning:
    """``sigma_data``: σ_d, the root of mean x² of the data, which is to be centred and measured: the
    network's input and target have mean square 1 at every level only if it is right."""

    sigma_data: float = 0.5

    def coefficients(self, sigma: Tensor) -> Coefficients:
        """Of levels ``sigma`` > 0."""
        sum2 = sigma.square() + self.sigma_data**2
        root = sum2.sqrt()
        return Coefficients(
            self.sigma_data**2 / sum2, sigma * self.sigma_data / root, 1 / root, sigma.log() / 4
        )

    def denoised(self, network: Callable[[Tensor, Tensor], Tensor], x: Tensor, sigma: Tensor) -> Tensor:
        """D at ``x`` (batch, …) and levels ``sigma`` (batch,) by ``network``(c_in x, c_noise)."""
        skip, out, into, noise = self.coefficients(sigma)
        return over(skip, x) * x + over(out, x) * network(over(into, x) * x, noise)

    def target(self, data: Tensor, x: Tensor, sigma: Tensor) -> Tensor:
        """What the network should answer where the data are ``data``: (x₀ − c_skip x)/c_out. With the weight
        of ``EDMWeight`` the loss of D is the plain squared error of this."""
        skip, out, _, _ = self.coefficients(sigma)
        return (data - over(skip, x) * x) / over(out, x)
