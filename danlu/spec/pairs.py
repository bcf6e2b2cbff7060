"""Specifications of encoder/decoder pairs: data → code → data; built by ``danlu.models``."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, model_validator

from danlu.spec.architecture import Init
from danlu.spec.base import PositiveInt, Spec
from danlu.spec.feed_forwards import ACTIVATION
from danlu.spec.image_shapes import check_groups, check_halves


class VectorPair(Spec):
    """Two MLPs with ``layers`` hidden layers of ``width``: data → ``latent`` numbers → data. Without hidden
    layers both are linear."""

    kind: Literal["vector-pair"] = "vector-pair"
    latent: PositiveInt = 8
    layers: Annotated[int, Field(ge=0, le=10_000)] = 2
    width: PositiveInt = 128
    activation: Annotated[Literal["silu", "gelu", "gelu-tanh", "relu"], ACTIVATION] = "gelu"
    init: Init = Init()


class ImagePair(Spec):
    """Two convolutional networks: images → code → images. ``blocks`` residual blocks at each of ``scales``,
    which say how many times ``width`` channels there are; each scale but the first has half the height and
    width of the one before. The code is a grid of that size with ``latent`` numbers at each place, or where
    ``flat`` is set ``latent`` numbers in all."""

    kind: Literal["image-pair"] = "image-pair"
    latent: PositiveInt = 8
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

    def check(self, shape: tuple[int, ...]) -> None:
        """Raises ValueError where images (channels, height, width) cannot be halved so often."""
        check_halves(shape, len(self.scales))
