"""Networks of one seed start with equal weights wherever name and shape are equal, so that runs pair."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from danlu.models import build
from danlu.spec import resolve

NANO = [
    "nano",
    "model.width=16",
    "model.layers=2",
    "model.mixer.heads=4",
    "data.context=16",
    "model.init.branch=same",
]  # depth would scale by the number of layers
IDEAS = [
    "+qk-norm", "+swiglu", "+gqa", "+relative", "+alibi", "+t5-bias", "+learned-positions", "+parallel",
    "+parallel-two", "model.pattern=[{mixer: lru},{}]", "+mla", "+gated-attention", "+layer-norm", "+sinks",
    "+readout-bias", "+layer-scale", "model.layers=3",
]  # fmt: skip
KINDS = {"decoder": [], "encoder": ["+masked-lm"], "encoder-decoder": ["+span-corruption"]}
# What reads from left to right, and what has no place for a branch over a memory.
DECODER_ALONE = {"model.pattern=[{mixer: lru},{}]", "+mla"}
NO_MEMORY = {"+parallel", "+parallel-two"}


def weights(*words: str, seed: int = 0) -> dict[str, torch.Tensor]:
    experiment = resolve([*NANO, *words])
    torch.manual_seed(seed)
    model: Any = build(experiment.model, 257 + 40, 16)
    return {name: p.detach() for name, p in model.named_parameters()}


def drawn(tensor: torch.Tensor) -> bool:
    """Whether it was drawn, and is not a constant such as a gain of one."""
    return tensor.unique().numel() > 1


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("idea", IDEAS)
def test_what_two_networks_share_starts_equal(kind: str, idea: str) -> None:
    if (idea in DECODER_ALONE and kind != "decoder") or (idea in NO_MEMORY and kind == "encoder-decoder"):
        pytest.skip("refused together")
    plain, changed = weights(*KINDS[kind]), weights(*KINDS[kind], idea)
    common = [n for n in plain.keys() & changed.keys() if plain[n].shape == changed[n].shape]
    both = [name for name in common if drawn(plain[name])]
    assert {"embedding.weight", "readout.weight"} <= set(both) and len(both) >= 4
    for name in common:
        assert torch.equal(plain[name], changed[name]), name


@pytest.mark.parametrize("kind", KINDS)
def test_a_seed_is_a_network(kind: str) -> None:
    one, same, other = (weights(*KINDS[kind], seed=seed) for seed in (3, 3, 4))
    assert one.keys() == same.keys() == other.keys()
    for name, weight in one.items():
        assert torch.equal(weight, same[name])
        assert not (drawn(weight) and torch.equal(weight, other[name])), name


@pytest.mark.parametrize("kind", KINDS)
def test_no_two_tensors_of_a_network_are_alike(kind: str) -> None:
    """Blocks differ from one another, and so do the stacks of an encoder-decoder, weight by weight."""
    found = [(name, w) for name, w in weights(*KINDS[kind]).items() if drawn(w)]
    assert len(found) >= 10
    for i, (name, weight) in enumerate(found):
        for other, its in found[:i]:
            size = min(weight.numel(), its.numel())
            alike = torch.corrcoef(torch.stack([weight.flatten()[:size], its.flatten()[:size]]))[0, 1]
            # Of independent normal numbers the correlation has deviation 1/√n; six of them.
            assert abs(alike) < 6 / size**0.5, (name, other)
