"""Cohere's Command R (2024) and R7B (Cohere 2): mixer and feed-forward of one layer norm without bias,
interleaved rotary positions, scaled logits; in Cohere 2 windows, and no positions where a layer has none."""

from __future__ import annotations

from typing import Any

from danlu.interop.families.llama_like import (
    ATTENTION_BIAS,
    Turning,
    attention,
    by_head,
    layered,
    like_llama,
    repeated,
    rope_of,
    rotary,
    sizes,
    sliding,
    turning,
    windows_of,
)
from danlu.interop.fields import Custom, Ignored, Only, Reader, refused
from danlu.interop.normal import Normal, get

_NORMS = {"input_layernorm": "mixer_norm"}
_ALWAYS = {"placement": "parallel", "norm.kind": "layer"}
_EPS = ("layer_norm_eps", 1e-5)


class _Legacy(Only):
    """Fields of published files that transformers does not read: what it does must be what they say."""

    def write(self, n: Normal) -> dict[str, Any]:
        return {}


def _logit_scale(config: Reader) -> dict[str, Any]:
    scale = config.take("logit_scale", default=0.0625)
    if scale is None:
        raise refused("logit_scale", scale, ["a number"])
    return {"logit_scale": float(scale)}


LOGIT_SCALE = Custom(_logit_scale, lambda n: {"logit_scale": n["logit_scale"] or 1.0})


def _normed(config: Reader) -> dict[str, Any]:
    """A layer norm of every head's queries and keys, each head with gains of its own."""
    norm = {"norm": "layer", "gain": True, "per_head": True, "eps": config.patch["norm.eps"]}
    return {"mixer.qk_norm": norm if config.take("use_qk_norm", default=False) else None}


def _by_layer(config: Reader) -> dict[str, Any]:
    layers, window = config.patch["layers"], config.take("sliding_window", default=4096)
    every = config.take("sliding_window_pattern", default=4)
    types = config.take("layer_types", default=None) or repeated(every, layers)
    windows = windows_of(config, types, window)
    position = rotary(config, 10000.0, "interleaved")
    return layered(windows, [{"kind": "none"} if window is None else position for window in windows])


def _written(n: Normal) -> dict[str, Any]:
    return {**sliding(n), "rope_parameters": rope_of(turning(n), 10000.0, n["context"])}


COHERE = like_llama(
    "cohere",
    "CohereForCausalLM",
    _ALWAYS,
    (
        *sizes(
            vocabulary=256000,
            context=8192,
            layers=40,
            width=8192,
            hidden=22528,
            heads=64,
            eps=_EPS,
            tied=True,
        ),
        ATTENTION_BIAS,
        LOGIT_SCALE,
        Custom(_normed, lambda n: {"use_qk_norm": get(n, "mixer.qk_norm") is not None}),
        Turning(500000.0, "interleaved"),
        Ignored("model_max_length"),  # a limit of the tokenizer
    ),
    norms=_NORMS,
    mixer=attention(by_head),
)

COHERE2 = like_llama(
    "cohere2",
    "Cohere2ForCausalLM",
    _ALWAYS,
    (
        *sizes(
            vocabulary=256000,
            context=8192,
            layers=40,
            width=8192,
            hidden=22528,
            heads=64,
            eps=_EPS,
            tied=True,
        ),
        ATTENTION_BIAS,
        LOGIT_SCALE,
        Custom(_by_layer, _written),
        _Legacy(
            layer_switch=4,
            order_of_interleaved_layers="local_attn_first",
            position_embedding_type="rope_gptj",
            rotary_pct=1.0,
            use_embedding_sharing=True,
            use_gated_activation=True,
            use_parallel_block=True,
            use_qk_norm=False,
        ),
        Ignored("use_parallel_embedding", "cache_implementation", "model_max_length"),
    ),
    norms=_NORMS,
)
