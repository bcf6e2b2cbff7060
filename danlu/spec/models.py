"""Specifications of assembled networks; built by ``danlu.models``."""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal, NamedTuple

from pydantic import Field, model_validator

from danlu.spec.architecture import Architecture, Init
from danlu.spec.attention import Attention
from danlu.spec.base import (
    PositiveFloat,
    PositiveInt,
    Probability,
    Spec,
)
from danlu.spec.bottlenecks import Bottleneck
from danlu.spec.compatible import check_layer, check_network
from danlu.spec.feed_forwards import ACTIVATION, MLP, FeedForward
from danlu.spec.mixers import LatentAttention, Mixer, VQAttention, takes_position
from danlu.spec.norms import Norm, RMSNorm
from danlu.spec.positions import Learned, NoPosition, Position, Rotary
from danlu.spec.residuals import Placement, Plain, Residual


class Layer(Spec):
    """What a layer of a ``pattern`` has other than the model: its ``mixer``, or only the ``window`` of it
    (a number, or ``full``), its ``position``, its ``feed_forward``."""

    stackable: ClassVar[bool] = True
    mixer: Mixer | None = None
    window: PositiveInt | Literal["full"] | None = None
    position: Position | None = None
    feed_forward: FeedForward | None = None


class Block(Spec):
    """What ``danlu.nn.Block`` is made of: the fields of ``Network`` that concern a layer, and ``cross``,
    attention to a memory."""

    mixer: Mixer = Attention()
    feed_forward: FeedForward = MLP()
    norm: Norm = RMSNorm()
    position: Position = NoPosition()
    placement: Placement = "pre"
    residual: Residual = Plain()
    bias: bool = False
    dropout: Probability = 0.0
    cross: Attention | None = None


class Parts(NamedTuple):
    """The parts of one layer."""

    mixer: Mixer
    position: Position
    feed_forward: FeedForward


class Network(Architecture):
    """What every transformer has.

    ``pattern``: layers that differ, repeated from the first to the last (``[{window: 64}, {window: 64},
    {window: full, position: none}]``). ``placement`` of the norms and how a branch joins the ``residual``
    stream. ``embedding_width``: of a smaller embedding, projected to the width (ALBERT; OPT-350m);
    ``embedding_scale`` multiplies the embedding (Gemma: √width), ``logit_scale`` the logits (Cohere; T5:
    1/√width); ``softcap`` c bounds them by c·tanh(z/c). ``bias``: of the linear maps; ``readout_bias``: of
    the last. ``dropout``: of the embedding and of each branch.

    ``bottleneck``: what the stream must pass through, without a way around, ``bottleneck_after`` so many
    layers (left out: half of them); in an encoder-decoder it is the encoder's. A norm and a linear map lead
    to it, and a linear map leads back. Its penalty is a mean over positions.

    ``base_width``: maximal-update parametrisation (μP, Yang et al. 2022, table 8) relative to a model of this
    width whose other sizes are smaller in the same proportion: ``optimizer`` and ``init`` are that model's,
    and what is best there stays best at this width.
    """

    layers: Annotated[PositiveInt, Field(le=10_000)] = 4
    width: PositiveInt = 128
    mixer: Mixer = Attention()
    feed_forward: FeedForward = MLP()
    norm: Norm = RMSNorm()
    placement: Placement = "pre"
    residual: Residual = Plain()
    position: Position = Rotary()
    pattern: Annotated[tuple[Layer, ...], Field(min_length=1)] | None = None
    embedding_norm: bool = False
    embedding_width: PositiveInt | None = None
    embedding_scale: PositiveFloat | None = None
    bias: bool = False
    tied: bool = True
    readout_bias: bool = False
    dropout: Probability = 0.0
    softcap: PositiveFloat | None = None
    logit_scale: PositiveFloat | None = None
    init: Init = Init()
    base_width: PositiveInt | None = None
    bottleneck: Bottleneck | None = None
    bottleneck_after: PositiveInt | None = None

    causal: ClassVar[bool] = True

    @property
    def width_multiplier(self) -> float:
        """μP's m: how many times as wide as the base the model is; 1 without ``base_width``."""
        return 1.0 if self.base_width is None else self.width / self.base_width

    @property
    def depth(self) -> int:
        """Layers of the stack that may have a bottleneck."""
        return self.layers

    @property
    def narrow_after(self) -> int:
        """How many layers stand before the bottleneck."""
        return self.bottleneck_after or (self.depth + 1) // 2

    def turn(self) -> list[Parts]:
        """The parts of the layers of one turn of the pattern (of one layer, where there is none)."""
        found = []
        for layer in (self.pattern or (Layer(),))[: self.layers]:
            mixer = layer.mixer or self.mixer
            if layer.window is not None:
                window = None if layer.window == "full" else layer.window
                mixer = mixer.model_copy(update={"window": window})
            mixer = self._scaled(mixer)
            found.append(
                Parts(mixer, layer.position or self.position, layer.feed_forward or self.feed_forward)
            )
        return found

    def _scaled(self, mixer: Mixer) -> Mixer:
        """The mixer with μP's scale of q·k (Yang et al. 2022, definition 4.1): where wider models have larger
        heads and the scale is left out, √base/size in place of 1/√size, for heads of the base's size."""
        if self.base_width is None or not isinstance(mixer, Attention | LatentAttention):
            return mixer
        if mixer.scale is not None or mixer.head_size is not None:
            return mixer
        turned = mixer.rotary_size if isinstance(mixer, LatentAttention) else 0
        size, base = (width / mixer.heads + turned for width in (self.width, self.base_width))
        return mixer.model_copy(update={"scale": base**0.5 / size})

    def parts(self) -> list[Parts]:
        """The parts of each layer, the pattern repeated."""
        turn = self.turn()
        return [turn[i % len(turn)] for i in range(self.layers)]

    def used(self) -> list[Parts]:
        """``turn``, a position left out that its mixer has no use for."""
        return [
            parts._replace(position=NoPosition())
            if not takes_position(parts.mixer) and parts.position.acts_on != "embedding"
            else parts
            for parts in self.turn()
        ]

    @model_validator(mode="after")
    def _fits(self) -> Network:
        for i, layer in enumerate(self.pattern or ()):
            mixer = layer.mixer or self.mixer
            if layer.window is not None and not isinstance(mixer, Attention):
                raise ValueError(
                    f"pattern.{i}.window = {layer.window} is of kind attention, and this layer's mixer is "
                    f"{mixer.kind}; leave the window out, or give the layer its own mixer"
                )
            sparse = getattr(mixer, "sparse", None)
            if sparse is not None and layer.window not in (None, "full"):
                raise ValueError(
                    f"pattern.{i}.window = {layer.window} and mixer.sparse.kind = {sparse.kind} are two "
                    "patterns for one layer; set one of them to none"
                )
        for parts in dict.fromkeys(self.turn()):
            check_layer(self.width, parts, causal=self.causal)
            if self.base_width is not None and isinstance(parts.mixer, VQAttention):
                raise ValueError(
                    f"base_width = {self.base_width} has no rule for the code words of mixer.kind = vq; "
                    "leave base_width out, or use another mixer"
                )
        check_network(self)
        return self


