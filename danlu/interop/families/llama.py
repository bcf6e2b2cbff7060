"""LLaMA (Touvron et al. 2023), and those that differ from it in little: Mistral's window, Qwen 2's biases and
windows, Qwen 3's norms of queries and keys, OLMo 2's norms after the branches."""

from __future__ import annotations

from typing import Any

from danlu.interop.families.llama_like import (
    ATTENTION_BIAS,
    FULL,
    SLIDING,
    WHOLE_HEADS,
    Turning,
    each,
    inside,
    layered,
    like_llama,
    qk_norm,
    sizes,
    sliding,
    windows_of,
)
from danlu.interop.fields import Custom, Field, Reader, refused
from danlu.interop.normal import Normal, get


def _window(config: Reader) -> dict[str, Any]:
    return {"mixer.window": inside(config, config.take("sliding_window", default=4096))}


def _late_windows(config: Reader) -> dict[str, Any]:
    """Qwen's: from layer ``max_window_layers`` on, if they are switched on, or as ``layer_types`` says."""
    layers = config.patch["layers"]
    on, first = config.take("use_sliding_window", default=False), config.take("max_window_layers", default=28)
    window, types = config.take("sliding_window", default=4096), config.take("layer_types", default=None)
    if types is None:
        late = on and window is not None
        types = [SLIDING if late and i >= first else FULL for i in range(layers)]
    if not on and SLIDING in types:
        raise refused("use_sliding_window", on, [True])
    return layered(windows_of(config, types, window), [config.patch["position"]] * layers)


def _late(n: Normal) -> dict[str, Any]:
    on = any(window is not None for window in each(n, "mixer.window"))
    return {**sliding(n), "use_sliding_window": on, "max_window_layers": n["layers"]}


LLAMA = like_llama(
    "llama",
    "LlamaForCausalLM",
    {},
    (
        *sizes(vocabulary=32000, context=2048, layers=32, width=4096, hidden=11008, heads=32),
        WHOLE_HEADS,
        ATTENTION_BIAS,
        Field("mlp_bias", "feed_forward.biases", False),
        Turning(),
    ),
)

MISTRAL = like_llama(
    "mistral",
    "MistralForCausalLM",
    {},
    (
        *sizes(vocabulary=32000, context=131072, layers=32, width=4096, hidden=14336, heads=32, kv_heads=8),
        Custom(_window, lambda n: {"sliding_window": get(n, "mixer.window")}),
        Turning(),
    ),
)

QWEN2 = like_llama(
    "qwen2",
    "Qwen2ForCausalLM",
    {"mixer.biases": "inputs"},
    (
        *sizes(vocabulary=151936, context=32768, layers=32, width=4096, hidden=22016, heads=32, kv_heads=32),
        Turning(),
        Custom(_late_windows, _late),
    ),
)

QWEN3 = like_llama(
    "qwen3",
    "Qwen3ForCausalLM",
    {},
    (
        *sizes(
            vocabulary=151936,
            context=32768,
            layers=32,
            width=4096,
            hidden=22016,
            heads=32,
            kv_heads=32,
            head_size=128,
        ),
        ATTENTION_BIAS,
        qk_norm(norm="rms"),
        Turning(),
        Custom(_late_windows, _late),
    ),
)

OLMO2 = like_llama(
    "olmo2",
    "Olmo2ForCausalLM",
    {"placement": "output"},
    (
        *sizes(
            vocabulary=50304,
            context=2048,
            layers=32,
            width=4096,
            hidden=11008,
            heads=32,
            eps=("rms_norm_eps", 1e-5),
        ),
        ATTENTION_BIAS,
        qk_norm(norm="rms", over="width"),
        Turning(),
    ),
    norms={"post_attention_layernorm": "mixer_norm", "post_feedforward_layernorm": "feed_forward_norm"},
)
