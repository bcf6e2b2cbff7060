"""Specifications of networks of coordinates alone: an image, a sound, a shape as a function; built by
``danlu.models``."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, model_validator

from danlu.spec.architecture import Architecture, Init
from danlu.spec.base import PositiveFloat, PositiveInt
from danlu.spec.encodings import Encoding, FourierFeatures
from danlu.spec.feed_forwards import ACTIVATION


class Siren(Architecture):
    """``layers`` layers of sines, sin(ω(Wx + b)), and a linear map (Sitzmann et al. 2020). ``omega``: ω;
    ``first_omega``: of the first layer, the frequencies that it begins with (coordinates from −1 to 1)."""

    kind: Literal["siren"] = "siren"
    layers: Annotated[PositiveInt, Field(le=10_000)] = 4
    width: PositiveInt = 128
    omega: PositiveFloat = 30.0
    first_omega: PositiveFloat = 30.0


class CoordinateMLP(Architecture):
    """An ``encoding`` of coordinates and an MLP with ``layers`` hidden layers. Coordinates come from −1 to 1
    and are encoded as v from 0 to 1."""

    kind: Literal["coordinate-mlp"] = "coordinate-mlp"
    encoding: Encoding = FourierFeatures()
    layers: Annotated[PositiveInt, Field(le=10_000)] = 3
    width: PositiveInt = 128
    activation: Annotated[Literal["relu", "gelu", "gelu-tanh", "silu"], ACTIVATION] = "relu"
    init: Init = Init()


class LipschitzMLP(Architecture):
    """An MLP whose Lipschitz constant is at most ``constant`` for any weights: orthonormal maps by ``steps``
    of Björck's iteration, and features sorted in groups of ``group`` (Anil et al. 2019)."""

    kind: Literal["lipschitz-mlp"] = "lipschitz-mlp"
    layers: Annotated[PositiveInt, Field(le=10_000)] = 3
    width: PositiveInt = 64
    group: Annotated[int, Field(ge=2)] = 2
    steps: Annotated[int, Field(ge=1, le=1000)] = 15
    constant: PositiveFloat = 1.0

    @model_validator(mode="after")
    def _grouped(self) -> LipschitzMLP:
        if self.width % self.group:
            raise ValueError(
                f"group = {self.group} does not divide width = {self.width}; set one to fit the other"
            )
        return self
