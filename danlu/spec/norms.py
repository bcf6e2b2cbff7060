"""Specifications of normalisations y = a·(x − μ)/σ + b; built by ``danlu.nn.norms``.

They differ in what μ and σ are taken over: ``rms`` and ``layer`` over the features of one position,
``group`` over groups of its features, ``instance`` over the positions of one sequence, ``batch`` over
the positions of all sequences; ``batch-renorm`` is ``batch`` brought close to its own evaluation.
"""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal, TypeVar

from pydantic import Field, model_validator

from danlu.spec.base import Fraction, NonNegativeFloat, PositiveFloat, PositiveInt, Spec
from danlu.spec.families import Family

Count = Annotated[int, Field(ge=0)]
Gained = TypeVar("Gained", "RMSNorm", "LayerNorm")


def _with_gain(norm: Gained) -> Gained:
    if norm.around_one and not norm.gain:
        raise ValueError("around_one = true is about the gain, and gain = false; set gain = true")
    return norm


class RMSNorm(Spec):
    """Root-mean-square norm: μ = 0, σ² = mean x² (Zhang & Sennrich 2019, eq. 4). With ``around_one`` the
    gain is 1 + w (Gemma), so that weight decay draws it to 1."""

    stackable: ClassVar[bool] = True
    across_positions: ClassVar[bool] = False
    kind: Literal["rms"] = "rms"
    eps: PositiveFloat = 1e-5
    gain: bool = True
    around_one: bool = False

    @model_validator(mode="after")
    def _gain(self) -> RMSNorm:
        return _with_gain(self)


class LayerNorm(Spec):
    """Layer norm (Ba, Kiros & Hinton 2016, eq. 4); ``around_one`` as for ``rms``."""

    stackable: ClassVar[bool] = True
    across_positions: ClassVar[bool] = False
    kind: Literal["layer"] = "layer"
    eps: PositiveFloat = 1e-5
    gain: bool = True
    bias: bool = False
    around_one: bool = False

    @model_validator(mode="after")
    def _gain(self) -> LayerNorm:
        return _with_gain(self)


class GroupNorm(Spec):
    """Group norm (Wu & He 2018, eq. 7): the features of a position in ``groups`` groups."""

    stackable: ClassVar[bool] = True
    across_positions: ClassVar[bool] = False
    kind: Literal["group"] = "group"
    groups: PositiveInt = 4
    eps: PositiveFloat = 1e-5
    gain: bool = True
    bias: bool = True


class InstanceNorm(Spec):
    """Instance norm (Ulyanov et al. 2016): each feature over the positions of its sequence."""

    stackable: ClassVar[bool] = True
    across_positions: ClassVar[bool] = True
    kind: Literal["instance"] = "instance"
    eps: PositiveFloat = 1e-5
    gain: bool = True
    bias: bool = True


class BatchNorm(Spec):
    """Batch norm (Ioffe & Szegedy 2015, algorithm 1): each feature over all sequences and positions;
    in evaluation by running averages, in which a new batch weighs ``momentum``.

    ``statistics`` in training: of the ``batch`` of each process alone; ``synchronised``, of all processes
    together; ``frozen``, the running averages, which then stay as they are."""

    across_positions: ClassVar[bool] = True
    kind: Literal["batch"] = "batch"
    eps: PositiveFloat = 1e-5
    momentum: Fraction = 0.1
    statistics: Literal["batch", "synchronised", "frozen"] = "batch"
    gain: bool = True
    bias: bool = True


class BatchRenorm(Spec):
    """Batch renorm (Ioffe 2017, arXiv:1702.03275, algorithm 1): batch norm, then r·x̂ + d with r = σ_B/σ and
    d = (μ_B − μ)/σ of the batch and the running averages, so that training sees what evaluation does. No
    gradient passes through r and d.

    r is kept within [1/``r_max``, ``r_max``] and d within ±``d_max``. Up to update ``begin`` this is batch
    norm; then the bounds widen in equal parts until updates ``r_by`` and ``d_by`` (section 4: 5,000, 40,000
    and 25,000; set them for a shorter run). ``statistics`` and the rest as for ``batch``."""

    across_positions: ClassVar[bool] = True
    kind: Literal["batch-renorm"] = "batch-renorm"
    eps: PositiveFloat = 1e-5
    momentum: Fraction = 0.01
    statistics: Literal["batch", "synchronised"] = "batch"
    gain: bool = True
    bias: bool = True
    r_max: Annotated[float, Field(ge=1)] = 3.0
    d_max: NonNegativeFloat = 5.0
    begin: Count = 5_000
    r_by: Count = 40_000
    d_by: Count = 25_000

    @model_validator(mode="after")
    def _in_order(self) -> BatchRenorm:
        for name, by in (("r_by", self.r_by), ("d_by", self.d_by)):
            if by < self.begin:
                raise ValueError(
                    f"{name} = {by} is before begin = {self.begin}; set it to {self.begin} or more"
                )
        return self


class NoNorm(Spec):
    """No norm: x as it is, as in a network whose batch norms were folded into its linear maps (``danlu export
    --fold``)."""

    stackable: ClassVar[bool] = True
    across_positions: ClassVar[bool] = False
    kind: Literal["none"] = "none"


class OwnNorm(Spec):
    """What the specifications of own norms are made on."""

    across_positions: ClassVar[bool] = False


NORM = Family("norm", ("width",), base=OwnNorm, place="model.norm")
Norm = Annotated[RMSNorm | LayerNorm | GroupNorm | InstanceNorm | BatchNorm | BatchRenorm | NoNorm, NORM]


class FiLM(Spec):
    """Feature-wise linear modulation (Perez et al. 2018, eq. 2): layer norm whose a and b are computed
    from a condition of ``condition`` numbers."""

    kind: Literal["film"] = "film"
    condition: PositiveInt = 16
    eps: PositiveFloat = 1e-5
