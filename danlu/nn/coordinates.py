"""Layers on coordinates: sines (SIREN), random Fourier features, octaves. Without them a network learns low
frequencies first, and high ones hardly at all.

Coordinates should come in float32: phases are large, and 16 bits lose them.
"""

from __future__ import annotations

import math

import torch
import torch.nn as nn

from danlu.nn.linear import Linear
from danlu.nn.registry import builds
from danlu.spec import encodings as specs


class Sine(nn.Module):
    """sin(ω(Wx + b)), a layer of a SIREN (Sitzmann et al. 2020, section 3.2).

    Args: ``inputs``, ``outputs``; ``omega`` ω; ``first``: whether x are the coordinates, from −1 to 1.
    At the start W is uniform within ±1/inputs in the first layer and within ±√(6/inputs)/ω in the others, so
    that the phase has a variance of 1 from it at every depth. b is uniform within ±1/√inputs, as in the
    paper's code; it is multiplied by ω, too, and adds ω²/(3 inputs) to that variance.
    Shapes: (…, inputs) → (…, outputs), in the type of the input.
    """

    def __init__(self, inputs: int, outputs: int, *, omega: float = 30.0, first: bool = False) -> None:
        super().__init__()
        self.omega, self.first = omega, first
        self.full_precision = first  # its phases are the largest, and 16 bits would lose them
        self.linear = Linear(inputs, outputs)
        self.initialise_own()

    def initialise_own(self) -> None:
        """The draw that is described above."""
        inputs = self.linear.in_features
        if self.first:
            nn.init.uniform_(self.linear.weight, -1 / inputs, 1 / inputs)
        else:
            draw_siren(self.linear, self.omega)
        nn.init.uniform_(self.linear.bias, -(inputs**-0.5), inputs**-0.5)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return torch.sin(self.omega * self.linear(x))

    def lipschitz(self) -> float:
        """ω‖W‖₂, which no slope exceeds."""
        return self.omega * float(torch.linalg.matrix_norm(self.linear.weight.detach().double(), 2))

    def flops(self, rows: int) -> int:
        """FLOPs of the matrix product in a forward pass."""
        return self.linear.flops(rows)

    def extra_repr(self) -> str:
        return f"omega={self.omega:g}, first={self.first}"


def draw_siren(linear: nn.Linear, omega: float) -> None:
    """Draw the weight of a map that follows sines, uniform within ±√(6/inputs)/ω: the last one of a SIREN
    as well."""
    bound = math.sqrt(6 / linear.in_features) / omega
    nn.init.uniform_(linear.weight, -bound, bound)


class Encoding(nn.Module):
    """What stands between coordinates and an MLP: (…, inputs) → (…, ``outputs``), in the input's type."""

    outputs: int

    def flops(self, rows: int) -> int:
        """FLOPs of the matrix products of a forward pass."""
        return 0

    def lipschitz(self) -> float:
        """The Lipschitz constant, exact."""
        raise NotImplementedError(f"{type(self).__name__} has no lipschitz()")


@builds(specs.Raw)
class Raw(Encoding):
    """The coordinates as they are."""

    def __init__(self, inputs: int) -> None:
        super().__init__()
        self.outputs = inputs

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x

    def lipschitz(self) -> float:
        return 1.0


@builds(specs.FourierFeatures)
class FourierFeatures(Encoding):
    """(sin 2πBv, cos 2πBv) (Tancik et al. 2020, eq. 5).

    The product of two encodings over ``features`` tends to e^{−2π²·scale²·‖v − w‖²}, the kernel that a linear
    map on them learns with.

    Args: ``inputs``; ``features``: rows of B; ``scale``: standard deviation of its numbers, in periods a unit
    of v. B is a float32 buffer ``frequencies`` (features, inputs): it is saved, and not trained. A model
    draws it from the stream that this module has by its place.

    >>> FourierFeatures(2, features=8)(torch.zeros(3, 2)).shape
    torch.Size([3, 16])
    """

    frequencies: torch.Tensor

    def __init__(self, inputs: int, *, features: int = 256, scale: float = 10.0) -> None:
        super().__init__()
        self.outputs, self.scale = 2 * features, scale
        self.register_buffer("frequencies", torch.empty(features, inputs))
        self.initialise_own()

    @torch.no_grad()
    def initialise_own(self) -> None:
        """Draw B."""
        self.frequencies.normal_(std=self.scale)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        exact = torch.promote_types(x.dtype, self.frequencies.dtype)
        phases = 2 * math.pi * (x.to(exact) @ self.frequencies.to(exact).T)
        return torch.cat([phases.sin(), phases.cos()], dim=-1).to(x.dtype)

    def lipschitz(self) -> float:
        """2π‖B‖₂: the squares of sine and cosine add up to 1 in every row of the Jacobian's Gram matrix."""
        return 2 * math.pi * float(torch.linalg.matrix_norm(self.frequencies.double(), 2))

    def flops(self, rows: int) -> int:
        return 2 * rows * self.frequencies.numel()


@builds(specs.Octaves)
class Octaves(Encoding):
    """(sin 2ʲπv, cos 2ʲπv) for j = 0 … ``octaves`` − 1 (Mildenhall et al. 2020, eq. 4); v should stay within
    [−1, 1], or within [0, 1], where no two points are alike to it."""

    def __init__(self, inputs: int, *, octaves: int = 6) -> None:
        super().__init__()
        self.octaves, self.outputs = octaves, 2 * octaves * inputs

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        exact = x.to(torch.promote_types(x.dtype, torch.float32))
        powers = math.pi * 2.0 ** torch.arange(self.octaves, dtype=exact.dtype, device=x.device)
        phases = (exact[..., None] * powers).flatten(-2)
        return torch.cat([phases.sin(), phases.cos()], dim=-1).to(x.dtype)

    def lipschitz(self) -> float:
        """π√(Σ 4ʲ), in every direction alike."""
        return math.pi * math.sqrt((4**self.octaves - 1) / 3)

    def extra_repr(self) -> str:
        return f"octaves={self.octaves}"
