"""T5 (Raffel et al. 2020) and T5 1.1: an encoder-decoder with positions by buckets, attention unscaled."""

from danlu.interop.families.common import qkv
from danlu.interop.family import Family
from danlu.interop.fields import (
    ACTIVATIONS,
    GATES,
    Custom,
    Dropout,
    Field,
    Ignored,
    NoDropout,
    Reader,
    refused,
)
from danlu.interop.normal import Normal
from danlu.interop.tensors import Map


def _feed_forward(config: Reader) -> dict[str, object]:
    word = config.take("feed_forward_proj", default="relu")
    config.take("dense_act_fn", default=None), config.take("is_gated_act", default=None)  # say the same
    if word == "gated-gelu":
        word = "gated-gelu_new"  # transformers reads it so
    kind, table = ("glu", GATES) if word.startswith("gated-") else ("mlp", ACTIVATIONS)
    if word.removeprefix("gated-") not in table:
        raise refused("feed_forward_proj", word, [*ACTIVATIONS, *(f"gated-{gate}" for gate in GATES)])
    return {"feed_forward.kind": kind, "feed_forward.activation": table[word.removeprefix("gated-")]}


def _written(n: Normal) -> dict[str, object]:
    feed = n["feed_forward"]
    gated, table = ("gated-", GATES) if feed["kind"] == "glu" else ("", ACTIVATIONS)
    # gated-gelu is the tangent to transformers, so that the exact one goes by its other name.
    words = {"gelu-tanh": "gelu_new", "gelu": "gelu_python"} if not gated else {"gelu-tanh": "gelu_new"}
    word = words.get(feed["activation"]) or next(
        (t for t, o in table.items() if o == feed["activation"]), "none"
    )
    return {"feed_forward_proj": gated + word}


def _depth(config: Reader) -> dict[str, object]:
    return {"layers": config.take("num_decoder_layers", default=None) or config.patch["encoder_layers"]}


def _scaled(config: Reader) -> dict[str, object]:
    """The first T5 divided its logits by √width, and tied them; 1.1 does neither. What is tied is seen by the
    tensors."""
    tied = config.take("tie_word_embeddings", default=True)
    scaled = config.take("scale_decoder_outputs", default=tied is not False)
    return {"tied": tied, "logit_scale": config.patch["width"] ** -0.5 if scaled else None}


def _scale(n: Normal) -> dict[str, object]:
    return {"tie_word_embeddings": n["tied"], "scale_decoder_outputs": n["logit_scale"] is not None}


def _stack(side: str, feed: str) -> tuple[Map, ...]:
    """The tensors of one side; ``feed``: which of a block's layers is the feed-forward."""
    theirs, ours = f"{side}.block.{{i}}.", f"{side}.blocks.{{i}}."
    attention, dense = f"{theirs}layer.0.SelfAttention.", f"{theirs}{feed}DenseReluDense."
    table = f"{side}.block.0.layer.0.SelfAttention.relative_attention_bias.weight"
    return (
        Map(table, f"{side}.position.table", transposed=True),
        Map(f"{theirs}layer.0.layer_norm", f"{ours}mixer_norm"),
        Map(tuple(attention + x for x in "qkv"), f"{ours}mixer.qkv", rows=qkv),
        Map(f"{attention}o", f"{ours}mixer.out"),
        Map(f"{theirs}{feed}layer_norm", f"{ours}feed_forward_norm"),
        Map(f"{dense}wi", f"{ours}feed_forward.up", when={"feed_forward.kind": "mlp"}),
        Map(f"{dense}wi_0", f"{ours}feed_forward.gate"),
        Map(f"{dense}wi_1", f"{ours}feed_forward.up", when={"feed_forward.kind": "glu"}),
        Map(f"{dense}wo", f"{ours}feed_forward.down"),
        Map(f"{side}.final_layer_norm", f"{side}.norm"),
    )


T5 = Family(
    model_type="t5",
    architecture="T5ForConditionalGeneration",
    always={
        "kind": "encoder-decoder",
        "norm.kind": "rms",
        "position.kind": "t5",
        "mixer.scale": 1.0,
    },
    fields=(
        Field("vocab_size", "vocabulary", 32128),
        Field("n_positions", "context", 512),
        Field("num_layers", "encoder_layers", 6),
        Custom(_depth, lambda n: {"num_decoder_layers": n["layers"]}),
        Field("d_model", "width", 512),
        Field("num_heads", "mixer.heads", 8),
        Field("d_kv", "mixer.head_size", 64),
        Field("d_ff", "feed_forward.hidden", 2048),
        Custom(_feed_forward, _written),
        Field("relative_attention_num_buckets", "position.buckets", 32),
        Field("relative_attention_max_distance", "position.distance", 128),
        Field("layer_norm_epsilon", "norm.eps", 1e-6),
        Custom(_scaled, _scale),
        Dropout("dropout_rate"),
        NoDropout("classifier_dropout"),
        Ignored("initializer_factor", "output_past"),
    ),
    tensors=(
        Map("shared", "embedding"),
        *_stack("encoder", "layer.1."),
        *_stack("decoder", "layer.2."),
        Map("decoder.block.{i}.layer.1.layer_norm", "decoder.blocks.{i}.cross_norm"),
        Map("decoder.block.{i}.layer.1.EncDecAttention.q", "decoder.blocks.{i}.cross.q"),
        Map(
            ("decoder.block.{i}.layer.1.EncDecAttention.k", "decoder.block.{i}.layer.1.EncDecAttention.v"),
            "decoder.blocks.{i}.cross.kv",
            rows=lambda n: qkv(n)[1:],
        ),
        Map("decoder.block.{i}.layer.1.EncDecAttention.o", "decoder.blocks.{i}.cross.out"),
        Map("lm_head", "readout"),
    ),
    embedding="shared.weight",
    copies={"encoder.embed_tokens.weight": "shared.weight", "decoder.embed_tokens.weight": "shared.weight"},
    unused={r"^decoder\.block\.0\.layer\.1\.EncDecAttention\.relative_attention_bias\.weight$": ""},
)
