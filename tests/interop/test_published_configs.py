"""A ``config.json`` as published, with fields of older versions of transformers, says the same as what
transformers makes of it; and what a config says that danlu has not is refused by name."""

from __future__ import annotations

import json
from typing import Any

import pytest

transformers = pytest.importorskip("transformers", reason="transformers is not installed")

from danlu.interop import InteropError  # noqa: E402
from danlu.interop.families import FAMILIES  # noqa: E402
from danlu.interop.normal import differences  # noqa: E402

SMALL: dict[str, Any] = {
    "vocab_size": 97,
    "max_position_embeddings": 96,
    "hidden_size": 32,
    "intermediate_size": 56,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "num_hidden_layers": 8,
    "initializer_range": 0.02,
    "use_cache": True,
    "torch_dtype": "bfloat16",
    "bos_token_id": 1,
    "eos_token_id": [2, 3],
    "transformers_version": "4.43.0",
    "attention_dropout": 0.0,
}
LATENT: dict[str, Any] = {
    "first_k_dense_replace": 8,
    "num_key_value_heads": 4,
    "kv_lora_rank": 12,
    "q_lora_rank": None,
    "qk_nope_head_dim": 8,
    "qk_rope_head_dim": 4,
    "v_head_dim": 8,
    "n_routed_experts": 64,
    "n_shared_experts": 2,
    "moe_intermediate_size": 1408,
    "routed_scaling_factor": 1.0,
    "topk_method": "greedy",
    "n_group": 1,
    "topk_group": 1,
    "num_experts_per_tok": 6,
    "norm_topk_prob": False,
    "scoring_func": "softmax",
    "aux_loss_alpha": 0.001,
    "seq_aux": True,
    "moe_layer_freq": 1,
    "ep_size": 1,
    "hidden_act": "silu",
    "rope_theta": 10000,
}
YARN = {"beta_fast": 32, "beta_slow": 1, "factor": 40, "original_max_position_embeddings": 32}
PUBLISHED: dict[str, tuple[str, dict[str, Any]]] = {
    "Llama 2": (
        "llama",
        {"hidden_act": "silu", "rms_norm_eps": 1e-5, "pretraining_tp": 1, "rope_scaling": None},
    ),
    "Llama 3.1": (
        "llama",
        {
            "attention_bias": False,
            "mlp_bias": False,
            "rope_theta": 500000.0,
            "rope_scaling": {
                "factor": 8.0,
                "low_freq_factor": 1.0,
                "high_freq_factor": 4.0,
                "original_max_position_embeddings": 24,
                "rope_type": "llama3",
            },
        },
    ),
    "Llama, linear of old": ("llama", {"rope_scaling": {"type": "linear", "factor": 4.0}}),
    "Llama, yarn of this context": ("llama", {"rope_scaling": {"type": "yarn", "factor": 4.0}}),
    "Mistral 7B": ("mistral", {"sliding_window": 12, "rope_theta": 10000.0, "hidden_act": "silu"}),
    "Mistral 7B v0.3": ("mistral", {"sliding_window": None, "rope_theta": 1000000.0, "head_dim": 8}),
    "Mistral, a window beyond the context": ("mistral", {"sliding_window": 4096}),
    "Qwen2.5": (
        "qwen2",
        {
            "use_sliding_window": False,
            "sliding_window": 13,
            "max_window_layers": 4,
            "rope_theta": 1000000.0,
            "tie_word_embeddings": True,
        },
    ),
    "Qwen2.5, windows": ("qwen2", {"use_sliding_window": True, "sliding_window": 13, "max_window_layers": 4}),
    "Qwen2.5, yarn": (
        "qwen2",
        {"rope_scaling": {"type": "yarn", "factor": 4.0, "original_max_position_embeddings": 24}},
    ),
    "Qwen3": (
        "qwen3",
        {
            "attention_bias": False,
            "head_dim": 16,
            "max_window_layers": 8,
            "rope_scaling": None,
            "rope_theta": 1000000,
            "sliding_window": None,
            "use_sliding_window": False,
        },
    ),
    "OLMo 2": ("olmo2", {"attention_bias": False, "rms_norm_eps": 1e-6, "rope_theta": 500000}),
    "SmolLM3": (
        "smollm3",
        {
            "attention_bias": False,
            "mlp_bias": False,
            "no_rope_layer_interval": 4,
            "no_rope_layers": [1, 1, 1, 0] * 2,
            "layer_types": ["full_attention"] * 8,
            "rope_theta": 5000000.0,
            "sliding_window": None,
            "use_sliding_window": False,
            "max_window_layers": 28,
            "pretraining_tp": 2,
        },
    ),
    "Gemma 2": (
        "gemma2",
        {
            "attn_logit_softcapping": 50.0,
            "final_logit_softcapping": 30.0,
            "cache_implementation": "hybrid",
            "head_dim": 16,
            "hidden_act": "gelu_pytorch_tanh",
            "hidden_activation": "gelu_pytorch_tanh",
            "query_pre_attn_scalar": 8,
            "sliding_window": 12,
            "rope_theta": 10000.0,
        },
    ),
    "Gemma 3": (
        "gemma3_text",
        {
            "attention_bias": False,
            "attn_logit_softcapping": None,
            "cache_implementation": "hybrid",
            "final_logit_softcapping": None,
            "head_dim": 16,
            "hidden_activation": "gelu_pytorch_tanh",
            "query_pre_attn_scalar": 16,
            "rope_local_base_freq": 10000,
            "rope_scaling": {"factor": 8.0, "rope_type": "linear"},
            "rope_theta": 1000000,
            "sliding_window": 12,
            "sliding_window_pattern": 3,
        },
    ),
    "Command R": (
        "cohere",
        {"layer_norm_eps": 1e-5, "logit_scale": 0.0625, "model_max_length": 131072, "rope_theta": 8000000.0},
    ),
    "Command R7B": (
        "cohere2",
        {
            "cache_implementation": "hybrid",
            "head_dim": 8,
            "layer_switch": 4,
            "logit_scale": 0.25,
            "order_of_interleaved_layers": "local_attn_first",
            "position_embedding_type": "rope_gptj",
            "rope_scaling": None,
            "rope_theta": 50000,
            "rotary_pct": 1.0,
            "sliding_window": 12,
            "sliding_window_pattern": 4,
            "use_embedding_sharing": True,
            "use_gated_activation": True,
            "use_parallel_block": True,
            "use_parallel_embedding": True,
        },
    ),
    "DeepSeek-V2 Lite, dense": (
        "deepseek_v2",
        LATENT | {"rope_scaling": YARN | {"mscale": 0.707, "mscale_all_dim": 0.707, "type": "yarn"}},
    ),
    "DeepSeek-V3, dense": (
        "deepseek_v3",
        LATENT
        | {"rope_scaling": YARN | {"mscale": 1.0, "mscale_all_dim": 1.0, "type": "yarn"}}
        | {"num_nextn_predict_layers": 1, "q_lora_rank": 10, "topk_method": "noaux_tc"},
    ),
}


