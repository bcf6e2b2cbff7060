"""GPT-J (Wang & Komatsuzaki 2021): interleaved rotary positions, mixer and feed-forward of one norm."""

import math

from danlu.interop.families.common import LAYER_NORM, qkv
from danlu.interop.family import Family
from danlu.interop.fields import (
    ACTIVATIONS,
    Custom,
    Dropout,
    Field,
    Ignored,
    Init,
    NoDropout,
    Only,
    Reader,
    refused,
)
from danlu.interop.normal import Normal, get
from danlu.interop.tensors import Map


def _turned(config: Reader) -> dict[str, object]:
    size = config.patch["width"] // config.patch["mixer.heads"]
    turned = config.take("rotary_dim", default=64)
    if turned is None or not 0 < turned <= size:
        raise refused("rotary_dim", turned, [f"1 to {size}, the size of a head"])
    fraction = turned / size
    while int(size * fraction) < turned:  # a quotient that was rounded down
        fraction = math.nextafter(fraction, 1)
    return {"position.fraction": fraction}


def _dims(n: Normal) -> dict[str, object]:
    return {"rotary_dim": int((get(n, "mixer.head_size") or 0) * (get(n, "position.fraction") or 0))}


GPTJ = Family(
    model_type="gptj",
    architecture="GPTJForCausalLM",
    always={
        "kind": "decoder",
        "placement": "parallel",
        "position.kind": "rotary",
        "position.layout": "interleaved",
        "feed_forward.biases": True,
        "readout_bias": True,
        **LAYER_NORM,
    },
    fields=(
        Field("vocab_size", "vocabulary", 50400),
        Field("n_positions", "context", 2048),
        Field("n_layer", "layers", 28),
        Field("n_embd", "width", 4096),
        Field("n_head", "mixer.heads", 16),
        Field("n_inner", "feed_forward.hidden", None),
        Field("activation_function", "feed_forward.activation", "gelu_new", ACTIVATIONS),
        Field("layer_norm_epsilon", "norm.eps", 1e-5),
        Custom(_turned, _dims),
        Field("tie_word_embeddings", "tied", False),
        Only(rotary=True, scale_attn_weights=True),  # in the published config, and without another value
        Dropout("embd_pdrop", "resid_pdrop"),
        NoDropout("attn_pdrop"),
        Init(),
        Ignored(
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
        Map("transformer.h.{i}.ln_1", "blocks.{i}.mixer_norm"),
        Map(tuple(f"transformer.h.{{i}}.attn.{x}_proj" for x in "qkv"), "blocks.{i}.mixer.qkv", rows=qkv),
        Map("transformer.h.{i}.attn.out_proj", "blocks.{i}.mixer.out"),
        Map("transformer.h.{i}.mlp.fc_in", "blocks.{i}.feed_forward.up"),
        Map("transformer.h.{i}.mlp.fc_out", "blocks.{i}.feed_forward.down"),
        Map("transformer.ln_f", "norm"),
        Map("lm_head", "readout"),
    ),
    embedding="transformer.wte.weight",
    prefix="transformer.",
    unused={r"\.attn\.(bias|masked_bias|embed_positions)$": ""},  # causal masks, sinusoids
)
