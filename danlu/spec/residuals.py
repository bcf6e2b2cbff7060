"""Specifications of how a branch joins the residual stream; built by ``danlu.nn.residuals``."""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal

from danlu.spec.base import PositiveFloat, Spec
from danlu.spec.families import Family

# Where the norms stand: before a branch; after the sum; before the branch and after it; after the branch
# alone (OLMo 2); mixer and feed-forward side by side with one norm (GPT-J) or one each (GPT-NeoX).
Placement = Literal["pre", "post", "double", "output", "parallel", "parallel-two"]


class Plain(Spec):
    """x + f(x) (He et al. 2016)."""

    stackable: ClassVar[bool] = True
    kind: Literal["plain"] = "plain"


class NoResidual(Spec):
    """f(x) alone: no way around a branch. What residual connections are compared with (docs/depth.md)."""

    stackable: ClassVar[bool] = True
    kind: Literal["none"] = "none"


class Halved(Spec):
    """(x + f(x))/√2, which keeps the variance (Song et al. 2021, NCSN++ ``skip_rescale``)."""

    stackable: ClassVar[bool] = True
    kind: Literal["sqrt2"] = "sqrt2"


class DepthScaled(Spec):
    """x + f(x)/√S with S branches in the stack (Yang et al. 2023, Depth-μP, arXiv:2310.02244; Su
    2022, kexue.fm/archives/8994). ``scale`` left out: 1/√S for the number of layers."""

    stackable: ClassVar[bool] = True
    kind: Literal["depth-scaled"] = "depth-scaled"
    scale: PositiveFloat | None = None


class ReZero(Spec):
    """x + a f(x), one learned a for each branch, 0 at the start (Bachlechner et al. 2021, eq. 1)."""

    stackable: ClassVar[bool] = True
    kind: Literal["rezero"] = "rezero"


class LayerScale(Spec):
    """x + a ⊙ f(x), a learned number for each feature, ``init`` at the start (Touvron et al. 2021, eq. 4)."""

    stackable: ClassVar[bool] = True
    kind: Literal["layer-scale"] = "layer-scale"
    init: PositiveFloat = 0.1


class DeepNorm(Spec):
    """norm(αx + f(x)) with the value path drawn with Xavier gain β (Wang et al. 2022, figure 2).

    ``alpha`` and ``beta`` left out: the paper's for the number of layers, or with ``rule: adam`` those that
    keep one update of Adam bounded (Su 2021): α = √(2N), β = 1/√(2N)."""

    stackable: ClassVar[bool] = True
    kind: Literal["deepnorm"] = "deepnorm"
    alpha: PositiveFloat | None = None
    beta: PositiveFloat | None = None
    rule: Literal["paper", "adam"] = "paper"

    def constants(
        self, layers: int, other: int | None = None, side: Literal["encoder", "decoder"] = "decoder"
    ) -> tuple[float, float]:
        """α and β for ``layers`` layers (of one stack alone), or, where ``other`` counts the layers of the
        other stack of an encoder-decoder, for the ``side`` that has ``layers``."""
        n = layers
        if self.rule == "adam":
            alpha, beta = (2 * n) ** 0.5, (2 * n) ** -0.5
        elif other is None:
            alpha, beta = (2 * n) ** 0.25, (8 * n) ** -0.25
        elif side == "encoder":
            alpha, beta = 0.81 * (n**4 * other) ** 0.0625, 0.87 * (n**4 * other) ** -0.0625
        else:
            alpha, beta = (3 * n) ** 0.25, (12 * n) ** -0.25
        return self.alpha or alpha, self.beta or beta


class Admin(Spec):
    """norm(ω ⊙ x + f(x)), ω learned and profiled before the first update: ω² = 1 + Σ Var f over the branches
    before (Liu et al. 2020, arXiv:2004.08249, section 4.2; its code starts the sum with 1)."""

    stackable: ClassVar[bool] = True
    kind: Literal["admin"] = "admin"


RESIDUAL = Family("residual", ("width",), base=Spec, place="model.residual")
Residual = Annotated[
    Plain | NoResidual | Halved | DepthScaled | ReZero | LayerScale | DeepNorm | Admin, RESIDUAL
]
