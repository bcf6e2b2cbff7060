"""How a branch joins the residual stream: each class maps (x, f(x)) to the stream after it.

Shapes: ``x`` and ``branch`` (…, width), of one type → the same. Learned numbers are float32 and cast at use.
"""

from __future__ import annotations

import math
from typing import Literal

import torch
import torch.nn as nn

from danlu import spec
from danlu.nn.contracts import Residual
from danlu.nn.registry import builds
from danlu.nn.stacked import each


@builds(spec.Plain)
class Plain(Residual):
    """x + f(x) (He et al. 2016, eq. 1)."""

    def __init__(self, width: int) -> None:
        super().__init__()

    def forward(self, x: torch.Tensor, branch: torch.Tensor) -> torch.Tensor:
        return x + branch


@builds(spec.NoResidual)
class NoResidual(Residual):
    """f(x) alone."""

    def __init__(self, width: int) -> None:
        super().__init__()

    def forward(self, x: torch.Tensor, branch: torch.Tensor) -> torch.Tensor:
        return branch


@builds(spec.Halved)
class Halved(Residual):
    """(x + f(x))/√2, which keeps the variance of two independent terms of equal variance (Song et al.
    2021, NCSN++, ``skip_rescale``)."""

    def __init__(self, width: int) -> None:
        super().__init__()

    def forward(self, x: torch.Tensor, branch: torch.Tensor) -> torch.Tensor:
        return (x + branch) * math.sqrt(0.5)


@builds(spec.DepthScaled)
class DepthScaled(Residual):
    """x + ``scale`` · f(x) (Yang et al. 2023, Depth-μP; Su 2022, kexue.fm/archives/8994). Left out, the model
    makes it 1/√S for the S branches of a stack; alone it is then 1."""

    def __init__(self, width: int, *, scale: float | None = None) -> None:
        super().__init__()
        self.scale = scale

    def forward(self, x: torch.Tensor, branch: torch.Tensor) -> torch.Tensor:
        return torch.add(x, branch, alpha=1.0 if self.scale is None else self.scale)

    def extra_repr(self) -> str:
        return f"scale={self.scale}"


@builds(spec.ReZero)
class ReZero(Residual):
    """x + a f(x), one learned a, 0 at the start (Bachlechner et al. 2021, eq. 1).

    The branch must not start at zero as well: a and f would then be each other's gradient, 0 for ever.
    """

    stackable = True

    def __init__(self, width: int) -> None:
        super().__init__()
        self.gain = nn.Parameter(torch.zeros(1))

    def forward(self, x: torch.Tensor, branch: torch.Tensor) -> torch.Tensor:
        return each(torch.addcmul, self.gain, 1, x, branch)


@builds(spec.LayerScale)
class LayerScale(Residual):
    """x + a ⊙ f(x), a learned number for each feature, ``init`` at the start (Touvron et al. 2021, eq. 4)."""

    stackable = True

    def __init__(self, width: int, *, init: float = 0.1) -> None:
        super().__init__()
        self.gain = nn.Parameter(torch.full((width,), init))

    def forward(self, x: torch.Tensor, branch: torch.Tensor) -> torch.Tensor:
        return each(torch.addcmul, self.gain, 1, x, branch)


@builds(spec.DeepNorm)
class DeepNorm(Residual):
    """αx + f(x), to be followed by a norm (Wang et al. 2022, figure 2).

    Args: ``alpha``; ``beta``: the gain that the model draws the branch with, only kept here;
    ``rule``: where the two come from. α and β depend on the number of layers, which a layer does not know:
    the model takes them from ``spec.DeepNorm.constants``. Left out, both are 1, plain post-norm.
    """

    def __init__(
        self,
        width: int,
        *,
        alpha: float | None = None,
        beta: float | None = None,
        rule: Literal["paper", "adam"] = "paper",
    ) -> None:
        super().__init__()
        self.alpha = 1.0 if alpha is None else alpha
        self.beta = 1.0 if beta is None else beta
        self.rule = rule

    def forward(self, x: torch.Tensor, branch: torch.Tensor) -> torch.Tensor:
        return torch.add(branch, x, alpha=self.alpha)

    def extra_repr(self) -> str:
        return f"alpha={self.alpha:g}, beta={self.beta:g}, rule={self.rule}"


@builds(spec.Admin)
class Admin(Residual):
    """ω ⊙ x + f(x), to be followed by a norm (Liu et al. 2020, arXiv:2004.08249, section 4.2).

    ω, ``gain``, is 1 in every feature until ``danlu.train.admin`` has set it from a first batch.
    """

    stackable = True

    def __init__(self, width: int) -> None:
        super().__init__()
        self.gain = nn.Parameter(torch.ones(width))

    def forward(self, x: torch.Tensor, branch: torch.Tensor) -> torch.Tensor:
        return each(torch.addcmul, self.gain, 1, branch, x)
