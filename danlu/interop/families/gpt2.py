"""GPT-2 (Radford et al. 2019): learned positions, pre-norm, matrices stored as (in, out)."""

from danlu.interop.families.common import LAYER_NORM
from danlu.interop.family import Family
from danlu.interop.fields import ACTIVATIONS, Dropout, Field, Ignored, Init, NoDropout, Only
from danlu.interop.tensors import Map

GPT2 = Family(
    model_type="gpt2",
    architecture="GPT2LMHeadModel",
    always={"kind": "decoder", "position.kind": "learned", "bias": True, **LAYER_NORM},
    fields=(
        Field("vocab_size", "vocabulary", 50257),
        Field("n_positions", "context", 1024),
        Field("n_layer", "layers", 12),
        Field("n_embd", "width", 768),
        Field("n_head", "mixer.heads", 12),
        Field("n_inner", "feed_forward.hidden", None),
        Field("activation_function", "feed_forward.activation", "gelu_new", ACTIVATIONS),
        Field("layer_norm_epsilon", "norm.eps", 1e-5),
        Field("scale_attn_weights", "mixer.scale", True, {True: None, False: 1.0}),
        Field("tie_word_embeddings", "tied", True),
        Only(scale_attn_by_inverse_layer_idx=False, add_cross_attention=False),
        Dropout("embd_pdrop", "resid_pdrop"),
        NoDropout("attn_pdrop"),
        Init(),
        # The first is about precision, n_ctx an older name of n_positions, the others a head for classes.
        Ignored(
            "reorder_and_upcast_attn",
            "n_ctx",
            "summary_type",
            "summary_use_proj",
            "summary_activation",
            "summary_proj_to_labels",
            "summary_first_dropout",
        ),
    ),
    tensors=(
        Map("transformer.wte", "embedding"),
        Map("transformer.wpe", "position"),
        Map("transformer.h.{i}.ln_1", "blocks.{i}.mixer_norm"),
        Map("transformer.h.{i}.attn.c_attn", "blocks.{i}.mixer.qkv", transposed=True),
        Map("transformer.h.{i}.attn.c_proj", "blocks.{i}.mixer.out", transposed=True),
        Map("transformer.h.{i}.ln_2", "blocks.{i}.feed_forward_norm"),
        Map("transformer.h.{i}.mlp.c_fc", "blocks.{i}.feed_forward.up", transposed=True),
        Map("transformer.h.{i}.mlp.c_proj", "blocks.{i}.feed_forward.down", transposed=True),
        Map("transformer.ln_f", "norm"),
        Map("lm_head", "readout"),
    ),
    embedding="transformer.wte.weight",
    prefix="transformer.",
    unused={r"\.attn\.(bias|masked_bias)$": ""},  # causal masks
)
