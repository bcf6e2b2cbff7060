"""What every network's specification has."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar, Literal

from danlu.spec.base import NonNegativeFloat, PositiveFloat, Spec

if TYPE_CHECKING:
    from danlu.spec.models import Parts


class Init(Spec):
    """Initial weights: normal with standard deviation ``std`` (left out: 1/√fan-in), embeddings
    with ``embedding`` and the readout with ``readout`` (0 starts from the uniform guess).
    ``branch`` scales the last map of every residual branch: ``zero``, ``depth`` (÷√(2·layers),
    GPT-2) or ``same``."""

    stackable: ClassVar[bool] = True
    std: PositiveFloat | None = None
    embedding: PositiveFloat = 0.02
    readout: NonNegativeFloat | None = None
    branch: Literal["same", "depth", "zero"] = "depth"


class Architecture(Spec):
    """The base of all networks. ``takes_class``: whether a class can be a condition of it."""

    kind: str

    takes_class: ClassVar[bool] = False

    def turn(self) -> list[Parts]:
        """The parts of the layers of one turn of the pattern; none where layers have no parts to choose."""
        return []

    def used(self) -> list[Parts]:
        """``turn``, what its layers have no use for left out."""
        return self.turn()

    def check_shape(self, shape: tuple[int, ...]) -> None:
        """Raises ValueError where data of this shape (of an image: channels, height, width) does not fit."""
