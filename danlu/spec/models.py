"""Specifications of assembled networks; built by ``danlu.models``."""

from __future__ import annotations

from typing import Literal

from pydantic import model_validator

from danlu.spec.base import NonNegativeFloat, PositiveFloat, PositiveInt, Probability, Spec
from danlu.spec.feed_forwards import MLP, FeedForward
from danlu.spec.mixers import Attention, Mixer
from danlu.spec.norms import Norm, RMSNorm
from danlu.spec.positions import Position, Rotary


class Init(Spec):
    """Initial weights: normal with standard deviation ``std`` (left out: 1/√fan-in), embeddings
    with ``embedding`` and the readout with ``readout`` (0 starts from the uniform guess).
    ``branch`` scales the last map of every residual branch: ``zero``, ``depth`` (÷√(2·layers),
    GPT-2) or ``same``."""

    std: PositiveFloat | None = None
    embedding: PositiveFloat = 0.02
    readout: NonNegativeFloat | None = None
    branch: Literal["same", "depth", "zero"] = "depth"


class Decoder(Spec):
    """A decoder-only transformer with norms before each branch."""

    kind: Literal["decoder"] = "decoder"
    layers: PositiveInt = 4
    width: PositiveInt = 128
    mixer: Mixer = Attention()
    feed_forward: FeedForward = MLP()
    norm: Norm = RMSNorm()
    position: Position = Rotary()
    embedding_norm: bool = False
    bias: bool = False
    tied: bool = True
    dropout: Probability = 0.0
    softcap: PositiveFloat | None = None
    init: Init = Init()

    @model_validator(mode="after")
    def _shapes(self) -> Decoder:
        heads = self.mixer.heads
        if self.mixer.head_size is None and self.width % heads:
            raise ValueError(
                f"mixer.heads = {heads} does not divide width = {self.width}; choose heads among "
                f"{', '.join(str(d) for d in range(1, min(self.width, 64) + 1) if self.width % d == 0)} "
                "or set mixer.head_size"
            )
        if self.tied and self.init.readout is not None:
            raise ValueError(
                f"init.readout = {self.init.readout} would be drawn over the embedding, since tied = true; "
                "set tied = false, or leave init.readout out"
            )
        head_size = self.mixer.head_size or self.width // heads
        if isinstance(self.position, Rotary) and head_size % 2:
            raise ValueError(
                f"rotary positions turn pairs of dimensions, and a head has {head_size} "
                f"(width = {self.width}, mixer.heads = {heads}); allowed: an even head size"
            )
        return self


Model = Decoder
