"""Families of decoders before LLaMA: the same logits and tokens as transformers, and the way back."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file

transformers = pytest.importorskip("transformers", reason="transformers is not installed")

from danlu.interop import InteropError, from_huggingface  # noqa: E402
from danlu.interop.folder import CONFIG, WEIGHTS  # noqa: E402
from danlu.interop.huggingface import family_of  # noqa: E402
from tests.interop.family import VOCABULARY, agree, check, make  # noqa: E402


def gpt2(**more: Any) -> Any:
    return transformers.GPT2Config(
        vocab_size=VOCABULARY, n_positions=48, n_embd=32, n_layer=2, n_head=4, **more
    )


def opt(**more: Any) -> Any:
    settings: dict[str, Any] = dict(
        vocab_size=VOCABULARY, max_position_embeddings=48, hidden_size=32, ffn_dim=80, num_hidden_layers=2
    )
    return transformers.OPTConfig(num_attention_heads=4, **settings, **more)


def gpt_neox(**more: Any) -> Any:
    settings: dict[str, Any] = dict(
        vocab_size=VOCABULARY, max_position_embeddings=48, hidden_size=64, intermediate_size=96
    )
    return transformers.GPTNeoXConfig(num_hidden_layers=2, num_attention_heads=4, **settings, **more)


def gptj(**more: Any) -> Any:
    return transformers.GPTJConfig(
        vocab_size=VOCABULARY, n_positions=48, n_embd=48, n_layer=2, n_head=3, rotary_dim=6, **more
    )


def phi(**more: Any) -> Any:
    settings: dict[str, Any] = dict(
        vocab_size=VOCABULARY, max_position_embeddings=48, hidden_size=64, intermediate_size=96
    )
    return transformers.PhiConfig(num_hidden_layers=2, num_attention_heads=4, **settings, **more)


def falcon(**more: Any) -> Any:
    settings: dict[str, Any] = dict(vocab_size=VOCABULARY, max_position_embeddings=48, hidden_size=64)
    return transformers.FalconConfig(num_hidden_layers=2, num_attention_heads=4, **settings, **more)


def bloom(**more: Any) -> Any:
    return transformers.BloomConfig(vocab_size=VOCABULARY, hidden_size=48, n_layer=2, n_head=6, **more)


def mpt(**more: Any) -> Any:
    attention = transformers.models.mpt.configuration_mpt.MptAttentionConfig(**more)
    return transformers.MptConfig(
        vocab_size=VOCABULARY, d_model=48, n_heads=6, n_layers=2, max_seq_len=48, attn_config=attention
    )


MEMBERS: dict[str, Any] = {
    "gpt2": gpt2(),
    "gpt2-untied-relu-unscaled": gpt2(
        n_inner=40, activation_function="relu", scale_attn_weights=False, tie_word_embeddings=False
    ),
    "opt": opt(),
    "opt-350m": opt(do_layer_norm_before=False, word_embed_proj_dim=16),
    "opt-no-biases": opt(enable_bias=False, layer_norm_elementwise_affine=False, tie_word_embeddings=False),
    "gpt_neox": gpt_neox(),
    "gpt_neox-sequential": gpt_neox(use_parallel_residual=False, attention_bias=False, hidden_act="gelu_new"),
    "gpt_neox-linear": gpt_neox(
        rope_parameters={"rope_type": "linear", "factor": 3.0, "rope_theta": 5000.0}, tie_word_embeddings=True
    ),
    "gptj": gptj(),
    "gptj-silu": gptj(n_inner=40, activation_function="silu"),
    "phi": phi(),
    "phi-groups": phi(num_key_value_heads=2, hidden_act="gelu"),
    "falcon-7b": falcon(),
    "falcon-40b": falcon(new_decoder_architecture=True, num_kv_heads=2, bias=True),
    "falcon-11b": falcon(new_decoder_architecture=True, num_kv_heads=2, num_ln_in_parallel_attn=1),
    "falcon-sequential": falcon(multi_query=False, parallel_attn=False, bias=True, tie_word_embeddings=False),
    # Four heads, since transformers' slopes of bfloat16 are then exact.
    "falcon-rw": falcon(alibi=True, multi_query=False, parallel_attn=False, bias=True),
    "bloom": bloom(),
    "mpt": mpt(),
    "mpt-scaled": mpt(softmax_scale=0.3),
}


REFUSED: dict[str, Any] = {
    "scale_attn_by_inverse_layer_idx = true": gpt2(scale_attn_by_inverse_layer_idx=True),
    "activation_function = 'quick_gelu'": gpt2(activation_function="quick_gelu"),
    "add_cross_attention = true": gpt2(add_cross_attention=True),
    "_remove_final_layer_norm = true": opt(_remove_final_layer_norm=True),
    "rope_type = 'dynamic'": gpt_neox(
        rope_parameters={"rope_type": "dynamic", "factor": 3.0, "rope_theta": 5000.0}
    ),
    "qk_layernorm = true": phi(qk_layernorm=True),
    "apply_residual_connection_post_layernorm = true": bloom(apply_residual_connection_post_layernorm=True),
    "attn_config.clip_qkv = 0.5": mpt(clip_qkv=0.5),
    "attn_config.alibi_bias_max = 4": mpt(alibi_bias_max=4),
}


@pytest.mark.parametrize("said", REFUSED)
def test_an_option_without_equivalent_is_named(said: str) -> None:
    config = REFUSED[said].to_dict()
    with pytest.raises(InteropError, match=re.escape(said)):
        family_of(config).read(config)


def test_older_names_of_fields() -> None:
    """What checkpoints from before transformers 5 say means the same."""
    new = gpt_neox(
        rope_parameters={"rope_type": "default", "rope_theta": 5000.0, "partial_rotary_factor": 0.5}
    )
    older = new.to_dict() | {"rotary_pct": 0.5, "rotary_emb_base": 5000, "rope_scaling": None}
    del older["rope_parameters"]
    family = family_of(older)
    assert family.read(older).normal == family.read(new.to_dict()).normal
    older = bloom().to_dict() | {"n_embed": 48, "num_attention_heads": 6, "offset_alibi": 100}
    del older["hidden_size"], older["n_head"]
    assert family_of(older).read(older).normal == family_of(older).read(bloom().to_dict()).normal


SUMMARY = {"summary_type": "cls_index", "summary_use_proj": True, "summary_first_dropout": 0.1}
PUBLISHED: dict[str, tuple[Any, dict[str, Any]]] = {
    "gpt2": (
        gpt2(),
        SUMMARY | {"n_ctx": 48, "task_specific_params": {"text-generation": {"do_sample": True}}},
    ),
    "gptj": (gptj(), SUMMARY | {"rotary": True, "scale_attn_weights": True, "gradient_checkpointing": False}),
    "opt": (opt(), {"activation_dropout": 0.0, "prefix": "</s>", "torch_dtype": "float16"}),
    "phi": (phi(), {"rope_scaling": None, "rope_theta": 10000.0, "partial_rotary_factor": 0.5}),
    "falcon": (
        falcon(),
        {"apply_residual_connection_post_layernorm": False, "auto_map": {"AutoConfig": "x"}},
    ),
    "bloom": (bloom(), {"masked_softmax_fusion": True, "skip_bias_add": True, "n_inner": None}),
    "mpt": (mpt(), {"init_config": {"name": "kaiming_normal_"}, "verbose": 0}),
}


@pytest.mark.parametrize("name", PUBLISHED)
def test_published_configs(name: str) -> None:
    """Fields that published configs have beside those of transformers change nothing."""
    config, more = PUBLISHED[name]
    family = family_of(config.to_dict())
    assert family.read(config.to_dict() | more).normal == family.read(config.to_dict()).normal


def test_a_checkpoint_without_head(tmp_path: Path) -> None:
    """Saved from the body alone, names lack the body's name; older ones hold causal masks."""
    theirs = make(gpt2())
    tensors = {name: t.contiguous() for name, t in theirs.transformer.state_dict().items()}
    tensors |= {f"h.{i}.attn.bias": torch.ones(1, 1, 48, 48).tril() for i in range(2)}
    save_file(tensors, tmp_path / WEIGHTS)
    (tmp_path / CONFIG).write_text(json.dumps(theirs.config.to_dict(), default=str))
    agree(theirs, from_huggingface(tmp_path))


@pytest.mark.parametrize("name", MEMBERS)
def test_family(name: str, tmp_path: Path) -> None:
    check(MEMBERS[name], tmp_path)
