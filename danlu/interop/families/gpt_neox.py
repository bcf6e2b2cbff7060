"""GPT-NeoX and Pythia (Black et al. 2022): rotary positions on a quarter, two norms side by side."""

from danlu.interop.families.common import LAYER_NORM, by_group
from danlu.interop.family import Family
from danlu.interop.fields import ACTIVATIONS, Dropout, Field, Init, NoDropout, Rope
from danlu.interop.tensors import Map

GPT_NEOX = Family(
    model_type="gpt_neox",
    architecture="GPTNeoXForCausalLM",
    always={"kind": "decoder", "feed_forward.biases": True, **LAYER_NORM},
    fields=(
        Field("vocab_size", "vocabulary", 50432),
        Field("max_position_embeddings", "context", 2048),
        Field("num_hidden_layers", "layers", 44),
        Field("hidden_size", "width", 6144),
        Field("num_attention_heads", "mixer.heads", 64),
        Field("intermediate_size", "feed_forward.hidden", 24576),
        Field("hidden_act", "feed_forward.activation", "gelu", ACTIVATIONS),
        Field("layer_norm_eps", "norm.eps", 1e-5),
        Field("use_parallel_residual", "placement", True, {True: "parallel-two", False: "pre"}),
        Field("attention_bias", "mixer.biases", True, {True: "all", False: "none"}),
        Rope(fraction=0.25, old_base=("rotary_emb_base", "rope_theta"), old_fraction=("rotary_pct",)),
        Field("tie_word_embeddings", "tied", False),
        Dropout("hidden_dropout"),
        NoDropout("attention_dropout"),
        Init(),
    ),
    tensors=(
        Map("gpt_neox.embed_in", "embedding"),
        Map("gpt_neox.layers.{i}.input_layernorm", "blocks.{i}.mixer_norm"),
        Map("gpt_neox.layers.{i}.attention.query_key_value", "blocks.{i}.mixer.qkv", order=by_group),
        Map("gpt_neox.layers.{i}.attention.dense", "blocks.{i}.mixer.out"),
        Map("gpt_neox.layers.{i}.post_attention_layernorm", "blocks.{i}.feed_forward_norm"),
        Map("gpt_neox.layers.{i}.mlp.dense_h_to_4h", "blocks.{i}.feed_forward.up"),
        Map("gpt_neox.layers.{i}.mlp.dense_4h_to_h", "blocks.{i}.feed_forward.down"),
        Map("gpt_neox.final_layer_norm", "norm"),
        Map("embed_out", "readout"),
    ),
    embedding="gpt_neox.embed_in.weight",
    prefix="gpt_neox.",
    readout="embed_out.weight",
    renamed={"lm_head.weight": "embed_out.weight"},  # transformers 5 has one name in files, one in memory
    unused={r"\.attention\.(bias|masked_bias|rotary_emb\.inv_freq)$": ""},  # causal masks, frequencies
)
