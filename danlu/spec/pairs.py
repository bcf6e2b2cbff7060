"""Specifications of encoder/decoder pairs: data → bottleneck → data; built by ``danlu.models``.

The bottleneck is the objective's (``danlu.spec.autoencode``) and says how many numbers a code has."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, model_validator

from danlu.spec.architecture import Architecture, Init
from danlu.spec.base import PositiveInt
from danlu.spec.feed_forwards import ACTIVATION
from danlu.spec.image_shapes import check_groups, check_halves


class VectorPair(Architecture):
    """Two MLPs with ``layers`` hidden layers of ``width``: data → ``places`` codes → data. Without hidden
    layers both are linear."""

    kind: Literal["vector-pair"] = "vector-pair"
    places: PositiveInt = 1
    layers: Annotated[int, Field(ge=0, le=10_000)] = 2
    width: PositiveInt = 128
    activation: Annotated[Literal["silu", "gelu", "gelu-tanh", "relu"], ACTIVATION] = "gelu"
    init: Init = Init()


class ImagePair(Architecture):
    """Two convolutional networks: images → code → images. ``blocks`` residual blocks at each of ``scales``,
    which say how many times ``width`` channels there are; each scale but the first has half the height and
    width of the one before. There is a code at each place of a grid of the last size, or where ``flat`` is
    set one in all."""

    kind: Literal["image-pair"] = "image-pair"
    flat: bool = True
    width: PositiveInt = 32
    scales: Annotated[tuple[PositiveInt, ...], Field(min_length=1, max_length=10)] = (1, 2)
    blocks: Annotated[PositiveInt, Field(le=1000)] = 1
    groups: PositiveInt = 8
    init: Init = Init()

    @model_validator(mode="after")
    def _grouped(self) -> ImagePair:
        check_groups(self.width, self.groups)
        return self

    def check_shape(self, shape: tuple[int, ...]) -> None:
        """Raises ValueError where images (channels, height, width) cannot be halved so often."""
        check_halves(shape, len(self.scales))
