"""BLOOM (BigScience 2022): ALiBi, a norm after the embedding."""

from danlu.interop.families.common import LAYER_NORM, by_group
from danlu.interop.family import Family
from danlu.interop.fields import Dropout, Field, Ignored, Init, NoDropout, Only
from danlu.interop.tensors import Map

BLOOM = Family(
    model_type="bloom",
    architecture="BloomForCausalLM",
    always={
        "kind": "decoder",
        "position.kind": "alibi",
        "embedding_norm": True,
        "bias": True,
        "feed_forward.activation": "gelu-tanh",
        **LAYER_NORM,
    },
    fields=(
        Field("vocab_size", "vocabulary", 250880),
        Field("seq_length", "context", 2048),  # ALiBi has no bound; the length of training
        Field("n_layer", "layers", 2, also=("num_hidden_layers",)),
        Field("hidden_size", "width", 64, also=("n_embed",)),
        Field("n_head", "mixer.heads", 8, also=("num_attention_heads",)),
        Field("layer_norm_epsilon", "norm.eps", 1e-5),
        Only(apply_residual_connection_post_layernorm=False),
        Field("tie_word_embeddings", "tied", True),
        Dropout("hidden_dropout"),
        NoDropout("attention_dropout"),
        Init(),
        # About the kernels that it was trained with.
        Ignored(
            "masked_softmax_fusion",
            "bias_dropout_fusion",
            "offset_alibi",
            "skip_bias_add",
            "skip_bias_add_qkv",
            "attention_softmax_in_fp32",
            "n_inner",
        ),
    ),
    tensors=(
        Map("transformer.word_embeddings", "embedding"),
        Map("transformer.word_embeddings_layernorm", "embedding_norm"),
        Map("transformer.h.{i}.input_layernorm", "blocks.{i}.mixer_norm"),
        Map("transformer.h.{i}.self_attention.query_key_value", "blocks.{i}.mixer.qkv", order=by_group),
        Map("transformer.h.{i}.self_attention.dense", "blocks.{i}.mixer.out"),
        Map("transformer.h.{i}.post_attention_layernorm", "blocks.{i}.feed_forward_norm"),
        Map("transformer.h.{i}.mlp.dense_h_to_4h", "blocks.{i}.feed_forward.up"),
        Map("transformer.h.{i}.mlp.dense_4h_to_h", "blocks.{i}.feed_forward.down"),
        Map("transformer.ln_f", "norm"),
        Map("lm_head", "readout"),
    ),
    embedding="transformer.word_embeddings.weight",
    prefix="transformer.",
)
