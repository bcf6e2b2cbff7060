"""Phi-1 to Phi-2 (Gunasekar et al. 2023): partial rotary positions, mixer and feed-forward of one norm."""

from danlu.interop.families.common import LAYER_NORM, qkv
from danlu.interop.family import Family
from danlu.interop.fields import ACTIVATIONS, Dropout, Field, Init, NoDropout, Only, Rope
from danlu.interop.tensors import Map

PHI = Family(
    model_type="phi",
    architecture="PhiForCausalLM",
    always={"kind": "decoder", "placement": "parallel", "bias": True, "readout_bias": True, **LAYER_NORM},
    fields=(
        Field("vocab_size", "vocabulary", 51200),
        Field("max_position_embeddings", "context", 2048),
        Field("num_hidden_layers", "layers", 24),
        Field("hidden_size", "width", 2048),
        Field("num_attention_heads", "mixer.heads", 32),
        Field("num_key_value_heads", "mixer.kv_heads", None),
        Field("intermediate_size", "feed_forward.hidden", 8192),
        Field("hidden_act", "feed_forward.activation", "gelu_new", ACTIVATIONS),
        Field("layer_norm_eps", "norm.eps", 1e-5),
        Rope(fraction=0.5),
        Field("tie_word_embeddings", "tied", False),
        Only(qk_layernorm=False),  # its norms have biases
        Dropout("embd_pdrop", "resid_pdrop"),
        NoDropout("attention_dropout"),
        Init(),
    ),
    tensors=(
        Map("model.embed_tokens", "embedding"),
        Map("model.layers.{i}.input_layernorm", "blocks.{i}.mixer_norm"),
        Map(tuple(f"model.layers.{{i}}.self_attn.{x}_proj" for x in "qkv"), "blocks.{i}.mixer.qkv", rows=qkv),
        Map("model.layers.{i}.self_attn.dense", "blocks.{i}.mixer.out"),
        Map("model.layers.{i}.mlp.fc1", "blocks.{i}.feed_forward.up"),
        Map("model.layers.{i}.mlp.fc2", "blocks.{i}.feed_forward.down"),
        Map("model.final_layernorm", "norm"),
        Map("lm_head", "readout"),
    ),
    embedding="model.embed_tokens.weight",
    prefix="model.",
)
