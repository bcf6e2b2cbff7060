"""Specifications of encodings of coordinates, and of time; built by ``danlu.nn.coordinates`` and
``danlu.nn.conditions``."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, model_validator

from danlu.spec.base import ByKind, PositiveFloat, PositiveInt, Shorthand, Spec


class Raw(Spec):
    """The coordinates as they are."""

    kind: Literal["raw"] = "raw"


class FourierFeatures(Spec):
    """sin 2πBv, cos 2πBv with random frequencies, B normal with standard deviation ``scale`` and never
    trained, ``features`` of each (Tancik et al. 2020, eq. 5). Too small a scale blurs, too large a one
    memorises."""

    kind: Literal["fourier"] = "fourier"
    features: PositiveInt = 256
    scale: PositiveFloat = 10.0


class Octaves(Spec):
    """sin 2ʲπv, cos 2ʲπv of each coordinate, j from 0 to ``octaves`` − 1 (Mildenhall et al. 2020, eq. 4)."""

    kind: Literal["octaves"] = "octaves"
    octaves: Annotated[int, Field(ge=1, le=30)] = 6


Encoding = Annotated[Raw | FourierFeatures | Octaves, ByKind, Shorthand]


class TimeEmbedding(Spec):
    """sin ωt, cos ωt at ``frequencies`` ω from ``slowest`` to ``fastest``, in equal ratios, and an MLP on
    them (Ho et al. 2020 have .1 to 1000 for t from 0 to 1). ``of``: what is given; of a ``noise-level`` σ, t
    is ¼ ln σ (Karras et al. 2022, table 1)."""

    kind: Literal["time"] = "time"
    frequencies: PositiveInt = 32
    slowest: PositiveFloat = 0.1
    fastest: PositiveFloat = 100.0
    of: Literal["time", "noise-level"] = "time"

    @model_validator(mode="after")
    def _in_order(self) -> TimeEmbedding:
        if self.slowest > self.fastest:
            raise ValueError(
                f"slowest = {self.slowest:g} is above fastest = {self.fastest:g}; exchange the two"
            )
        return self
