"""What every bottleneck offers: a value, what it costs, and which noise it wants."""

from __future__ import annotations

from typing import ClassVar, Literal, NamedTuple

import torch
import torch.nn as nn


class Noise(NamedTuple):
    """The noise of one vector: ``size`` independent numbers, standard ``normal`` or ``uniform`` in [0, 1).
    ``danlu.data.Counter`` has methods of these names, which draw it by the vector's place."""

    law: Literal["normal", "uniform"]
    size: int


class Bottled(NamedTuple):
    """What comes out of a bottleneck.

    ``value`` (…, gives), in the type of the input. ``penalty``: a number, already weighted, the mean over
    vectors, to be added to the loss; a schedule of β multiplies it. ``codes`` (…, groups) int64: which code
    of each group; None where there are none. ``kl`` (…, size): nats of each latent number or group against
    its prior, before any weight; None where there is no distribution.
    """

    value: torch.Tensor
    penalty: torch.Tensor
    codes: torch.Tensor | None = None
    kl: torch.Tensor | None = None


class Bottleneck(nn.Module):
    """Lets less through than it is given: ``forward(z, noise)`` maps (…, takes) to ``Bottled``.

    ``takes``, ``gives``: numbers of a vector before and after. ``groups``, ``codes``: how many codes stand
    for a vector, and out of how many each (both 0: none). ``noise``: what one vector needs, None for nothing.
    It is given, and never drawn by the module, so that who trains decides what it is keyed by; without it
    the most likely value is taken. ``additive``: whether the penalty of a batch is the mean of those of its
    equal parts; where it is not, it depends on how a batch is divided, and is to be taken on fixed groups of
    rows.
    """

    takes: int
    gives: int
    groups: int = 0
    codes: int = 0
    noise: Noise | None = None
    additive: bool = True
    name: ClassVar[str] = "bottleneck"  # how a sentence calls it

    def forward(self, z: torch.Tensor, noise: torch.Tensor | None = None) -> Bottled:
        """Raises ValueError where ``z`` or ``noise`` has another shape than is said above."""
        raise NotImplementedError(f"{type(self).__name__} has no forward(z, noise)")

    def flops(self, rows: int) -> int:
        """FLOPs of the matrix products of a forward pass over ``rows`` vectors."""
        return 0

    def draw(self, z: torch.Tensor, generator: torch.Generator) -> torch.Tensor | None:
        """Noise for ``z`` from a generator of one's own, on its device; uniform noise is float64 (in float32
        it would have no small numbers, and so no large Gumbel noise)."""
        if self.noise is None:
            return None
        shape = (*z.shape[:-1], self.noise.size)
        if self.noise.law == "uniform":
            return torch.rand(shape, dtype=torch.float64, generator=generator, device=generator.device)
        exact = torch.promote_types(z.dtype, torch.float32)
        return torch.randn(shape, dtype=exact, generator=generator, device=generator.device)

    def check(self, z: torch.Tensor, noise: torch.Tensor | None) -> None:
        """Refuse other shapes."""
        if z.shape[-1] != self.takes:
            raise ValueError(
                f"{self.name}: z has {z.shape[-1]} numbers a vector, and {self.takes} are taken; "
                "map it to that many first"
            )
        if noise is None:
            return
        if self.noise is None:
            raise ValueError(f"{self.name}: noise is given, and none is taken; leave it out")
        wanted = (*z.shape[:-1], self.noise.size)
        if noise.shape != wanted:
            raise ValueError(f"{self.name}: noise has the shape {tuple(noise.shape)}; allowed: {wanted}")
