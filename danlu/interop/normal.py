"""The normal form of a model's specification: nothing left to defaults, equal where the models are.

``hidden = none`` and ``hidden = 512`` of a width of 128 are the same model. Before a specification is
written as another program's configuration, or two are compared, everything that is left out is filled in.
No torch here.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from danlu import spec
from danlu.spec.overrides import leaves

# A nested mapping of the fields of a specification, with `vocabulary` and `context` beside them. Where all
# layers are equal `pattern` is None; else it lists mixer, position and feed_forward of every layer, and
# those at the top are the first layer's.
Normal = dict[str, Any]

# What training starts from or does, not what the trained model is.
_NOT_THE_MODEL = {"init", "dropout"}


def normal(model: spec.Network, vocabulary: int, context: int) -> Normal:
    """The normal form. ``dropout`` stays for the writer; ``differences`` does not look at it."""
    whole: Normal = model.model_dump(exclude={"init", "pattern", "bias"})
    layers = [_layer(model, parts, context) for parts in model.parts()]
    whole |= layers[0]
    whole["pattern"] = None if all(layer == layers[0] for layer in layers) else layers
    if isinstance(model, spec.EncoderDecoder):
        whole["encoder_layers"] = model.encoder_layers or model.layers
    # Beside the layers' maps, cross-attention, transform and latent attention ask for it.
    latent = any(part["mixer"]["kind"] == "latent" for part in layers)
    asked = whole["kind"] == "encoder-decoder" or whole.get("transform") is not None or latent
    everywhere = all(
        part["mixer"].get("biases") == "all" and part["feed_forward"]["biases"] for part in layers
    )
    whole["bias"] = model.bias if asked else everywhere
    if model.base_width is not None and not model.readout_bias:  # muP is a scale of the logits by then
        whole["base_width"] = None
        whole["logit_scale"] = (model.logit_scale or 1) * model.base_width / model.width
    for name in ("embedding_scale", "logit_scale"):
        if whole[name] == 1:
            whole[name] = None
    return {"vocabulary": vocabulary, "context": context, **whole}


def _layer(model: spec.Network, parts: spec.Parts, context: int) -> dict[str, Any]:
    mixer, position, feed = (part.model_dump() for part in parts)
    size = mixer.get("head_size") or model.width // mixer.get("heads", 1)
    if mixer["kind"] == "attention":
        mixer["head_size"] = size
        mixer["kv_heads"] = mixer["kv_heads"] or mixer["heads"]
        mixer["biases"] = mixer["biases"] or ("all" if model.bias else "none")
        mixer["scale"] = _unless(mixer["scale"], size**-0.5)
    elif mixer["kind"] == "latent":
        mixer["head_size"], mixer["value_size"] = size, mixer["value_size"] or model.width // mixer["heads"]
        mixer["scale"] = _unless(mixer["scale"], (size + mixer["rotary_size"]) ** -0.5)
    if position["kind"] == "learned":
        position["length"] = position["length"] or context
    if position["kind"] == "rotary":
        turned = int(size * position["fraction"]) // 2 * 2
        position["fraction"] = turned / size if position["fraction"] < 1 else 1.0
    feed["hidden"] = feed["hidden"] or _hidden(feed, model.width)
    feed["biases"] = model.bias if feed["biases"] is None else feed["biases"]
    feed.pop("multiple", None)  # only says what hidden is
    return {"mixer": mixer, "position": position, "feed_forward": feed}


def _hidden(feed: Mapping[str, Any], width: int) -> int:
    if feed["kind"] == "mlp":
        return 4 * width
    multiple = int(feed["multiple"])
    return math.ceil(width * 8 / 3 / multiple) * multiple


def _unless(value: float | None, default: float) -> float | None:
    return None if value is None or math.isclose(value, default, rel_tol=1e-12) else value


def get(n: Normal, name: str) -> Any:
    """The value at a dotted name; None where the parts in place have no such field."""
    value: Any = n
    for part in name.split("."):
        value = value.get(part) if isinstance(value, Mapping) else None
    return value


def layer(n: Normal, i: int) -> Normal:
    """The normal form with the parts of layer ``i`` at the top."""
    return n if n["pattern"] is None else n | n["pattern"][i]


def differences(a: Normal, b: Normal) -> dict[str, tuple[Any, Any]]:
    """``{field: (in a, in b)}`` for all that makes another model."""
    left, right = _leaves(a), _leaves(b)
    names = dict.fromkeys([*left, *right])
    missing = object()
    return {
        name: (left.get(name), right.get(name))
        for name in names
        if left.get(name, missing) != right.get(name, missing)
    }


def _leaves(n: Normal) -> dict[str, Any]:
    found = leaves({name: value for name, value in n.items() if name not in _NOT_THE_MODEL})
    layers = found.pop("pattern", None)
    if layers is None:
        return {**found, "pattern": None}
    opened = {f"layer {i}.{name}": v for i, parts in enumerate(layers) for name, v in leaves(parts).items()}
    return {name: v for name, v in found.items() if name.split(".")[0] not in layers[0]} | opened
