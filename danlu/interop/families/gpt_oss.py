"""GPT-OSS (OpenAI 2025): its attention with sinks is danlu's (``mixer.weights = sinks``), its mixtures of
experts are not, so that no checkpoint of it can be read; this tells why."""

from __future__ import annotations

from typing import Any

from danlu.interop.errors import InteropError
from danlu.interop.family import Family
from danlu.interop.fields import Custom, Reader


def _experts(config: Reader) -> dict[str, Any]:
    feed = "model.layers.0.mlp."
    experts = config.take("num_local_experts", default=128)
    raise InteropError(
        f"config.json: num_local_experts = {experts}: the feed-forwards of gpt_oss are mixtures of experts "
        f"({feed}router, {feed}experts.gate_up_proj, {feed}experts.down_proj, …), for which danlu has no part"
    )


GPT_OSS = Family(
    model_type="gpt_oss",
    architecture="GptOssForCausalLM",
    always={"kind": "decoder", "mixer.weights.kind": "sinks"},
    fields=(Custom(_experts, lambda n: {}),),
    tensors=(),
    embedding="model.embed_tokens.weight",
)
