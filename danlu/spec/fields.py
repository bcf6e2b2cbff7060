"""Specifications of networks of (x, t, condition), which give a number for each number of x: vector fields,
denoisers; built by ``danlu.models``."""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal

from pydantic import Field, model_validator

from danlu.spec.architecture import Architecture, Init
from danlu.spec.attention import Attention
from danlu.spec.base import PositiveInt
from danlu.spec.encodings import TimeEmbedding
from danlu.spec.feed_forwards import ACTIVATION, MLP, FeedForward
from danlu.spec.image_shapes import check_groups, check_halves


class PointMLP(Architecture):
    """A residual MLP on points: h + W act(modulate(h)) in each of ``layers``; a time and a class scale and
    shift (FiLM)."""

    takes_class: ClassVar[bool] = True
    kind: Literal["point-mlp"] = "point-mlp"
    layers: Annotated[PositiveInt, Field(le=10_000)] = 3
    width: PositiveInt = 128
    activation: Annotated[Literal["silu", "gelu", "gelu-tanh", "relu"], ACTIVATION] = "silu"
    time: TimeEmbedding = TimeEmbedding()
    init: Init = Init(branch="same")


class UNet(Architecture):
    """A U-Net on images (Ronneberger et al. 2015; Ho et al. 2020, without attention): ``blocks`` residual
    blocks at each of ``scales``, which say how many times ``width`` channels there are; each scale but the
    first has half the height and width of the one before. What goes down is also handed over to what comes
    up. Time and class scale and shift (FiLM)."""

    takes_class: ClassVar[bool] = True
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

    def check_shape(self, shape: tuple[int, ...]) -> None:
        """Raises ValueError where images (channels, height, width) cannot be halved so often."""
        check_halves(shape, len(self.scales))


class FieldPatches(Architecture):
    """A transformer on the patches of an image, ``patch`` pixels wide and high, with adaptive norms (Peebles
    & Xie 2023, adaLN-Zero): time and class scale and shift what each branch reads and open its gate."""

    kind: Literal["field-patches"] = "field-patches"
    patch: PositiveInt = 2
    layers: Annotated[PositiveInt, Field(le=10_000)] = 4
    width: PositiveInt = 128
    mixer: Attention = Attention()
    feed_forward: FeedForward = MLP(activation="gelu-tanh")
    time: TimeEmbedding = TimeEmbedding()
    init: Init = Init(branch="same", readout=0.0)

    @model_validator(mode="after")
    def _headed(self) -> FieldPatches:
        if self.mixer.head_size is None and self.width % self.mixer.heads:
            raise ValueError(
                f"mixer.heads = {self.mixer.heads} does not divide width = {self.width}; set one to fit the "
                "other"
            )
        return self

    def check_shape(self, shape: tuple[int, ...]) -> None:
        """Raises ValueError where images (channels, height, width) cannot be cut into patches."""
        if len(shape) != 3 or any(side % self.patch for side in shape[1:]):
            raise ValueError(
                f"patch = {self.patch} does not divide height and width of data of shape {shape}; choose one "
                "that does"
            )
