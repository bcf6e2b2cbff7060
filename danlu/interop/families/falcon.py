"""Falcon (Almazrouei et al. 2023): the 7b (one key/value head, one norm), the 40b (groups, two norms)."""

from danlu.interop.families.common import LAYER_NORM, by_group
from danlu.interop.family import Family
from danlu.interop.fields import (
    ACTIVATIONS,
    Custom,
    Dropout,
    Field,
    Init,
    NoDropout,
    Only,
    Reader,
    Rope,
    refused,
)
from danlu.interop.normal import Normal, get
from danlu.interop.tensors import Map


def _design(config: Reader) -> dict[str, object]:
    """Heads and norms hang on four fields, which partly overrule one another."""
    heads = config.patch["mixer.heads"]
    new = config.take("new_decoder_architecture", default=False)
    groups = config.take("num_kv_heads", default=None) or heads
    single, parallel = config.take("multi_query", default=True), config.take("parallel_attn", default=True)
    norms = config.take("num_ln_in_parallel_attn", default=None) or (2 if new else 1)
    if norms not in (1, 2) or (norms == 2 and not new) or (new and not parallel):
        field = "num_ln_in_parallel_attn" if parallel else "parallel_attn"
        raise refused(field, norms if parallel else parallel, [1] if parallel else [True])
    if not new:
        groups = 1 if single else heads
    placement = "pre" if not parallel else "parallel-two" if norms == 2 else "parallel"
    return {"mixer.kv_heads": groups, "placement": placement}


def _written(n: Normal) -> dict[str, object]:
    heads, groups, placement = get(n, "mixer.heads"), get(n, "mixer.kv_heads"), n["placement"]
    new = placement == "parallel-two" or groups not in (1, heads)
    return {
        "new_decoder_architecture": new,
        "num_kv_heads": groups,
        "multi_query": groups == 1,
        "parallel_attn": placement != "pre",
        "num_ln_in_parallel_attn": 2 if placement == "parallel-two" else 1 if new else None,
    }


def _position(config: Reader) -> dict[str, object]:
    """Rotary, or (falcon-rw) ALiBi, which is added before the scores are divided by √(head size)."""
    if not config.take("alibi", default=False):
        Rope().read(config)
        return {}
    for name in ("rope_parameters", "rope_scaling", "rope_theta"):
        config.take(name, default=None)  # there by default, and not in use
    config.note(
        "transformers rounds this family's ALiBi to bfloat16, danlu does not: logits differ by as much"
    )
    size = config.patch["width"] // config.patch["mixer.heads"]
    return {"position.kind": "alibi", "position.scale": size**-0.5}


def _positions(n: Normal) -> dict[str, object]:
    if n["position"]["kind"] == "alibi":
        return {"alibi": True}
    return {"alibi": False, **Rope().write(n)}


FALCON = Family(
    model_type="falcon",
    architecture="FalconForCausalLM",
    always={"kind": "decoder", **LAYER_NORM},
    fields=(
        Field("vocab_size", "vocabulary", 65024),
        Field("max_position_embeddings", "context", 2048),
        Field("num_hidden_layers", "layers", 32, also=("n_layer",)),
        Field("hidden_size", "width", 4544, also=("n_embed",)),
        Field("num_attention_heads", "mixer.heads", 71, also=("n_head",)),
        Custom(_design, _written),
        Field("ffn_hidden_size", "feed_forward.hidden", None),
        Field("activation", "feed_forward.activation", "gelu", ACTIVATIONS),
        Field("layer_norm_epsilon", "norm.eps", 1e-5),
        Field("bias", "bias", False),
        Only(apply_residual_connection_post_layernorm=False),
        Custom(_position, _positions),
        Field("tie_word_embeddings", "tied", True),
        Dropout("hidden_dropout"),
        NoDropout("attention_dropout"),
        Init(),
    ),
    tensors=(
        Map("transformer.word_embeddings", "embedding"),
        Map("transformer.h.{i}.input_layernorm", "blocks.{i}.mixer_norm", when={"placement": "pre"}),
        Map("transformer.h.{i}.input_layernorm", "blocks.{i}.mixer_norm", when={"placement": "parallel"}),
        Map("transformer.h.{i}.ln_attn", "blocks.{i}.mixer_norm", when={"placement": "parallel-two"}),
        Map(
            "transformer.h.{i}.post_attention_layernorm",
            "blocks.{i}.feed_forward_norm",
            when={"placement": "pre"},
        ),
        Map("transformer.h.{i}.ln_mlp", "blocks.{i}.feed_forward_norm", when={"placement": "parallel-two"}),
        Map("transformer.h.{i}.self_attention.query_key_value", "blocks.{i}.mixer.qkv", order=by_group),
        Map("transformer.h.{i}.self_attention.dense", "blocks.{i}.mixer.out"),
        Map("transformer.h.{i}.mlp.dense_h_to_4h", "blocks.{i}.feed_forward.up"),
        Map("transformer.h.{i}.mlp.dense_4h_to_h", "blocks.{i}.feed_forward.down"),
        Map("transformer.ln_f", "norm"),
        Map("lm_head", "readout"),
    ),
    embedding="transformer.word_embeddings.weight",
    prefix="transformer.",
)
