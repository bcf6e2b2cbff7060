"""Specifications of signals: functions of coordinates that a network is fitted to, known on a grid; made by
``danlu.data.coordinates``."""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal

from pydantic import AfterValidator, Field

from danlu.spec.base import PositiveFloat, Spec

CROP = 256  # pixels of a photograph that are used, each way


def _divides_the_crop(size: int) -> int:
    if CROP % size:
        raise ValueError(f"{size} does not divide the {CROP} pixels of the crop; allowed: powers of 2")
    return size


class Signal(Spec):
    """What every signal has: it is seen at the points of its grid with even places, and held out at all
    others."""

    unit: ClassVar[str] = "point"
    size: ClassVar[int] = 1

    @property
    def name(self) -> str:
        """What it is called in a sentence."""
        return f"the signal {self.kind}"  # type: ignore[attr-defined]


class Photograph(Signal):
    """A photograph that comes with scikit-learn (``pip install 'danlu[images]'``): 256 × 256 pixels of it,
    averaged to ``pixels`` × ``pixels``; red, green and blue from 0 to 1."""

    kind: Literal["photograph"] = "photograph"
    of: Literal["china", "flower"] = "china"
    pixels: Annotated[int, Field(ge=4), AfterValidator(_divides_the_crop)] = 64

    inputs: ClassVar[int] = 2
    outputs: ClassVar[int] = 3
    range: ClassVar[tuple[float, float]] = 0.0, 1.0  # that values are in


class Picture(Signal):
    """A picture of your own, a PNG or JPEG ``file`` (Pillow: ``pip install 'danlu[images]'``): its middle
    square, averaged to ``pixels`` × ``pixels``; red, green and blue from 0 to 1."""

    kind: Literal["picture"] = "picture"
    file: str
    pixels: Annotated[int, Field(ge=4, le=4096)] = 64

    inputs: ClassVar[int] = 2
    outputs: ClassVar[int] = 3
    range: ClassVar[tuple[float, float]] = 0.0, 1.0

    @property
    def name(self) -> str:
        """What it is called in a sentence."""
        return f"the picture {self.file}"


class Chirp(Signal):
    """sin φ(x) for x from −1 to 1, whose frequency rises from ``low`` to ``high`` periods over the interval
    (at that rate, each), at ``points`` points."""

    kind: Literal["chirp"] = "chirp"
    low: PositiveFloat = 2.0
    high: PositiveFloat = 40.0
    points: Annotated[int, Field(ge=4, le=10**7)] = 1024

    inputs: ClassVar[int] = 1
    outputs: ClassVar[int] = 1
    range: ClassVar[tuple[float, float]] = -1.0, 1.0


class SignedDistance(Signal):
    """The distance from a curve in the plane, negative inside, over [−1, 1]² at ``pixels`` × ``pixels``
    points: a ``circle`` of radius ½, a ``box`` with sides of 1, or a ``ring`` from ⅓ to ⅔. Its gradient has
    norm 1 wherever it has one."""

    kind: Literal["signed-distance"] = "signed-distance"
    of: Literal["circle", "box", "ring"] = "box"
    pixels: Annotated[int, Field(ge=4, le=4096)] = 64

    inputs: ClassVar[int] = 2
    outputs: ClassVar[int] = 1
    range: ClassVar[tuple[float, float]] = -1.0, 1.0


Signals = Photograph | Picture | Chirp | SignedDistance
