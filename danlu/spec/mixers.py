"""Specifications of mixers (what moves information between positions); built by ``danlu.nn``."""

from __future__ import annotations

import inspect
from typing import Annotated, ClassVar, Literal

from pydantic import Field, model_validator

from danlu.spec.attention import Attention
from danlu.spec.base import Fraction, NonNegativeFloat, PositiveFloat, PositiveInt, Spec
from danlu.spec.families import Family, own_of


class LatentAttention(Spec):
    """Multi-head latent attention (DeepSeek-V2 2024, section 2.1): keys and values of all heads are made of
    one latent vector of ``latent`` numbers a position, the only thing cached beside ``rotary_size`` shared
    rotated numbers.

    ``head_size``: of a query's part without position; ``value_size`` of a value (left out: both
    width/heads). ``query_latent``: queries through a latent of their own. ``scale`` multiplies q·k; left
    out, 1/√(head_size + rotary_size). Decoding absorbs the up-projections into queries and outputs.
    """

    stackable: ClassVar[bool] = True
    kind: Literal["latent"] = "latent"
    heads: PositiveInt = 4
    head_size: PositiveInt | None = None
    value_size: PositiveInt | None = None
    latent: PositiveInt = 32
    query_latent: PositiveInt | None = None
    rotary_size: Annotated[int, Field(ge=2, multiple_of=2)] = 16
    scale: PositiveFloat | None = None
    eps: PositiveFloat = 1e-6


class VQAttention(Spec):
    """Transformer-VQ (Lingle 2023): attention over keys quantised to ``codes`` code words, in linear time.

    ``block``: positions of a block; the present and the previous block are attended to position by
    position, everything before through the code words. ``key_size`` and ``value_size`` of a head (left
    out: width/heads). ``decay``: of the moving averages that are the code words; ``commitment``: weight
    of the loss that draws keys to them.
    """

    kind: Literal["vq"] = "vq"
    heads: PositiveInt = 1
    codes: PositiveInt = 64
    key_size: PositiveInt | None = None
    value_size: PositiveInt | None = None
    block: PositiveInt = 32
    decay: Fraction = 0.99
    commitment: NonNegativeFloat = 1e-4


class LRU(Spec):
    """Linear recurrent unit (Orvieto et al. 2023): h = λ⊙h + γ⊙Bx over ``state`` complex numbers (left out:
    the width), eigenvalues drawn from the ring ``r_min`` ≤ |λ| ≤ ``r_max`` with phases up to ``max_phase``;
    then GELU and a gate (GLU)."""

    kind: Literal["lru"] = "lru"
    state: PositiveInt | None = None
    r_min: Fraction = 0.9
    r_max: Fraction = 0.999
    max_phase: PositiveFloat = 6.28

    @model_validator(mode="after")
    def _ring(self) -> LRU:
        if not self.r_min < self.r_max < 1:
            raise ValueError(
                f"r_min = {self.r_min} and r_max = {self.r_max} do not make a ring inside the unit circle; "
                "allowed: r_min below r_max below 1"
            )
        return self


class NoMixer(Spec):
    """No mixing of positions: a block is its feed-forward layer alone, and the network an MLP at every
    position."""

    stackable: ClassVar[bool] = True
    kind: Literal["none"] = "none"


class OwnMixer(Spec):
    """What the specifications of own mixers are made on."""

    kind: str

    @property
    def reads_mask(self) -> bool:
        """Whether it keeps to what a position may see: its ``mix`` or its ``forward`` takes a ``mask``. One
        that does not runs from left to right, whatever it is asked."""
        own = own_of(type(self))
        assert own is not None
        runs = (getattr(own.makes, name, None) for name in ("mix", "forward"))
        theirs = [run for run in runs if run is not None and run.__module__ != "danlu.nn.contracts"]
        return any("mask" in inspect.signature(run).parameters for run in theirs)


def takes_position(mixer: Spec) -> bool:
    """Whether positions that act on heads or scores have a place in a mixer."""
    own = own_of(type(mixer))
    return not isinstance(mixer, LRU | NoMixer) if own is None else "position" in own.context


def runs_in_order(mixer: Spec) -> bool:
    """Whether a mixer carries what it read from left to right, across whatever separates documents."""
    return isinstance(mixer, VQAttention | LRU) or (isinstance(mixer, OwnMixer) and not mixer.reads_mask)


MIXER = Family("mixer", ("width", "position", "bias"), base=OwnMixer, place="model.mixer")
Mixer = Annotated[Attention | LatentAttention | VQAttention | LRU | NoMixer, MIXER]
