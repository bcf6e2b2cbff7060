"""GPT-OSS: danlu's attention with sinks is its attention; its experts are refused by name."""

from __future__ import annotations

from typing import Any

import pytest
import torch

transformers = pytest.importorskip("transformers", reason="transformers is not installed")

from transformers.models.gpt_oss import modeling_gpt_oss as theirs_of  # noqa: E402

from danlu import spec  # noqa: E402
from danlu.interop import InteropError, from_huggingface  # noqa: E402
from danlu.interop.families.llama_like import position_of  # noqa: E402
from danlu.nn import Attention  # noqa: E402

WINDOW, LENGTH = 5, 17
YARN = {"rope_type": "yarn", "factor": 3.0, "original_max_position_embeddings": 16, "rope_theta": 500.0}
ROPES = {
    "plain": {"rope_type": "default", "rope_theta": 150.0},
    "yarn": YARN,
    "published": YARN | {"beta_fast": 32.0, "beta_slow": 1.0, "truncate": False, "rope_theta": 150000.0},
}


def config(**more: Any) -> Any:
    return transformers.GptOssConfig(
        num_hidden_layers=2,
        hidden_size=24,
        head_dim=10,
        num_attention_heads=4,
        num_key_value_heads=2,
        sliding_window=WINDOW,
        max_position_embeddings=48,
        attn_implementation="eager",
        **more,
    )


@torch.no_grad()
@pytest.mark.parametrize("layer", [0, 1], ids=["window", "full"])
@pytest.mark.parametrize("rope", ROPES)
@pytest.mark.parametrize("bias", [True, False])
def test_attention(layer: int, rope: str, bias: bool) -> None:
    """The module's output, for all positions at once and one after another with a cache."""
    torch.manual_seed(0)
    given = config(rope_parameters=ROPES[rope], attention_bias=bias)
    theirs = theirs_of.GptOssAttention(given, layer).eval()
    for parameter in theirs.parameters():
        parameter.normal_(std=0.3)
    theirs.sinks.normal_(std=2.0)
    assert theirs.sliding_window == (WINDOW if layer == 0 else None)
    ours = Attention(
        24,
        spec.Rotary(**position_of(given.rope_parameters, 0.0, "half", 48)),
        heads=4,
        kv_heads=2,
        head_size=10,
        window=theirs.sliding_window,
        weights=spec.Sinks(),
        biases="all" if bias else "none",
    )
    state = {"weights.sinks": theirs.sinks, "out.weight": theirs.o_proj.weight}
    state["qkv.weight"] = torch.cat([theirs.q_proj.weight, theirs.k_proj.weight, theirs.v_proj.weight])
    if bias:
        state["out.bias"] = theirs.o_proj.bias
        state["qkv.bias"] = torch.cat([theirs.q_proj.bias, theirs.k_proj.bias, theirs.v_proj.bias])
    ours.load_state_dict(state)

    x = torch.randn(2, LENGTH, 24)
    distance = torch.arange(LENGTH)[:, None] - torch.arange(LENGTH)
    hidden = (distance < 0) | (distance >= (theirs.sliding_window or LENGTH))
    mask = torch.zeros(LENGTH, LENGTH).masked_fill(hidden, float("-inf"))[None, None]
    turned = theirs_of.GptOssRotaryEmbedding(given)(x, torch.arange(LENGTH)[None])
    expected, _ = theirs(x, position_embeddings=turned, attention_mask=mask)
    assert expected.std() > 0.1
    torch.testing.assert_close(ours(x), expected, rtol=0, atol=1e-5)
    cache = ours.cache(2, LENGTH)
    one_by_one = torch.cat([ours(part, cache=cache) for part in x.split(1, dim=1)], dim=1)
    torch.testing.assert_close(one_by_one, expected, rtol=0, atol=1e-5)


def test_its_experts_are_refused_by_name() -> None:
    theirs = transformers.GptOssForCausalLM(config(num_local_experts=4, intermediate_size=8, vocab_size=31))
    named = ["router", "experts.gate_up_proj", "experts.down_proj"]
    with pytest.raises(InteropError, match="mixtures of experts") as refusal:
        from_huggingface(theirs)
    for name in named:
        assert f"model.layers.0.mlp.{name}" in str(refusal.value)
        assert any(found.startswith(f"model.layers.0.mlp.{name}") for found in theirs.state_dict())
