"""LLaMA and its kin: the same logits and tokens as transformers, and the way back."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

transformers = pytest.importorskip("transformers", reason="transformers is not installed")

from danlu import spec  # noqa: E402
from danlu.interop import InteropError, from_huggingface  # noqa: E402
from danlu.interop.huggingface import choose  # noqa: E402
from danlu.interop.normal import normal  # noqa: E402
from danlu.models import build  # noqa: E402
from danlu.spec.overrides import merge, nested  # noqa: E402
from tests.interop.family import VOCABULARY, check, make, tokens  # noqa: E402

SIZES: dict[str, Any] = {
    "vocab_size": VOCABULARY,
    "max_position_embeddings": 48,
    "hidden_size": 32,
    "intermediate_size": 56,
    "num_attention_heads": 4,
}
GROUPED: dict[str, Any] = SIZES | {"num_key_value_heads": 2}
YARN = {"rope_type": "yarn", "factor": 3.0, "original_max_position_embeddings": 16, "rope_theta": 500.0}
LLAMA3 = {
    "rope_type": "llama3",
    "factor": 4.0,
    "low_freq_factor": 1.0,
    "high_freq_factor": 4.0,
    "original_max_position_embeddings": 24,
    "rope_theta": 900.0,
}
LINEAR = {"rope_type": "linear", "factor": 2.5, "rope_theta": 1e5}


def llama(**more: Any) -> Any:
    return transformers.LlamaConfig(**({"num_hidden_layers": 2} | GROUPED | more))


def mistral(**more: Any) -> Any:
    return transformers.MistralConfig(**({"num_hidden_layers": 2, "sliding_window": 6} | GROUPED | more))


def qwen2(**more: Any) -> Any:
    return transformers.Qwen2Config(**({"num_hidden_layers": 4} | GROUPED | more))


def qwen3(**more: Any) -> Any:
    return transformers.Qwen3Config(**({"num_hidden_layers": 3, "head_dim": 10} | GROUPED | more))


def olmo2(**more: Any) -> Any:
    return transformers.Olmo2Config(**({"num_hidden_layers": 2} | GROUPED | more))


def smollm3(**more: Any) -> Any:
    return transformers.SmolLM3Config(**({"num_hidden_layers": 5, "pad_token_id": None} | GROUPED | more))


def gemma2(**more: Any) -> Any:
    return transformers.Gemma2Config(
        **(
            {"num_hidden_layers": 3, "head_dim": 12, "query_pre_attn_scalar": 9, "sliding_window": 5}
            | {"attn_logit_softcapping": 2.0, "final_logit_softcapping": 3.0}
            | GROUPED
            | more
        )
    )


def gemma3(**more: Any) -> Any:
    return transformers.Gemma3TextConfig(
        **(
            {"num_hidden_layers": 7, "head_dim": 12, "query_pre_attn_scalar": 9, "sliding_window": 5}
            | GROUPED
            | more
        )
    )


def both(full: dict[str, Any], sliding: dict[str, Any]) -> dict[str, Any]:
    return {"rope_parameters": {"full_attention": full, "sliding_attention": sliding}}


COHERE: dict[str, Any] = GROUPED | {"logit_scale": 0.6, "pad_token_id": None}


def cohere(**more: Any) -> Any:
    return transformers.CohereConfig(**({"num_hidden_layers": 2} | COHERE | more))


def cohere2(**more: Any) -> Any:
    return transformers.Cohere2Config(**({"num_hidden_layers": 6, "sliding_window": 5} | COHERE | more))


MEMBERS: dict[str, Any] = {
    "llama": llama(),
    "llama-all-biases": llama(attention_bias=True, mlp_bias=True, tie_word_embeddings=True),
    "llama-wide-heads": llama(head_dim=12, hidden_act="gelu", rms_norm_eps=1e-3, num_key_value_heads=None),
    "llama-odd-heads": llama(num_attention_heads=8, num_key_value_heads=1, head_dim=6),
    "llama-3": llama(rope_parameters=LLAMA3),
    "llama-linear": llama(rope_parameters=LINEAR),
    "llama-yarn": llama(rope_parameters=YARN),
    "llama-yarn-amplitude": llama(
        rope_parameters=YARN | {"attention_factor": 1.3, "beta_fast": 8, "beta_slow": 0.5, "truncate": False}
    ),
    "llama-yarn-mscale": llama(rope_parameters=YARN | {"mscale": 0.8, "mscale_all_dim": 0.3}),
    "mistral": mistral(),
    "mistral-full": mistral(sliding_window=None, head_dim=6, tie_word_embeddings=True),
    "qwen2": qwen2(head_dim=10, tie_word_embeddings=True),
    "qwen2-late-windows": qwen2(use_sliding_window=True, sliding_window=5, max_window_layers=2),
    "qwen3": qwen3(),
    "qwen3-biases-windows": qwen3(
        attention_bias=True,
        use_sliding_window=True,
        sliding_window=5,
        layer_types=["sliding_attention", "full_attention", "sliding_attention"],
    ),
    "olmo2": olmo2(),
    "olmo2-biases": olmo2(attention_bias=True, head_dim=10, tie_word_embeddings=True, rope_parameters=YARN),
    "smollm3": smollm3(),
    "smollm3-own-layers": smollm3(
        no_rope_layers=[0, 1, 1, 0, 1],
        use_sliding_window=True,
        sliding_window=5,
        tie_word_embeddings=False,
        attention_bias=True,
        mlp_bias=True,
    ),
    "smollm3-no-positions": smollm3(num_hidden_layers=2, no_rope_layers=[0, 0], head_dim=10),
    "gemma2": gemma2(),
    "gemma2-uncapped": gemma2(
        attn_logit_softcapping=None,
        final_logit_softcapping=None,
        attention_bias=True,
        tie_word_embeddings=False,
        query_pre_attn_scalar=12,
        layer_types=["full_attention"] * 3,
    ),
    "gemma3": gemma3(),
    "gemma3-stretched": gemma3(
        num_hidden_layers=3,
        final_logit_softcapping=2.0,
        layer_types=["sliding_attention", "full_attention", "full_attention"],
        **both(LINEAR | {"rope_theta": 1e6}, {"rope_type": "default", "rope_theta": 300.0}),
    ),
    "gemma3-windows-alone": gemma3(num_hidden_layers=2, **both(YARN, LLAMA3)),
    "cohere": cohere(),
    "cohere-biases": cohere(
        attention_bias=True, head_dim=10, logit_scale=1.0, tie_word_embeddings=False, rope_parameters=LINEAR
    ),
    "cohere-qk-norm": cohere(use_qk_norm=True, layer_norm_eps=1e-2),
    "cohere2": cohere2(),
    "cohere2-no-positions": cohere2(num_hidden_layers=2, layer_types=["full_attention"] * 2, head_dim=10),
    "cohere2-own-layers": cohere2(
        num_hidden_layers=3,
        layer_types=["full_attention", "sliding_attention", "sliding_attention"],
        attention_bias=True,
        rope_parameters=YARN,
    ),
}


@pytest.mark.parametrize("name", MEMBERS)
def test_family(name: str, tmp_path: Path) -> None:
    check(MEMBERS[name], tmp_path)


def of(**fields: Any) -> str:
    """The family that a danlu model is written as."""
    feed_forward = {"kind": "glu", "hidden": 24}
    model = spec.Decoder(**({"width": 32, "layers": 6, "feed_forward": feed_forward} | fields))
    return choose(normal(model, VOCABULARY, 48)).model_type


GAIN = {"gain": True, "eps": 1e-5}
NONE = {"window": "full", "position": {"kind": "none"}}
INTERLEAVED = {"kind": "rotary", "layout": "interleaved"}
DOUBLE = {
    "placement": "double",
    "norm": {"kind": "rms", "around_one": True},
    "embedding_scale": 32**0.5,
}
LAYER = {"norm": {"kind": "layer"}, "position": INTERLEAVED}
BY_HEAD = GAIN | {"norm": "layer", "per_head": True}
LATENT = {"kind": "latent", "heads": 2, "eps": 1e-6}


@pytest.mark.parametrize(
    ("family", "fields"),
    [
        ("llama", {"mixer": {"kv_heads": 2, "biases": "all"}}),
        ("mistral", {"mixer": {"window": 8}}),
        ("mistral", {"mixer": {"heads": 3, "head_size": 8}}),  # transformers has no such LLaMA
        ("qwen2", {"mixer": {"biases": "inputs"}, "pattern": [{"window": 8}, {"window": "full"}]}),
        ("qwen2", {"mixer": {"biases": "inputs"}}),
        ("qwen3", {"mixer": {"qk_norm": GAIN}}),
        ("olmo2", {"mixer": {"qk_norm": GAIN | {"over": "width"}}, "placement": "output"}),
        ("smollm3", {"pattern": [{}, {"window": 8}, {"position": {"kind": "none"}}]}),
        ("gemma2", DOUBLE | {"softcap": 4.0, "pattern": [{"window": 8}, {"window": "full"}]}),
        ("gemma3_text", DOUBLE | {"mixer": {"qk_norm": GAIN | {"around_one": True}}}),
        ("cohere", LAYER | {"placement": "parallel", "logit_scale": 0.5}),
        ("cohere", LAYER | {"placement": "parallel", "mixer": {"qk_norm": BY_HEAD}}),
        ("cohere2", LAYER | {"placement": "parallel", "pattern": [{"window": 8}] * 3 + [NONE]}),
        ("deepseek_v2", {"mixer": LATENT, "position": INTERLEAVED}),
        ("deepseek_v3", {"mixer": LATENT | {"query_latent": 6}}),
    ],
)
def test_which_family_a_danlu_model_is(family: str, fields: dict[str, Any]) -> None:
    assert of(**fields) == family


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({"pattern": [{"window": 8}, {"window": 9}]}, r"layer [01]\.mixer\.window"),
        ({"mixer": {"weights": "sinks"}}, r"mixer\.weights\.kind = 'sinks'"),
        ({"mixer": {"qk_norm": {"gain": True, "eps": 1e-3}}}, r"mixer\.qk_norm"),
        ({"mixer": {"gate": "elements"}}, r"mixer\.gate"),
        ({"position": {"scaling": {"kind": "ntk"}}}, r"position\.scaling"),
        (DOUBLE | {"embedding_scale": 2.0}, "embedding_scale = 2.0"),
    ],
)
def test_what_no_family_has_is_named(fields: dict[str, Any], said: str) -> None:
    with pytest.raises(InteropError, match=said):
        of(**fields)


def test_the_pattern_is_what_differs() -> None:
    model = from_huggingface(make(MEMBERS["cohere2"])).experiment.model
    assert (model.mixer.window, model.position.kind) == (5, "rotary")
    assert model.pattern == (*[spec.Layer()] * 3, spec.Layer(window="full", position=spec.NoPosition()))
    assert from_huggingface(make(MEMBERS["qwen2"])).experiment.model.pattern is None


@torch.no_grad()
@pytest.mark.parametrize(
    ("name", "setting", "value"),
    [
        ("llama", "model.position.base", 2e4),
        ("llama-3", "model.position.scaling.fast", 4.5),
        ("llama-yarn", "model.position.scaling.attention", 1.0),
        ("llama-yarn-amplitude", "model.position.scaling.whole", True),
        ("llama-wide-heads", "model.feed_forward.activation", "gelu-tanh"),
        ("llama-wide-heads", "model.norm.eps", 1e-4),
        ("mistral", "model.mixer.window", 7),
        ("qwen3", "model.mixer.qk_norm.when", "after"),
        ("olmo2", "model.mixer.qk_norm.over", "head"),
        ("smollm3", "model.pattern", None),
        ("gemma2", "model.mixer.softcap", 2.1),
        ("gemma2", "model.softcap", 3.1),
        ("gemma2", "model.mixer.scale", 0.3),
        ("gemma2", "model.embedding_scale", 5.6),
        ("gemma3", "model.position.base", 300.0),
        ("gemma3", "model.mixer.window", 6),
        ("cohere2", "model.pattern", None),
        ("cohere", "model.position.layout", "half"),
        ("cohere", "model.logit_scale", 0.61),
    ],
)
def test_what_the_comparison_would_see(name: str, setting: str, value: Any) -> None:
    """Another value of a setting, with the same weights, is ten times or more beyond the bound."""
    imported = from_huggingface(make(MEMBERS[name]))
    values = merge(imported.experiment.model_dump(), nested({setting: value}), spec.Experiment)
    if setting.endswith("over"):  # a gain for the width, read as the head's own
        values["model"]["mixer"]["qk_norm"]["per_head"] = True
    other = build(spec.validate(values).model, VOCABULARY, 48)
    other.load_state_dict(imported.model.state_dict())
    assert (other.eval()(tokens()) - imported.model(tokens())).abs().max() > 1e-4
