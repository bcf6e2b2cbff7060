"""MPT (MosaicML 2023): ALiBi, no biases at all."""

from danlu.interop.family import Family
from danlu.interop.fields import Custom, Field, Ignored, Init, NoDropout, Only, Reader, refused
from danlu.interop.normal import Normal, get
from danlu.interop.tensors import Map


def _attention(config: Reader) -> dict[str, object]:
    given = dict(config.take("attn_config", default=None) or {})
    inner = Reader(given)
    scale = inner.take("softmax_scale", default=None)
    drop = inner.take("attn_pdrop", default=0)
    for name, allowed in (
        ("alibi", True), ("alibi_bias_max", 8), ("clip_qkv", None), ("qk_ln", False), ("prefix_lm", False),
        ("attn_type", "multihead_attention"),
    ):  # fmt: skip
        value = inner.take(name, default=allowed)
        if value != allowed:
            raise refused(f"attn_config.{name}", value, [allowed])
    if drop:
        config.note(f"attn_config.attn_pdrop = {drop} is left out: danlu has no dropout of only that part")
    # attn_uses_sequence_id is of training; the rest is in every config.json, of transformers.
    for name in ("attn_impl", "attn_uses_sequence_id", "model_type", "transformers_version", "architectures"):
        inner.left.pop(name, None)
    return {"mixer.scale": scale}


def _written(n: Normal) -> dict[str, object]:
    return {"attn_config": {"alibi": True, "softmax_scale": get(n, "mixer.scale"), "model_type": ""}}


MPT = Family(
    model_type="mpt",
    architecture="MptForCausalLM",
    always={
        "kind": "decoder",
        "position.kind": "alibi",
        "norm.kind": "layer",
        "feed_forward.activation": "gelu",
    },
    fields=(
        Field("vocab_size", "vocabulary", 50368),
        Field("max_seq_len", "context", 2048),
        Field("n_layers", "layers", 24),
        Field("d_model", "width", 2048),
        Field("n_heads", "mixer.heads", 16),
        Field("layer_norm_epsilon", "norm.eps", 1e-5),
        Custom(_attention, _written),
        Only(no_bias=True, expansion_ratio=4, logit_scale=None),
        Field("tie_word_embeddings", "tied", True),
        NoDropout("emb_pdrop", "resid_pdrop"),
        Init(),
        # With ALiBi there is no learned_pos_emb; the others are of training, or of older code.
        Ignored(
            "learned_pos_emb", "embedding_fraction", "init_device", "norm_type", "init_config", "verbose"
        ),
    ),
    tensors=(
        Map("transformer.wte", "embedding"),
        Map("transformer.blocks.{i}.norm_1", "blocks.{i}.mixer_norm"),
        Map("transformer.blocks.{i}.attn.Wqkv", "blocks.{i}.mixer.qkv"),
        Map("transformer.blocks.{i}.attn.out_proj", "blocks.{i}.mixer.out"),
        Map("transformer.blocks.{i}.norm_2", "blocks.{i}.feed_forward_norm"),
        Map("transformer.blocks.{i}.ffn.up_proj", "blocks.{i}.feed_forward.up"),
        Map("transformer.blocks.{i}.ffn.down_proj", "blocks.{i}.feed_forward.down"),
        Map("transformer.norm_f", "norm"),
        Map("lm_head", "readout"),
    ),
    embedding="transformer.wte.weight",
    prefix="transformer.",
)
