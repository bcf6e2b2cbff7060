"""Where the shape of a model stands among known ones. No advice without a model that was trained with it."""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import cache
from importlib import resources
from statistics import median
from typing import Any, Literal

from danlu.files.yaml import read_mapping
from danlu.spec.attention import Attention
from danlu.spec.base import PositiveInt, Spec
from danlu.spec.feed_forwards import GLU, MLP
from danlu.spec.mixers import LatentAttention, VQAttention
from danlu.spec.models import Network

HEADED = Attention | LatentAttention | VQAttention


class Shape(Spec):
    """A model by its sizes. ``layers`` are those of one stack; ``gated``: whether the feed-forward layer has
    three matrices; ``tied``: whether the readout is the embedding; ``parameters`` and ``source`` of a
    published one (an arXiv number, or a configuration on the Hugging Face hub); ``experts``: whether
    feed-forward layers are mixtures, whose parameters are not told by ``hidden``."""

    name: str
    kind: Literal["decoder", "encoder", "encoder-decoder"] = "decoder"
    year: PositiveInt | None = None
    parameters: PositiveInt | None = None
    layers: PositiveInt
    width: PositiveInt
    heads: PositiveInt | None = None
    head_size: PositiveInt | None = None
    kv_heads: PositiveInt | None = None
    hidden: PositiveInt | None
    gated: bool
    vocabulary: PositiveInt
    tied: bool
    experts: bool = False
    source: str = ""

    @property
    def feed_forward(self) -> float | None:
        """Inner width over width; 1.5 times that for a gated layer, which has three matrices for two; None
        of an own layer without ``hidden``."""
        return self.hidden and self.hidden / self.width * (1.5 if self.gated else 1)

    @property
    def heads_over_width(self) -> float | None:
        """heads · head size over width; None without heads."""
        if self.heads is None or self.head_size is None:
            return None
        return self.heads * self.head_size / self.width

    @property
    def aspect(self) -> float:
        """Width over layers."""
        return self.width / self.layers

    def estimate(self) -> int:
        """The parameters of the matrices and embeddings; biases, norms, positions left out."""
        heads, size = self.heads or 0, self.head_size or 0
        attention = 2 * self.width * size * (heads + (self.kv_heads or heads))
        feed_forward = (3 if self.gated else 2) * self.width * (self.hidden or 0)
        both = self.kind == "encoder-decoder"
        layer = 3 * attention + 2 * feed_forward if both else attention + feed_forward
        return self.layers * layer + self.vocabulary * self.width * (1 if self.tied else 2)


# What is compared: how it is called, and the number.
RATIOS: dict[str, Callable[[Shape], float | None]] = {
    "feed-forward over width": lambda shape: shape.feed_forward,
    "heads × size over width": lambda shape: shape.heads_over_width,
    "width over layers": lambda shape: shape.aspect,
    "head size": lambda shape: shape.head_size,
    "vocabulary": lambda shape: shape.vocabulary,
}


@cache
def known() -> tuple[Shape, ...]:
    """The published models of the catalog."""
    found = read_mapping(resources.files("danlu") / "catalog" / "shapes.yaml", "the table of shapes")
    return tuple(Shape.model_validate(row) for row in found["models"])


def shape_of(model: Network, vocabulary: int) -> Shape:
    """The shape of a model. Where layers differ it is that of the first that has heads."""
    parts = model.parts()
    one = next((p for p in parts if isinstance(p.mixer, HEADED)), parts[0])
    mixer, layer, width = one.mixer, one.feed_forward, model.width
    heads = size = kv_heads = None
    if isinstance(mixer, HEADED):
        own = mixer.key_size if isinstance(mixer, VQAttention) else mixer.head_size
        heads, size = mixer.heads, own or width // mixer.heads
        kv_heads = heads if isinstance(mixer, VQAttention | LatentAttention) else mixer.kv_heads or heads
    gated = isinstance(layer, GLU)
    hidden = layer.inner(width) if isinstance(layer, MLP | GLU) else getattr(layer, "hidden", None)
    return Shape(
        name="this one",
        kind=model.kind,  # type: ignore[arg-type]
        layers=model.layers,
        width=width,
        heads=heads,
        head_size=size,
        kv_heads=kv_heads,
        hidden=hidden,
        gated=gated,
        vocabulary=vocabulary,
        tied=model.tied,
    )


def nearest(shape: Shape, count: int = 2) -> list[Shape]:
    """The known models nearest in shape: in the logarithms of all ratios but the vocabulary, which is of the
    text more than of the model. Of those equally near, the same kind and the nearest vocabulary go first."""

    def distance(other: Shape) -> tuple[float, bool, float]:
        pairs = [(of(shape), of(other)) for name, of in RATIOS.items() if name != "vocabulary"]
        apart = math.hypot(*(math.log(a / b) for a, b in pairs if a is not None and b is not None))
        words = abs(math.log(shape.vocabulary / other.vocabulary))
        return round(apart, 6), shape.kind != other.kind, words

    return sorted(known(), key=distance)[:count]


def advice(model: Network, vocabulary: int) -> dict[str, Any]:
    """Where a model stands: ``ratios``, for each its ``value``, ``lowest``, ``median`` and ``highest`` of the
    known models, and how many of them are ``below`` and ``above``; ``known``, how many there are; the
    ``nearest`` two; ``warnings``, sentences on sizes that GPUs are slower with."""
    shape = shape_of(model, vocabulary)
    ratios = {}
    for name, of in RATIOS.items():
        value = of(shape)
        if value is None:
            continue
        others = [other for other in map(of, known()) if other is not None]
        ratios[name] = {
            "value": value,
            "lowest": min(others),
            "median": median(others),
            "highest": max(others),
            "below": sum(other < value for other in others),
            "above": sum(other > value for other in others),
        }
    near = [one.model_dump(include={"name", "year", "parameters", "layers", "width", "heads", "head_size",
                                    "hidden", "gated", "source"}) for one in nearest(shape)]  # fmt: skip
    return {"ratios": ratios, "known": len(known()), "nearest": near, "warnings": warnings(shape)}


def warnings(shape: Shape) -> list[str]:
    """Sizes that matrix units and fused kernels of GPUs are slower with (NVIDIA, Matrix Multiplication
    Background User's Guide: rows of multiples of 16 bytes; 128 bytes on the A100 and later)."""
    found = []
    if shape.head_size is not None and shape.head_size % 8:
        found.append(
            f"a head of {shape.head_size} is no multiple of 8: fused attention on GPUs pads it or refuses it"
        )
    elif shape.head_size is not None and 64 <= shape.head_size < 128 <= shape.width // 4:
        found.append(
            f"a head of {shape.head_size}: on H100 and H200 fused attention is faster with heads of 128 "
            "(FlashAttention-3, arXiv:2407.08608, figure 5); whether they learn as well is another question"
        )
    if shape.vocabulary % 64:
        more = -shape.vocabulary % 64
        found.append(
            f"a vocabulary of {shape.vocabulary} is no multiple of 64: on GPUs the readout is slower than "
            f"with {shape.vocabulary + more}"
        )
    return found
