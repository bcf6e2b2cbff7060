"""Specifications of networks of (x, t, condition), which give a number for each number of x: vector fields,
denoisers; built by ``danlu.models``."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, model_validator

from danlu.spec.base import PositiveInt, Spec
from danlu.spec.encodings import TimeEmbedding
from danlu.spec.feed_forwards import ACTIVATION
from danlu.spec.image_shapes import check_groups, check_halves
from danlu.spec.models import Init


class PointMLP(Spec):
    """A residual MLP on points: h + W act(modulate(h)) in each of ``layers``; a time and a class scale and
    shift (FiLM)."""

    kind: Literal["point-mlp"] = "point-mlp"
    layers: Annotated[PositiveInt, Field(le=10_000)] = 3
    width: PositiveInt = 128
    activation: Annotated[Literal["silu", "gelu", "gelu-tanh", "relu"], ACTIVATION] = "silu"
    time: TimeEmbedding = TimeEmbedding()
    init: Init = Init(branch="same")


class UNet(Spec):
    """A U-Net on images (Ronneberger et al. 2015; Ho et al. 2020, without attention): ``blocks`` residual
    blocks at each of ``scales``, which say how many times ``width`` channels there are; each scale but the
    first has half the height and width of the one before. What goes down is also handed over to what comes
    up. Time and class scale and shift (FiLM)."""

    kind: Literal["unet"] = "unet"
    width: PositiveInt = 32
    scales: Annotated[tuple[PositiveInt, ...], Field(min_length=1, max_length=10)] = (1, 2, 2)
    blocks: Annotated[PositiveInt, Field(le=1000)] = 1
    groups: PositiveInt = 8
    time: TimeEmbedding = TimeEmbedding()
    init: Init = Init(branch="zero")

    @model_validator(mode="after")
    def _grouped(self) -> UNet:
        check_groups(self.width, self.groups)
        return self

    def check(self, shape: tuple[int, ...]) -> None:
        """Raises ValueError where images (channels, height, width) cannot be halved so often."""
        check_halves(shape, len(self.scales))