class Decoder(Network):
    """A decoder-only transformer: each position sees those before it."""

    stackable: ClassVar[bool] = True
    kind: Literal["decoder"] = "decoder"


class Encoder(Network):
    """An encoder-only transformer (BERT, Devlin et al. 2019): every position sees every other.

    ``segments``: kinds of token told apart by an embedding of their own (BERT: 2). ``transform``: a linear
    map, this activation and a norm before the readout (BERT's head)."""

    kind: Literal["encoder"] = "encoder"
    segments: Annotated[int, Field(ge=0)] = 0
    transform: Annotated[Literal["relu", "gelu", "gelu-tanh", "silu"], ACTIVATION] | None = None

    causal: ClassVar[bool] = False


class EncoderDecoder(Network):
    """An encoder and a decoder that attends to it (Vaswani et al. 2017; T5, Raffel et al. 2020) on one
    embedding; ``layers`` is the decoder's depth, ``encoder_layers`` the encoder's (left out: the same)."""

    kind: Literal["encoder-decoder"] = "encoder-decoder"
    encoder_layers: Annotated[PositiveInt, Field(le=10_000)] | None = None

    @property
    def depth(self) -> int:
        return self.encoder_layers or self.layers


class Patches(Network):
    """A transformer on the patches of an image, ``patch`` pixels wide and high (Dosovitskiy et al. 2021,
    without a class token): every patch sees every other, and the mean of their stream is read. With one patch
    as large as the image and ``mixer: none`` it is an MLP."""

    kind: Literal["patches"] = "patches"
    patch: PositiveInt = 2
    tied: bool = False
    position: Position = Learned()

    causal: ClassVar[bool] = False

    def check_shape(self, shape: tuple[int, ...]) -> None:
        """Raises ValueError where images (channels, height, width) cannot be cut into patches. A point is an
        image of one pixel."""
        height, width = shape[1:] if len(shape) == 3 else (1, 1)
        if height % self.patch or width % self.patch:
            sizes = ", ".join(str(n) for n in range(1, height + 1) if not (height % n or width % n))
            raise ValueError(
                f"model.patch = {self.patch} does not divide an image of {height} × {width} pixels; "
                f"allowed: {sizes}"
            )

    @model_validator(mode="after")
    def _ends(self) -> Patches:
        if self.tied:
            raise ValueError("tied = true, and what embeds pixels cannot read classes; set tied = false")
        if self.embedding_width is not None:
            raise ValueError(
                f"embedding_width = {self.embedding_width} is of an embedding of tokens; leave it out"
            )
        return self
