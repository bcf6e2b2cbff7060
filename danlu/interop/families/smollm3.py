"""SmolLM3 (Hugging Face 2025): LLaMA with layers that have no positions."""

from __future__ import annotations

from typing import Any

from danlu.interop.errors import InteropError
from danlu.interop.families.llama_like import (
    ATTENTION_BIAS,
    FULL,
    SLIDING,
    each,
    layered,
    like_llama,
    rope_of,
    rotary,
    sizes,
    sliding,
    turning,
    windows_of,
)
from danlu.interop.fields import Custom, Field, Ignored, Reader, refused
from danlu.interop.normal import Normal

_BASE = 2e6


def _layers(config: Reader) -> dict[str, Any]:
    """Against its name, ``no_rope_layers`` is 1 where a layer has rotary positions."""
    layers, interval = config.patch["layers"], config.take("no_rope_layer_interval", default=4)
    on, window = config.take("use_sliding_window", default=False), config.take("sliding_window", default=None)
    turned, types = config.take("no_rope_layers", default=None), config.take("layer_types", default=None)
    if turned is None:
        turned = [int((i + 1) % interval != 0) for i in range(layers)]
    if len(turned) < layers:
        raise InteropError(
            f"config.json: no_rope_layers has {len(turned)} layers, num_hidden_layers = {layers}"
        )
    if types is None:
        types = [SLIDING if on and window is not None and not turned[i] else FULL for i in range(layers)]
    if not on and SLIDING in types:
        raise refused("use_sliding_window", on, [True])
    position = rotary(config, _BASE)
    positions = [position if turned[i] else {"kind": "none"} for i in range(layers)]
    return layered(windows_of(config, types, window), positions)


def _written(n: Normal) -> dict[str, Any]:
    return {
        **sliding(n),
        "use_sliding_window": any(window is not None for window in each(n, "mixer.window")),
        "no_rope_layers": [int(kind == "rotary") for kind in each(n, "position.kind")],
        "rope_parameters": rope_of(turning(n), _BASE, n["context"]),
    }


SMOLLM3 = like_llama(
    "smollm3",
    "SmolLM3ForCausalLM",
    {},
    (
        *sizes(
            vocabulary=128256,
            context=32768,
            layers=36,
            width=2048,
            hidden=11008,
            heads=16,
            kv_heads=4,
            tied=True,
        ),
        ATTENTION_BIAS,
        Field("mlp_bias", "feed_forward.biases", False),
        Custom(_layers, _written),
        Ignored("max_window_layers"),  # in published files, and not read
    ),
)
