"""BERT and T5: the same logits and tokens as transformers, and the way back."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

transformers = pytest.importorskip("transformers", reason="transformers is not installed")

from safetensors.torch import load_file, save_file  # noqa: E402

from danlu.interop import InteropError, from_huggingface  # noqa: E402
from danlu.interop.folder import WEIGHTS  # noqa: E402
from tests.interop.family import VOCABULARY, agree, check, goes_round, make, tokens, write_alike  # noqa: E402


def bert(**more: Any) -> Any:
    settings: dict[str, Any] = dict(
        vocab_size=VOCABULARY,
        hidden_size=32,
        num_hidden_layers=2,
        num_attention_heads=4,
        intermediate_size=72,
    )
    return transformers.BertConfig(max_position_embeddings=48, **settings, **more)


def t5(**more: Any) -> Any:
    settings: dict[str, Any] = dict(
        vocab_size=VOCABULARY, d_model=32, d_kv=12, d_ff=72, num_heads=3, num_layers=3, num_decoder_layers=2
    )
    return transformers.T5Config(
        relative_attention_num_buckets=8,
        relative_attention_max_distance=20,
        initializer_factor=0.3,
        **settings,
        **more,
    )


@pytest.mark.parametrize("more", [{}, {"hidden_act": "relu"}], ids=str)
def test_bert(more: dict[str, Any], tmp_path: Path) -> None:
    check(bert(**more), tmp_path, generates=False)


@torch.no_grad()
def test_bert_segments() -> None:
    theirs = make(bert())
    x, kinds = tokens(), tokens(seed=5) % 2
    expected = theirs(x, token_type_ids=kinds).logits
    assert (from_huggingface(theirs).model(x, segments=kinds) - expected).abs().max() <= 1e-5


def test_bert_as_older_checkpoints_have_it(tmp_path: Path) -> None:
    """gamma and beta, positions as a buffer, a head for the next sentence, which is told."""
    theirs = make(bert())
    theirs.save_pretrained(tmp_path)
    found = load_file(tmp_path / WEIGHTS)
    ends = {"LayerNorm.weight": "LayerNorm.gamma", "LayerNorm.bias": "LayerNorm.beta"}
    older = {}
    for name, tensor in found.items():
        end = next((e for e in ends if name.endswith(e)), "")
        older[name.removesuffix(end) + ends.get(end, "")] = tensor
    older["bert.embeddings.position_ids"] = torch.arange(48)[None]
    older["bert.pooler.dense.weight"] = torch.zeros(32, 32)
    save_file(older, tmp_path / WEIGHTS)
    imported = from_huggingface(tmp_path)
    agree(theirs, imported)
    assert any("bert.pooler.dense.weight" in note for note in imported.notes)


@pytest.mark.parametrize(
    "more",
    [
        {},
        {"feed_forward_proj": "gated-gelu"},
        {"feed_forward_proj": "gated-silu", "scale_decoder_outputs": False},
    ],
    ids=str,
)
def test_t5(more: dict[str, Any], tmp_path: Path) -> None:
    check(t5(**more), tmp_path)


def test_t5_with_a_readout_of_its_own(tmp_path: Path) -> None:
    """T5 1.1: its config says tied, its checkpoint has both; transformers believes the latter."""
    theirs = make(t5(feed_forward_proj="gated-gelu", tie_word_embeddings=False))
    assert not theirs.config.scale_decoder_outputs
    theirs.save_pretrained(tmp_path / "tied")
    found = load_file(tmp_path / "tied" / WEIGHTS)
    own = torch.randn(VOCABULARY, 32, generator=torch.Generator().manual_seed(3))
    save_file(found | {"lm_head.weight": own}, tmp_path / "tied" / WEIGHTS, {"format": "pt"})
    theirs = type(theirs).from_pretrained(tmp_path / "tied", attn_implementation="eager").eval()
    theirs.config.eos_token_id = theirs.config.pad_token_id = None
    imported = from_huggingface(tmp_path / "tied")
    assert not imported.experiment.model.tied
    agree(theirs, imported)
    write_alike(theirs, imported)
    goes_round(theirs, tmp_path)


def test_a_decoder_of_bert_is_refused() -> None:
    with pytest.raises(InteropError, match="is_decoder = true"):
        from_huggingface(make(bert(is_decoder=True)))
