"""Specifications of positions; built by ``danlu.nn.positions``.

``acts_on`` says where one enters: the ``embedding`` (a vector is added), the ``heads`` (queries and
keys are turned), the ``scores`` (a number is added to each), or nothing.
"""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal

from pydantic import Field, model_validator

from danlu.spec.base import ByKind, NonNegativeFloat, PositiveFloat, PositiveInt, Shorthand, Spec
from danlu.spec.families import Family

ActsOn = Literal["embedding", "heads", "scores", "nothing"]


class Interpolation(Spec):
    """Positions divided by ``factor`` (Chen et al. 2023)."""

    stackable: ClassVar[bool] = True
    kind: Literal["linear"] = "linear"
    factor: PositiveFloat = 4.0


class NTK(Spec):
    """The base raised to base · factor^(d/(d−2)) (bloc97 2023, "NTK-aware")."""

    stackable: ClassVar[bool] = True
    kind: Literal["ntk"] = "ntk"
    factor: PositiveFloat = 4.0


class YaRN(Spec):
    """YaRN (Peng et al. 2023): fast pairs kept, slow ones divided by ``factor``, a ramp between those that
    turn ``fast`` and ``slow`` times over the ``original`` context; cosines and sines are multiplied by
    ``attention`` (left out: 0.1 ln factor + 1). ``whole`` rounds the ends of the ramp to whole pairs."""

    stackable: ClassVar[bool] = True
    kind: Literal["yarn"] = "yarn"
    factor: PositiveFloat = 4.0
    original: PositiveInt = 128
    fast: PositiveFloat = 32.0
    slow: PositiveFloat = 1.0
    attention: PositiveFloat | None = None
    whole: bool = True

    @model_validator(mode="after")
    def _ramp(self) -> YaRN:
        _slow_below_fast(self.slow, self.fast)
        return self


class Llama3(Spec):
    """Llama 3's scaling: waves longer than original/``slow`` divided by ``factor``, those shorter than
    original/``fast`` kept, blended between."""

    stackable: ClassVar[bool] = True
    kind: Literal["llama3"] = "llama3"
    factor: PositiveFloat = 8.0
    original: PositiveInt = 8192
    slow: PositiveFloat = 1.0
    fast: PositiveFloat = 4.0

    @model_validator(mode="after")
    def _blend(self) -> Llama3:
        _slow_below_fast(self.slow, self.fast)
        return self


def _slow_below_fast(slow: float, fast: float) -> None:
    if not slow < fast:
        raise ValueError(f"slow = {slow} is not below fast = {fast}, and the ramp is between them")


Scaling = Annotated[Interpolation | NTK | YaRN | Llama3, ByKind, Shorthand]


class Rotary(Spec):
    """Rotary positions (Su et al. 2021, eq. 34), applied to queries and keys.

    ``layout`` is the pairing of dimensions: ``half`` pairs i with i + d/2 (LLaMA, NeoX),
    ``interleaved`` pairs 2i with 2i + 1 (GPT-J). ``fraction`` of each head turns (rounded down to an even
    number of dimensions, the first ones); ``scaling`` stretches the angles to a longer context.
    """

    stackable: ClassVar[bool] = True
    acts_on: ClassVar[ActsOn] = "heads"
    kind: Literal["rotary"] = "rotary"
    base: PositiveFloat = 10000.0
    layout: Literal["half", "interleaved"] = "half"
    fraction: Annotated[float, Field(gt=0, le=1)] = 1.0
    scaling: Scaling | None = None

    @model_validator(mode="after")
    def _falling(self) -> Rotary:
        if isinstance(self.scaling, YaRN) and self.base <= 1:
            raise ValueError(
                f"base = {self.base} gives no slow pairs for scaling.kind = yarn; allowed: more than 1"
            )
        return self


class ReRotary(Spec):
    """Rectified rotary positions (Su 2023): the distance turned by is min(i − j, ``window``)."""

    stackable: ClassVar[bool] = True
    acts_on: ClassVar[ActsOn] = "scores"
    kind: Literal["rerope"] = "rerope"
    base: PositiveFloat = 10000.0
    window: PositiveInt = 64


