"""DeepSeek-V2 and V3 (2024): multi-head latent attention. Mixtures of experts are refused, so that all layers
must be dense, as those before ``first_k_dense_replace`` are."""

from __future__ import annotations

import math
from typing import Any

from danlu.interop.errors import InteropError
from danlu.interop.families.llama_like import WHOLE_HEADS, like_llama, position_of
from danlu.interop.fields import (
    GATES,
    Custom,
    Field,
    Ignored,
    Init,
    NoDropout,
    Reader,
    Row,
    amplitude,
    refused,
    write_rope,
)
from danlu.interop.normal import Normal, get
from danlu.interop.tensors import Map

_MIXER = {
    "q_proj": "q",
    "q_a_proj": "q_down",
    "q_a_layernorm": "q_norm",
    "q_b_proj": "q_up",
    "kv_a_proj_with_mqa": "kv_down",
    "kv_a_layernorm": "kv_norm",
    "kv_b_proj": "kv_up",
    "o_proj": "out",
}
_TENSORS = tuple(
    Map(f"model.layers.{{i}}.self_attn.{theirs}", f"blocks.{{i}}.mixer.{ours}")
    for theirs, ours in _MIXER.items()
)
# The norms of the latents have this ε, whatever rms_norm_eps is.
_ALWAYS = {"mixer.kind": "latent", "mixer.eps": 1e-6, "feed_forward.biases": False}
_EXPERTS = Ignored(  # without effect where no layer has experts
    "moe_intermediate_size",
    "moe_layer_freq",
    "n_group",
    "n_routed_experts",
    "n_shared_experts",
    "norm_topk_prob",
    "num_experts_per_tok",
    "output_router_logits",
    "routed_scaling_factor",
    "router_aux_loss_coef",
    "scoring_func",
    "topk_group",
    "topk_method",
    "aux_loss_alpha",
    "seq_aux",
    "ep_size",
)


def _dense(default: int) -> Custom:
    def read(config: Reader) -> dict[str, Any]:
        layers = config.patch["layers"]
        dense = config.take("first_k_dense_replace", default=default)
        if dense is None or dense < layers:
            first = f"model.layers.{dense or 0}.mlp."
            raise InteropError(
                f"config.json: first_k_dense_replace = {dense} with num_hidden_layers = {layers}: from layer "
                f"{dense or 0} on there are mixtures of experts ({first}gate, {first}experts, "
                f"{first}shared_experts), for which danlu has no part"
            )
        return {}

    return Custom(read, lambda n: {"first_k_dense_replace": n["layers"]})


def _heads(config: Reader) -> dict[str, Any]:
    """Every head has keys and values of its own, and the size that transformers calls a head's is the
    turned part's."""
    heads, turned = config.patch["mixer.heads"], config.patch["mixer.rotary_size"]
    said = {"num_key_value_heads": heads, "head_dim": turned}
    said["qk_head_dim"] = config.patch["mixer.head_size"] + turned
    for name, allowed in said.items():
        value = config.take(name, default=None)
        if value not in (None, allowed):
            raise refused(name, value, [allowed])
    return {}


def _plain(size: int, turned: int) -> float:
    return float((size + turned) ** -0.5)


def _scaled(plain: float, factor: float, all_dim: float) -> float:
    """The scale of q·k with YaRN's second factor, in the order of transformers' operations."""
    m = amplitude(factor, all_dim)
    return plain * m * m


def _interleaved(config: Reader) -> dict[str, Any]:
    return _turned(config, "interleaved")


def _either(config: Reader) -> dict[str, Any]:
    return _turned(config, "interleaved" if config.take("rope_interleave", default=True) else "half")


def _turned(config: Reader, layout: str) -> dict[str, Any]:
    base = config.take("rope_theta", default=10000.0)
    old, new = config.take("rope_scaling", default=None), config.take("rope_parameters", default=None)
    given = old or new or {}
    position = position_of(given, base, layout, config.patch["context"])
    scaling, all_dim = position["scaling"], given.get("mscale_all_dim")
    if not (scaling and all_dim):
        return {"position": position}
    plain = _plain(config.patch["mixer.head_size"], config.patch["mixer.rotary_size"])
    return {"position": position, "mixer.scale": _scaled(plain, scaling["factor"], all_dim)}


def _written(n: Normal) -> dict[str, Any]:
    rope = write_rope(n["position"], n["context"], False)
    scale, factor = get(n, "mixer.scale"), get(n, "position.scaling.factor")
    sizes = get(n, "mixer.head_size"), get(n, "mixer.rotary_size")
    if rope["rope_type"] == "yarn" and None not in (scale, *sizes) and factor > 1:
        rope["mscale_all_dim"] = _all_dim(scale, _plain(*sizes), factor)
    return {"rope_parameters": rope}


def _written_either(n: Normal) -> dict[str, Any]:
    return {**_written(n), "rope_interleave": get(n, "position.layout") == "interleaved"}


def _all_dim(scale: float, plain: float, factor: float) -> float:
    """The ``mscale_all_dim`` that gives this very scale, the shortest there is."""
    near = (math.sqrt(scale / plain) - 1) / (0.1 * math.log(factor))
    tried = [round(near, digits) for digits in range(1, 17)]
    for towards in (math.inf, -math.inf):
        step = near
        for _ in range(16):
            tried.append(step := math.nextafter(step, towards))
    return next((x for x in tried if _scaled(plain, factor, x) == scale), near)


def _fields(
    *, vocabulary: int, context: int, layers: int, width: int, hidden: int, heads: int, dense: int
) -> tuple[Row, ...]:
    return (
        Field("vocab_size", "vocabulary", vocabulary),
        Field("max_position_embeddings", "context", context),
        Field("num_hidden_layers", "layers", layers),
        _dense(dense),
        Field("hidden_size", "width", width),
        Field("intermediate_size", "feed_forward.hidden", hidden),
        Field("hidden_act", "feed_forward.activation", "silu", GATES),
        Field("num_attention_heads", "mixer.heads", heads),
        Field("qk_nope_head_dim", "mixer.head_size", 128),
        Field("v_head_dim", "mixer.value_size", 128),
        Field("qk_rope_head_dim", "mixer.rotary_size", 64),
        Field("kv_lora_rank", "mixer.latent", 512),
        Field("q_lora_rank", "mixer.query_latent", 1536),
        Custom(_heads, lambda n: {"num_key_value_heads": get(n, "mixer.heads")}),
        Field("rms_norm_eps", "norm.eps", 1e-6),
        Field("tie_word_embeddings", "tied", False),
        Field("attention_bias", "bias", False),
        NoDropout("attention_dropout"),
        Init(),
        _EXPERTS,
    )


DEEPSEEK2 = like_llama(
    "deepseek_v2",
    "DeepseekV2ForCausalLM",
    _ALWAYS,
    (
        *_fields(vocabulary=102400, context=2048, layers=32, width=4096, hidden=11008, heads=32, dense=0),
        WHOLE_HEADS,
        Field("mlp_bias", "feed_forward.biases", False),
        Custom(_interleaved, _written),
    ),
    mixer=_TENSORS,
)

DEEPSEEK3 = like_llama(
    "deepseek_v3",
    "DeepseekV3ForCausalLM",
    _ALWAYS,
    (
        *_fields(vocabulary=129280, context=4096, layers=61, width=7168, hidden=18432, heads=128, dense=3),
        Custom(_either, _written_either),
        Ignored("num_nextn_predict_layers", "num_mtp_layers"),  # further heads, not of these logits
    ),
    mixer=_TENSORS,
)
