"""Specifications of point sets in the plane: endless data whose density is known; made by
``danlu.data.points``."""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal

from pydantic import Field, model_validator

from danlu.spec.base import PositiveFloat, PositiveInt, Spec


class PointSet(Spec):
    """What every point set has. ``held_out``: how many points are kept for evaluation; they come from random
    numbers apart from those of training and are the same for every seed."""

    unit: ClassVar[str] = "point"
    size: ClassVar[int] = 1
    shape: ClassVar[tuple[int]] = (2,)  # numbers in a point
    held_out: PositiveInt = 4096

    @property
    def name(self) -> str:
        """What it is called in a sentence."""
        return f"the points {self.kind}"  # type: ignore[attr-defined]


class EightGaussians(PointSet):
    """``modes`` normal distributions of standard deviation ``sd`` on a circle of ``radius``, with equal
    weights (Lipman et al. 2023 and others use 8). The class of a point is its mode."""

    kind: Literal["eight-gaussians"] = "eight-gaussians"
    modes: Annotated[int, Field(ge=1, le=1000)] = 8
    radius: PositiveFloat = 4.0
    sd: PositiveFloat = 0.3

    @property
    def classes(self) -> int:
        return self.modes


class Moons(PointSet):
    """Two half circles of ``radius`` that reach into each other (scikit-learn's ``make_moons``, centred),
    with normal noise of standard deviation ``sd``. The class is the moon."""

    kind: Literal["moons"] = "moons"
    radius: PositiveFloat = 2.0
    sd: PositiveFloat = 0.1
    classes: ClassVar[int] = 2


class Checkerboard(PointSet):
    """Uniform on every other one of ``squares``² squares with sides of ``side``, centred. The class is the
    square, counted row by row."""

    kind: Literal["checkerboard"] = "checkerboard"
    squares: Annotated[int, Field(ge=2, le=100, multiple_of=2)] = 4
    side: PositiveFloat = 2.0

    @property
    def classes(self) -> int:
        return self.squares**2 // 2


class Spiral(PointSet):
    """``arms`` spirals of ``turns`` turns from the origin to ``radius``, both ∝ √u with u uniform, with
    normal noise of standard deviation ``sd``. The class is the arm."""

    kind: Literal["spiral"] = "spiral"
    arms: Annotated[int, Field(ge=1, le=100)] = 2
    turns: PositiveFloat = 1.5
    radius: PositiveFloat = 4.0
    sd: PositiveFloat = 0.1

    @property
    def classes(self) -> int:
        return self.arms


class Rings(PointSet):
    """Circles around the origin of the ``radii``, each with the same weight, with normal noise of standard
    deviation ``sd``. The class is the ring."""

    kind: Literal["rings"] = "rings"
    radii: Annotated[tuple[PositiveFloat, ...], Field(min_length=1, max_length=100)] = (1.0, 2.0, 3.0, 4.0)
    sd: PositiveFloat = 0.1

    @model_validator(mode="after")
    def _distinct(self) -> Rings:
        if len(set(self.radii)) < len(self.radii):
            raise ValueError(f"radii = {self.radii} names one twice; give each ring its own radius")
        return self

    @property
    def classes(self) -> int:
        return len(self.radii)


Points = EightGaussians | Moons | Checkerboard | Spiral | Rings
