"""Specifications of feed-forward layers; built by ``danlu.nn.feed_forwards``."""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal

from danlu.spec.base import PositiveInt, Spec
from danlu.spec.families import Family

ACTIVATION = Family("activation", base=Spec, functions=True)


class MLP(Spec):
    """Two linear maps with an activation between: W₂ act(W₁ x).

    ``hidden`` is the inner width; left out, four times the model's width. ``biases``: left out, as the model.
    """

    stackable: ClassVar[bool] = True
    kind: Literal["mlp"] = "mlp"
    activation: Annotated[Literal["relu", "gelu", "gelu-tanh", "relu2", "silu"], ACTIVATION] = "gelu"
    hidden: PositiveInt | None = None
    biases: bool | None = None

    def inner(self, width: int) -> int:
        """The inner width in a model of ``width``."""
        return self.hidden or 4 * width


class GLU(Spec):
    """A gated feed-forward W₂ (act(W_g x) ⊙ W_v x) (Shazeer 2020); ``silu`` is SwiGLU.

    ``hidden`` is the inner width; left out, 8/3 of the model's width, rounded up to a
    multiple of ``multiple``, so that it holds as many parameters as the plain layer.
    ``biases``: left out, as the model.
    """

    stackable: ClassVar[bool] = True
    kind: Literal["glu"] = "glu"
    activation: Annotated[Literal["silu", "gelu", "gelu-tanh", "relu", "sigmoid", "none"], ACTIVATION] = (
        "silu"
    )
    hidden: PositiveInt | None = None
    multiple: PositiveInt = 16
    biases: bool | None = None

    def inner(self, width: int) -> int:
        """The inner width in a model of ``width``."""
        return self.hidden or -(-8 * width // (3 * self.multiple)) * self.multiple


FEED_FORWARD = Family("feed_forward", ("width", "bias"), base=Spec, place="model.feed_forward")
FeedForward = Annotated[MLP | GLU, FEED_FORWARD]
