"""BERT (Devlin et al. 2019) with its head for masked tokens: an encoder, post-norm."""

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
from danlu.interop.normal import Normal
from danlu.interop.tensors import Map

_ATTENTION = "bert.encoder.layer.{i}.attention."


def _activation(config: Reader) -> dict[str, object]:
    """One word for the layers and for the head."""
    word = config.take("hidden_act", default="gelu")
    if ACTIVATIONS.get(word) in (None, "relu2"):
        raise refused("hidden_act", word, [theirs for theirs, ours in ACTIVATIONS.items() if ours != "relu2"])
    return {"feed_forward.activation": ACTIVATIONS[word], "transform": ACTIVATIONS[word]}


def _word(n: Normal) -> dict[str, object]:
    return {"hidden_act": next((t for t, o in ACTIVATIONS.items() if o == n.get("transform")), None)}


BERT = Family(
    model_type="bert",
    architecture="BertForMaskedLM",
    always={
        "kind": "encoder",
        "position.kind": "learned",
        "placement": "post",
        "embedding_norm": True,
        "bias": True,
        "readout_bias": True,
        **LAYER_NORM,
    },
    fields=(
        Field("vocab_size", "vocabulary", 30522),
        Field("max_position_embeddings", "context", 512),
        Field("num_hidden_layers", "layers", 12),
        Field("hidden_size", "width", 768),
        Field("num_attention_heads", "mixer.heads", 12),
        Field("intermediate_size", "feed_forward.hidden", 3072),
        Field("type_vocab_size", "segments", 2),
        Field("layer_norm_eps", "norm.eps", 1e-12),
        Custom(_activation, _word),
        # Untied, transformers has two biases, one of which is not used.
        Only(
            tie_word_embeddings=True,
            is_decoder=False,
            add_cross_attention=False,
            position_embedding_type="absolute",
        ),
        Dropout("hidden_dropout_prob"),
        NoDropout("attention_probs_dropout_prob"),
        Init(),
        Ignored(  # of its head for the next sentence
            "pooler_fc_size",
            "pooler_num_attention_heads",
            "pooler_num_fc_layers",
            "pooler_size_per_head",
            "pooler_type",
            "directionality",
        ),
    ),
    tensors=(
        Map("bert.embeddings.word_embeddings", "embedding"),
        Map("bert.embeddings.position_embeddings", "position"),
        Map("bert.embeddings.token_type_embeddings", "segments"),
        Map("bert.embeddings.LayerNorm", "embedding_norm"),
        Map(
            (_ATTENTION + "self.query", _ATTENTION + "self.key", _ATTENTION + "self.value"),
            "blocks.{i}.mixer.qkv",
            rows=qkv,
        ),
        Map(_ATTENTION + "output.dense", "blocks.{i}.mixer.out"),
        Map(_ATTENTION + "output.LayerNorm", "blocks.{i}.mixer_norm"),
        Map("bert.encoder.layer.{i}.intermediate.dense", "blocks.{i}.feed_forward.up"),
        Map("bert.encoder.layer.{i}.output.dense", "blocks.{i}.feed_forward.down"),
        Map("bert.encoder.layer.{i}.output.LayerNorm", "blocks.{i}.feed_forward_norm"),
        Map("cls.predictions.transform.dense", "transform"),
        Map("cls.predictions.transform.LayerNorm", "transform_norm"),
        Map("cls.predictions.bias", "readout.bias"),
        Map("cls.predictions.decoder.weight", "readout.weight"),
    ),
    embedding="bert.embeddings.word_embeddings.weight",
    readout="cls.predictions.decoder.weight",
    prefix="bert.",
    copies={"cls.predictions.decoder.bias": "cls.predictions.bias"},
    renamed={"LayerNorm.gamma": "LayerNorm.weight", "LayerNorm.beta": "LayerNorm.bias"},
    unused={
        r"^bert\.embeddings\.position_ids$": "",
        r"^(bert\.pooler|cls\.seq_relationship)\.": "the head for the next sentence",
    },
)
