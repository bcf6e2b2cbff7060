"""DeepSeek-V2 and V3 without experts: the same logits and tokens as transformers, and the way back."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

transformers = pytest.importorskip("transformers", reason="transformers is not installed")

from danlu.interop import InteropError, from_huggingface  # noqa: E402
from tests.interop.family import VOCABULARY, check, make  # noqa: E402

SIZES: dict[str, Any] = {
    "vocab_size": VOCABULARY,
    "max_position_embeddings": 48,
    "hidden_size": 32,
    "intermediate_size": 56,
    "num_attention_heads": 4,
    "num_key_value_heads": 4,
    "num_hidden_layers": 2,
    "first_k_dense_replace": 2,
    "kv_lora_rank": 12,
    "q_lora_rank": 14,
    "qk_nope_head_dim": 10,
    "qk_rope_head_dim": 6,
    "v_head_dim": 7,
}
YARN = {"rope_type": "yarn", "factor": 3.0, "original_max_position_embeddings": 16, "rope_theta": 500.0}
EXPERTS: dict[str, Any] = {
    "num_hidden_layers": 3,
    "moe_intermediate_size": 8,
    "n_routed_experts": 4,
    "num_experts_per_tok": 2,
}


def v2(**more: Any) -> Any:
    return transformers.DeepseekV2Config(**(SIZES | more))


def v3(**more: Any) -> Any:
    return transformers.DeepseekV3Config(**(SIZES | more))


MEMBERS: dict[str, Any] = {
    "v2": v2(),
    "v2-straight-queries": v2(q_lora_rank=None, mlp_bias=True, rms_norm_eps=1e-2, tie_word_embeddings=True),
    "v2-yarn": v2(rope_parameters=YARN | {"mscale": 0.707, "mscale_all_dim": 0.707}),
    "v2-biases": v2(attention_bias=True),
    "v2-all-biases": v2(attention_bias=True, mlp_bias=True, q_lora_rank=None),
    "v3": v3(),
    "v3-biases": v3(attention_bias=True),
    "v3-halves": v3(rope_interleave=False, q_lora_rank=None, rms_norm_eps=1e-2),
    "v3-yarn": v3(rope_parameters=YARN | {"mscale": 1.0, "mscale_all_dim": 1.0}),
    "v3-yarn-two-factors": v3(rope_parameters=YARN | {"mscale": 1.7, "mscale_all_dim": 0.3123456789}),
    "v3-yarn-amplitude": v3(rope_parameters=YARN),
}


@pytest.mark.parametrize("name", MEMBERS)
def test_family(name: str, tmp_path: Path) -> None:
    check(MEMBERS[name], tmp_path)


@pytest.mark.parametrize("config", [v2(**EXPERTS), v3(**EXPERTS, n_group=1, topk_group=1)])
def test_experts_are_refused_by_name(config: Any) -> None:
    theirs = make(config)
    assert any(name.startswith("model.layers.2.mlp.experts") for name in theirs.state_dict())
    with pytest.raises(InteropError, match=r"model\.layers\.2\.mlp\.experts"):
        from_huggingface(theirs)