class Learned(Spec):
    """A learned vector for every position, added to the embedding (GPT-2).

    ``length`` is the number of positions; left out, it is ``data.context``. ``offset`` rows stand unused
    before the first (OPT: 2).
    """

    stackable: ClassVar[bool] = True
    acts_on: ClassVar[ActsOn] = "embedding"
    kind: Literal["learned"] = "learned"
    length: PositiveInt | None = None
    offset: Annotated[int, Field(ge=0)] = 0


class Sinusoidal(Spec):
    """Sines and cosines of every position, added to the embedding (Vaswani et al. 2017, section 3.5).

    ``layout``: ``interleaved`` sin, cos, sin, cos, … (the paper) or ``half``, all sines first.
    ``scale`` multiplies them."""

    stackable: ClassVar[bool] = True
    acts_on: ClassVar[ActsOn] = "embedding"
    kind: Literal["sinusoidal"] = "sinusoidal"
    base: PositiveFloat = 10000.0
    layout: Literal["half", "interleaved"] = "interleaved"
    scale: PositiveFloat = 1.0


class Relative(Spec):
    """Learned vectors of relative position, clipped at ``distance``, whose product with the query is added
    to its scores (Shaw et al. 2018, eq. 4, keys only)."""

    stackable: ClassVar[bool] = True
    acts_on: ClassVar[ActsOn] = "scores"
    kind: Literal["relative"] = "relative"
    distance: PositiveInt = 16


class T5Buckets(Spec):
    """A learned number for each bucket of distances and head (Raffel et al. 2020, section 2.1): half of the
    buckets exact, half logarithmic up to ``distance``; one table for all layers if ``shared``."""

    stackable: ClassVar[bool] = True
    acts_on: ClassVar[ActsOn] = "scores"
    kind: Literal["t5"] = "t5"
    buckets: Annotated[int, Field(ge=4, multiple_of=4)] = 32
    distance: PositiveInt = 128
    shared: bool = True

    @model_validator(mode="after")
    def _beyond_the_exact(self) -> T5Buckets:
        if self.distance <= self.buckets // 2:
            raise ValueError(
                f"distance = {self.distance} leaves nothing to the logarithmic half of buckets = "
                f"{self.buckets}; allowed: more than {self.buckets // 2}"
            )
        return self


class ALiBi(Spec):
    """−m·(i − j) added to the scores, m = 2^(−8h/H) for head h of H (Press et al. 2022), times ``scale``
    (Falcon: 1/√(head size))."""

    stackable: ClassVar[bool] = True
    acts_on: ClassVar[ActsOn] = "scores"
    kind: Literal["alibi"] = "alibi"
    scale: PositiveFloat = 1.0


class Kerple(Spec):
    """A learned conditionally positive definite kernel of the distance (Chi et al. 2022): ``log``,
    −r₁ ln(1 + r₂ d), or ``power``, −r₁ d^r₂, for each head."""

    stackable: ClassVar[bool] = True
    acts_on: ClassVar[ActsOn] = "scores"
    kind: Literal["kerple"] = "kerple"
    form: Literal["log", "power"] = "log"


class Sandwich(Spec):
    """The product of the sinusoids of both positions, which depends on their distance alone, added to the
    scores (Chi et al. 2023): vectors of ``size`` numbers, times ``weight`` · H/(8h) for head h of H."""

    stackable: ClassVar[bool] = True
    acts_on: ClassVar[ActsOn] = "scores"
    kind: Literal["sandwich"] = "sandwich"
    size: Annotated[int, Field(ge=2, multiple_of=2)] = 128
    weight: NonNegativeFloat = 1.0


class NoPosition(Spec):
    """No positions: a causal mask alone tells order (NoPE, Kazemnejad et al. 2023)."""

    stackable: ClassVar[bool] = True
    acts_on: ClassVar[ActsOn] = "nothing"
    kind: Literal["none"] = "none"


class OwnPosition(Spec):
    """What the specifications of own positions are made on."""

    acts_on: ClassVar[ActsOn]


POSITION = Family(
    "position",
    {"embedding": ("width", "context"), "heads": ("size",), "scores": ("heads", "size"), "nothing": ()},
    base=OwnPosition,
    place="model.position",
)
Position = Annotated[
    Rotary | ReRotary | Learned | Sinusoidal | Relative | T5Buckets | ALiBi | Kerple | Sandwich | NoPosition,
    POSITION,
]