@pytest.mark.parametrize("name", PUBLISHED)
def test_what_transformers_makes_of_it(name: str) -> None:
    kind, own = PUBLISHED[name]
    published = SMALL | own
    standard = transformers.AutoConfig.for_model(kind, **json.loads(json.dumps(published)))
    family = FAMILIES[kind]
    found = family.read(published)
    made = family.read(json.loads(standard.to_json_string(use_diff=False)))
    assert not differences(found.normal, made.normal)
    assert not family.misses(found.normal)


OTHERS = sorted({kind for kind, _ in PUBLISHED.values()})


@pytest.mark.parametrize("kind", OTHERS)
def test_what_is_left_out(kind: str) -> None:
    """A config that says nothing is transformers' default config, and is written as the same model."""
    dense = {"first_k_dense_replace": 99, "num_key_value_heads": None} if "deepseek" in kind else {}
    standard = transformers.AutoConfig.for_model(kind, **dense)
    family = FAMILIES[kind]
    found = family.read(dense)
    made = family.read(json.loads(standard.to_json_string(use_diff=False)))
    assert not differences(found.normal, made.normal)
    assert not family.misses(found.normal)


# Fields of published models that say nothing about the logits, or nothing while they are off.
HARMLESS: list[tuple[str, str, Any]] = [
    ("llama", "is_llama_config", True),  # SmolLM2
    ("llama", "transformers.js_config", {"kv_cache_dtype": {"q4f16": "float16"}}),
    ("llama", "rope_interleaved", False),
    ("llama", "_attn_implementation_autoset", True),
    ("llama", "unsloth_fixed", True),
    ("llama", "use_sliding_window", False),
    ("llama", "sliding_window", None),
    ("qwen2", "use_mrope", False),  # Qwen2.5
    ("qwen2", "output_router_logits", False),
    ("mistral", "num_local_experts", 0),
    ("qwen3", "keys_to_ignore_at_inference", ["past_key_values"]),
    ("olmo2", "clip_qkv", None),
]


@pytest.mark.parametrize("kind, field, value", HARMLESS)
def test_a_harmless_field_is_passed_over(kind: str, field: str, value: Any) -> None:
    family = FAMILIES[kind]
    assert not differences(family.read(SMALL).normal, family.read(SMALL | {field: value}).normal)


MATTERS: list[tuple[str, str, Any]] = [
    ("llama", "rope_interleaved", True),
    ("llama", "use_sliding_window", True),
    ("llama", "attn_temperature_tuning", False),  # no field that danlu does not know, whatever it says
    ("qwen2", "use_mrope", True),
    ("mistral", "num_local_experts", 8),
    ("qwen3", "num_experts", 64),
    ("olmo2", "clip_qkv", 8.0),
    ("llama", "use_bidirectional_attention", True),
]


