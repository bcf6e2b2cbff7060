"""Gemma 2 (2024) and the text part of Gemma 3 (2025): norms on both sides of a branch, gains around one, a
scaled embedding, windows; soft-caps (2), norms of queries and keys and two rotary bases (3)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from danlu.interop.families.llama_like import (
    ATTENTION_BIAS,
    FULL,
    SLIDING,
    WHOLE_HEADS,
    layered,
    like_llama,
    position_of,
    qk_norm,
    repeated,
    rope_of,
    rotary,
    sizes,
    sliding,
    turning,
    windows_of,
)
from danlu.interop.fields import Custom, Field, Ignored, Only, Reader, refused
from danlu.interop.normal import Normal, get

_NORMS = {
    "input_layernorm": "mixer_norm",
    "post_attention_layernorm": "mixer_out_norm",
    "pre_feedforward_layernorm": "feed_forward_norm",
    "post_feedforward_layernorm": "feed_forward_out_norm",
}
_ALWAYS = {"placement": "double", "norm.around_one": True}
_BASES = {FULL: 1_000_000.0, SLIDING: 10_000.0}


def _scale(config: Reader) -> dict[str, Any]:
    scalar = config.take("query_pre_attn_scalar", default=256)
    own = config.patch["mixer.head_size"]
    return {"mixer.scale": None if scalar == own else float(scalar) ** -0.5}


def _scalar(n: Normal) -> dict[str, Any]:
    scale = get(n, "mixer.scale")
    return {"query_pre_attn_scalar": get(n, "mixer.head_size") if scale is None else round(scale**-2)}


# The root is rounded to float32 by either program when it meets the float32 embedding.
_EMBEDDING_SCALE = Custom(lambda config: {"embedding_scale": config.patch["width"] ** 0.5}, lambda n: {})


def _alternating(config: Reader) -> dict[str, Any]:
    layers, window = config.patch["layers"], config.take("sliding_window", default=4096)
    types = config.take("layer_types", default=None) or repeated(2, layers)
    return layered(windows_of(config, types, window), [rotary(config, _BASES[SLIDING])] * layers)


def _one_base(n: Normal) -> dict[str, Any]:
    return {**sliding(n), "rope_parameters": rope_of(turning(n), _BASES[SLIDING], n["context"])}


def _two_bases(config: Reader) -> dict[str, Any]:
    layers, window = config.patch["layers"], config.take("sliding_window", default=4096)
    every = config.take("sliding_window_pattern", default=6)
    types = config.take("layer_types", default=None) or repeated(every, layers)
    windows = windows_of(config, types, window)
    positions = _positions(config)
    return layered(windows, [positions[kind] for kind in types])


def _positions(config: Reader) -> dict[str, Mapping[str, Any]]:
    """Of each type of layer, by ``rope_parameters``, or by the older fields, whose ``rope_scaling`` is of the
    layers that see everything."""
    given = config.take("rope_parameters", default=None) or {}
    for name in given:
        if name not in _BASES:
            raise refused("rope_parameters", given, ["one mapping for each of the layer_types"])
    ropes = {kind: dict(given.get(kind) or {}) for kind in _BASES}
    ropes[FULL] |= config.take("rope_scaling", default=None) or {}
    bases = {
        FULL: config.take("rope_theta", default=_BASES[FULL]),
        SLIDING: config.take("rope_local_base_freq", default=_BASES[SLIDING]),
    }
    for kind, rope in ropes.items():
        if not rope.get("truncate", True):  # transformers looks for it in the wrong place here
            raise refused(f"rope_parameters.{kind}.truncate", False, [True])
    context = config.patch["context"]
    return {kind: position_of(rope, bases[kind], "half", context) for kind, rope in ropes.items()}


def _each_base(n: Normal) -> dict[str, Any]:
    ropes = {kind: rope_of(turning(n, kind), base, n["context"]) for kind, base in _BASES.items()}
    return {**sliding(n), "rope_parameters": ropes}


GEMMA2 = like_llama(
    "gemma2",
    "Gemma2ForCausalLM",
    _ALWAYS,
    (
        *sizes(
            vocabulary=256000,
            context=8192,
            layers=26,
            width=2304,
            hidden=9216,
            heads=8,
            kv_heads=4,
            head_size=256,
            activation=("hidden_activation", "gelu_pytorch_tanh"),
            tied=True,
        ),
        WHOLE_HEADS,
        ATTENTION_BIAS,
        _EMBEDDING_SCALE,
        Custom(_scale, _scalar),
        Field("attn_logit_softcapping", "mixer.softcap", 50.0),
        Field("final_logit_softcapping", "softcap", 30.0),
        Only(use_bidirectional_attention=(False, None)),
        Custom(_alternating, _one_base),
        Ignored("hidden_act", "cache_implementation"),  # in published files, and not read
    ),
    norms=_NORMS,
)

GEMMA3 = like_llama(
    "gemma3_text",
    "Gemma3ForCausalLM",
    _ALWAYS,
    (
        *sizes(
            vocabulary=262208,
            context=131072,
            layers=26,
            width=2304,
            hidden=9216,
            heads=8,
            kv_heads=4,
            head_size=256,
            activation=("hidden_activation", "gelu_pytorch_tanh"),
            tied=True,
        ),
        WHOLE_HEADS,
        ATTENTION_BIAS,
        _EMBEDDING_SCALE,
        qk_norm(norm="rms", around_one=True),
        Custom(_scale, _scalar),
        # The scores' soft-cap is in the config, and transformers' code does not apply it.
        Only(attn_logit_softcapping=None, use_bidirectional_attention=(False, None)),
        Field("final_logit_softcapping", "softcap", None),
        Custom(_two_bases, _each_base),
        Ignored("_sliding_window_pattern", "hidden_act", "cache_implementation"),  # not read
    ),
    norms=_NORMS,
)
