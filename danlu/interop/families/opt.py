"""OPT (Zhang et al. 2022): learned positions from row 2; 350m is post-norm, of a narrow embedding."""

from danlu.interop.families.common import LAYER_NORM, qkv
from danlu.interop.family import Family
from danlu.interop.fields import ACTIVATIONS, Custom, Dropout, Field, Ignored, Init, NoDropout, Only, Reader
from danlu.interop.normal import Normal
from danlu.interop.tensors import Map


def _affine(config: Reader) -> dict[str, object]:
    affine = config.take("layer_norm_elementwise_affine", default=True)
    return {"norm.gain": affine, "norm.bias": affine}


def _narrow(config: Reader) -> dict[str, object]:
    narrow = config.take("word_embed_proj_dim", default=None)
    return {"embedding_width": None if narrow == config.patch["width"] else narrow}


def _width(n: Normal) -> dict[str, object]:
    return {"word_embed_proj_dim": n["embedding_width"] or n["width"]}


OPT = Family(
    model_type="opt",
    architecture="OPTForCausalLM",
    always={
        "kind": "decoder",
        "position.kind": "learned",
        "position.offset": 2,
        **LAYER_NORM,
        "norm.eps": 1e-5,
    },
    fields=(
        Field("vocab_size", "vocabulary", 50272),
        Field("max_position_embeddings", "context", 2048),
        Field("num_hidden_layers", "layers", 12),
        Field("hidden_size", "width", 768),
        Custom(_narrow, _width),
        Field("num_attention_heads", "mixer.heads", 12),
        Field("ffn_dim", "feed_forward.hidden", 3072),
        Field("activation_function", "feed_forward.activation", "relu", ACTIVATIONS),
        Field("do_layer_norm_before", "placement", True, {True: "pre", False: "post"}),
        Field("enable_bias", "bias", True),
        Custom(_affine, lambda n: {"layer_norm_elementwise_affine": n["norm"].get("gain")}),
        Field("tie_word_embeddings", "tied", True),
        Only(_remove_final_layer_norm=False),
        Dropout("dropout"),
        NoDropout("attention_dropout", "activation_dropout", "layerdrop"),
        Init("init_std"),
        Ignored("output_projection"),
    ),
    tensors=(
        Map("model.decoder.embed_tokens", "embedding"),
        Map("model.decoder.embed_positions", "position"),
        Map("model.decoder.project_in", "embedding_projection"),
        Map("model.decoder.layers.{i}.self_attn_layer_norm", "blocks.{i}.mixer_norm"),
        Map(
            tuple(f"model.decoder.layers.{{i}}.self_attn.{x}_proj" for x in "qkv"),
            "blocks.{i}.mixer.qkv",
            rows=qkv,
        ),
        Map("model.decoder.layers.{i}.self_attn.out_proj", "blocks.{i}.mixer.out"),
        Map("model.decoder.layers.{i}.final_layer_norm", "blocks.{i}.feed_forward_norm"),
        Map("model.decoder.layers.{i}.fc1", "blocks.{i}.feed_forward.up"),
        Map("model.decoder.layers.{i}.fc2", "blocks.{i}.feed_forward.down"),
        Map("model.decoder.final_layer_norm", "norm"),
        Map("model.decoder.project_out", "readout_projection"),
        Map("lm_head", "readout"),
    ),
    embedding="model.decoder.embed_tokens.weight",
    prefix="model.",
)