@pytest.mark.parametrize("kind, field, value", MATTERS)
def test_what_matters_is_refused(kind: str, field: str, value: Any) -> None:
    with pytest.raises(InteropError, match=field):
        FAMILIES[kind].read(SMALL | {field: value})


REFUSED: list[tuple[str, dict[str, Any], str]] = [
    ("llama", {"rope_scaling": {"type": "dynamic", "factor": 2.0}}, "rope_type = 'dynamic'"),
    ("llama", {"rope_scaling": {"type": "longrope", "short_factor": [1.0]}}, "rope_type = 'longrope'"),
    ("llama", {"rope_scaling": {"type": "linear"}}, "linear lacks factor"),
    ("llama", {"rope_parameters": {"rope_type": "llama3", "factor": 2.0}}, "llama3 lacks low_freq_factor"),
    ("llama", {"rope_parameters": {"partial_rotary_factor": 0.5}}, "partial_rotary_factor = 0.5"),
    ("llama", {"hidden_act": "quick_gelu"}, "hidden_act = 'quick_gelu'"),
    ("llama", {"num_attention_heads": 5}, "num_attention_heads = 5"),
    ("llama", {"sliding_window": 9}, "sliding_window = 9"),
    ("llama", {"quantization_config": {"bits": 4}}, "quantization_config"),
    ("mistral", {"attention_bias": True}, "attention_bias = true"),
    ("qwen2", {"use_sliding_window": True, "layer_types": ["chunked_attention"] * 8}, "chunked_attention"),
    ("qwen2", {"use_sliding_window": True, "layer_types": ["full_attention"]}, "layer_types has 1 layers"),
    ("qwen2", {"layer_types": ["sliding_attention"] * 8}, "use_sliding_window = false"),
    ("smollm3", {"no_rope_layers": [1]}, "no_rope_layers has 1 layers"),
    (
        "smollm3",
        {"layer_types": ["sliding_attention"] * 8, "use_sliding_window": True},
        "sliding_window = none",
    ),
    ("gemma2", {"use_bidirectional_attention": True}, "use_bidirectional_attention = true"),
    ("gemma3_text", {"attn_logit_softcapping": 50.0}, "attn_logit_softcapping = 50.0"),
    ("gemma3_text", {"use_bidirectional_attention": True}, "use_bidirectional_attention = true"),
    ("gemma3_text", {"rope_parameters": {"rope_type": "default"}}, "rope_parameters"),
    (
        "gemma3_text",
        {"rope_parameters": {"full_attention": {"rope_type": "yarn", "factor": 2.0, "truncate": False}}},
        "truncate = false",
    ),
    ("cohere", {"logit_scale": None}, "logit_scale = none"),
    ("cohere2", {"rotary_pct": 0.5}, "rotary_pct = 0.5"),
    ("cohere2", {"use_parallel_block": False}, "use_parallel_block = false"),
    ("deepseek_v2", LATENT | {"num_key_value_heads": 2}, "num_key_value_heads = 2"),
    ("deepseek_v3", LATENT | {"head_dim": 12}, "head_dim = 12"),
    ("deepseek_v3", LATENT | {"first_k_dense_replace": 3}, r"model\.layers\.3\.mlp\.experts"),
    (
        "deepseek_v3",
        LATENT | {"rope_scaling": {"type": "linear", "factor": 2.0, "mscale_all_dim": 1.0}},
        "mscale",
    ),
]


@pytest.mark.parametrize(("kind", "own", "said"), REFUSED, ids=lambda x: x if isinstance(x, str) else "")
def test_refused_by_name(kind: str, own: dict[str, Any], said: str) -> None:
    with pytest.raises(InteropError, match=said):
        FAMILIES[kind].read(SMALL | own)


@pytest.mark.parametrize("kind", ["gpt_neox", "falcon", "phi"])
@pytest.mark.parametrize(
    "rope", [{"type": "yarn", "factor": 4.0}, {"type": "linear", "factor": 2.0}], ids=str
)
def test_stretching_of_others(kind: str, rope: dict[str, Any]) -> None:
    own = {name: SMALL[name] for name in ("hidden_size", "num_attention_heads", "max_position_embeddings")}
    published = own | {"rope_scaling": rope}
    standard = transformers.AutoConfig.for_model(kind, **json.loads(json.dumps(published)))
    family = FAMILIES[kind]
    made = family.read(json.loads(standard.to_json_string(use_diff=False)))
    assert not differences(family.read(published).normal, made.normal)
    with pytest.raises(InteropError, match="lacks factor"):
        family.read(own | {"rope_scaling": {"type": "linear"}})
