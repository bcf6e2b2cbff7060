"""The base of every specification.

A specification is a frozen pydantic model: typed, validated when it is read, equal when its
fields are equal. Where a part can be swapped, its specifications carry a literal ``kind`` and
form a union; the class that a specification builds takes the same names as keyword arguments
(see ``danlu.nn.registry``).
"""

from __future__ import annotations

from typing import Annotated, Any, ClassVar

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, model_validator

from danlu.spec.schema import accepts, adapt


class Spec(BaseModel):
    """Frozen, strict about unknown keys and about types (no text for a number, no boolean for a
    whole number), and picky about numbers (no NaN, no infinity).

    ``stackable``: whether what it specifies has a batched form, for networks of one graph that are trained
    as one (``danlu.nn.stacked``). A part says so itself; a network with one that does not is trained alone.
    """

    stackable: ClassVar[bool] = False

    model_config = ConfigDict(
        frozen=True,
        strict=True,
        extra="forbid",
        allow_inf_nan=False,
        validate_default=True,
        protected_namespaces=(),
    )

    @model_validator(mode="before")
    @classmethod
    def _as_meant(cls, given: Any) -> Any:
        """``norm: {gain: false}`` keeps the default's kind; ``window: none`` is None; and so on
        (``danlu.spec.schema.adapt``), the same in Python, in YAML and on the command line."""
        if not isinstance(given, dict):
            return given
        meant = {}
        for name, value in given.items():
            if to := accepts(cls).get(name):
                value = adapt(value, to)
                default = getattr(cls.model_fields[name].default, "kind", None)
                if isinstance(value, dict) and len(to.kinds) > 1 and default in to.kinds:
                    value = {"kind": default, **value}
            meant[name] = value
        return meant

    def settings(self) -> dict[str, Any]:
        """The fields but ``kind``: the keyword arguments of the class that this builds."""
        return {name: getattr(self, name) for name in type(self).model_fields if name != "kind"}


def _shorthand(value: Any) -> Any:
    return {"kind": value} if isinstance(value, str) else value


# A union member may be written as its kind alone: `norm: rms` means `norm: {kind: rms}`.
# Use as `Norm = Annotated[RMSNorm | LayerNorm, ByKind, Shorthand]`.
ByKind = Field(discriminator="kind")
Shorthand = BeforeValidator(_shorthand)

MOST = 10**15  # more than anybody counts here, and a product of four such still fits into a float


def _countable(value: int) -> int:
    if value > MOST:
        raise ValueError(f"{value:.3g} is too large; allowed: at most {MOST:.0e}")
    return value


PositiveInt = Annotated[int, Field(gt=0), AfterValidator(_countable)]
Fraction = Annotated[float, Field(ge=0, le=1)]
Probability = Annotated[float, Field(ge=0, lt=1)]
PositiveFloat = Annotated[float, Field(gt=0)]
NonNegativeFloat = Annotated[float, Field(ge=0)]
