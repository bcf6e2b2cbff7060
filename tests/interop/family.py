"""What every family goes through: logits, generation, the way back, and what is refused by name."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch

transformers = pytest.importorskip("transformers", reason="transformers is not installed")

from safetensors.torch import load_file, save_file  # noqa: E402

from danlu.interop import Imported, InteropError, from_huggingface, to_huggingface  # noqa: E402
from danlu.interop.folder import CONFIG, WEIGHTS  # noqa: E402
from danlu.interop.normal import differences, normal  # noqa: E402
from danlu.models import generate  # noqa: E402

transformers.logging.set_verbosity_error()
VOCABULARY = 97


def make(config: Any, seed: int = 0) -> Any:
    """A transformers model of a config, eager, float32, with every parameter away from its trivial value."""
    torch.manual_seed(seed)
    # Falcon's eager attention adds its ALiBi twice (transformers 5.23), the other once, as in training.
    config._attn_implementation = "sdpa" if getattr(config, "alibi", False) else "eager"
    for name in ("bos_token_id", "eos_token_id", "pad_token_id"):
        setattr(config, name, None)
    kinds = (transformers.AutoModelForCausalLM, transformers.AutoModelForMaskedLM)
    kinds = (transformers.AutoModelForSeq2SeqLM,) if config.is_encoder_decoder else kinds
    mapped = next(k for k in kinds if type(config) in k._model_mapping and fits(config, k))
    model = mapped.from_config(config).eval()
    with torch.no_grad():
        for parameter in model.parameters():
            # Norm gains around one, all else larger than it is drawn, so that nothing is lost in the stream.
            spread = 0.3 if parameter.ndim == 1 else 0.1
            parameter.add_(spread * torch.randn_like(parameter))
    return model


def fits(config: Any, kind: Any) -> bool:
    return (kind is transformers.AutoModelForMaskedLM) == (config.model_type == "bert")


def tokens(batch: int = 2, length: int = 21, seed: int = 1) -> torch.Tensor:
    return torch.randint(VOCABULARY, (batch, length), generator=torch.Generator().manual_seed(seed))


@torch.no_grad()
def agree(theirs: Any, ours: Imported, bound: float = 1e-5, length: int = 21) -> None:
    """Logits of both are equal to ``bound``, and far from constant."""
    x = tokens(length=length)
    if theirs.config.is_encoder_decoder:
        source = tokens(length=length + 6, seed=2)
        expected = theirs(input_ids=source, decoder_input_ids=x).logits
        found = ours.model(x, encoder_tokens=source)
    else:
        expected, found = theirs(x).logits, ours.model(x)
    assert expected.std() > 0.05
    assert (expected - found).abs().max() <= bound


@torch.no_grad()
def write_alike(theirs: Any, ours: Imported, count: int = 12) -> None:
    """Greedy generation gives the same tokens, cached in both."""
    x = tokens(length=7)
    context = ours.experiment.data.context
    settings: dict[str, Any] = dict(max_new_tokens=count, do_sample=False, eos_token_id=None, pad_token_id=0)
    if theirs.config.is_encoder_decoder:
        start = torch.zeros((2, 1), dtype=torch.long)
        expected = theirs.generate(x, decoder_start_token_id=0, **settings)[:, 1:]
        found = generate(
            ours.model, start, count=count, context=context, temperature=0, memory=ours.model.encode(x)
        )
    else:
        expected = theirs.generate(x, attention_mask=torch.ones_like(x), **settings)[:, x.shape[1] :]
        found = generate(ours.model, x, count=count, context=context, temperature=0)
    assert torch.equal(torch.cat(list(found), dim=1), expected)


def goes_round(theirs: Any, folder: Path, family: str | None = None) -> None:
    """Folder → danlu → folder: the same tensors bit for bit, the same model for transformers, and the same
    danlu model again."""
    there, back = folder / "there", folder / "back"
    theirs.save_pretrained(there)
    first = from_huggingface(there)
    chosen = to_huggingface(first, back, family=family or theirs.config.model_type)
    assert chosen.model_type == theirs.config.model_type
    before, after = load_file(there / WEIGHTS), load_file(back / WEIGHTS)
    assert before.keys() == after.keys(), before.keys() ^ after.keys()
    assert all(torch.equal(before[name], after[name]) for name in before)
    kernel = theirs.config._attn_implementation
    again = type(theirs).from_pretrained(back, attn_implementation=kernel).eval()
    agree(again, first)
    for name, tensor in theirs.state_dict().items():
        assert torch.equal(tensor, again.state_dict()[name]), name
    second = from_huggingface(back)
    for name, tensor in first.model.state_dict().items():
        assert torch.equal(tensor, second.model.state_dict()[name]), name
    assert not differences(the_normal(first), the_normal(second))
    assert first.experiment.model.dropout == second.experiment.model.dropout


def the_normal(found: Imported) -> dict[str, Any]:
    vocabulary = found.model.embedding.weight.shape[0]
    return normal(found.experiment.model, vocabulary, found.experiment.data.context)


def refuses_strangers(theirs: Any, folder: Path) -> None:
    """A tensor too many, one too few and an unknown option are named."""
    theirs.save_pretrained(folder)
    good, config = load_file(folder / WEIGHTS), json.loads((folder / CONFIG).read_text())
    stranger = next(iter(good)).split(".")[0] + ".stranger.weight"
    save_file(good | {stranger: torch.zeros(3)}, folder / WEIGHTS)
    with pytest.raises(InteropError, match=stranger):
        from_huggingface(folder)
    missing = next(name for name in good if name.endswith("weight") and "0" in name)
    save_file({name: t for name, t in good.items() if name != missing}, folder / WEIGHTS)
    with pytest.raises(InteropError, match=f"lacks {missing}"):
        from_huggingface(folder)
    save_file(good, folder / WEIGHTS)
    (folder / CONFIG).write_text(json.dumps(config | {"use_moe_routing": 4}))
    with pytest.raises(InteropError, match="use_moe_routing = 4"):
        from_huggingface(folder)


def check(config: Any, folder: Path, bound: float = 1e-5, generates: bool = True) -> None:
    """All of the above for the model of a config."""
    theirs = make(config)
    ours = from_huggingface(theirs)
    agree(theirs, ours, bound)
    if generates:
        write_alike(theirs, ours)
    goes_round(theirs, folder / "round")
    refuses_strangers(theirs, folder / "strange")
