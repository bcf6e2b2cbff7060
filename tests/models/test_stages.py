"""The best cut of blocks into stages; stages one after another are the network, weights and names too."""

from __future__ import annotations

import itertools
import random
from typing import Any

import pytest
import torch

from danlu import spec
from danlu.models import build
from danlu.models.stages import cut, keep_stage, stages_of
from danlu.nn.linear import weights_on_meta
from danlu.train.materialise import materialise
from tests.models import small


def test_no_other_cut_has_a_cheaper_most_expensive_stage() -> None:
    draw = random.Random(0)
    for _ in range(60):
        costs = [draw.randint(1, 9) for _ in range(draw.randint(1, 7))]
        front, back, stages = draw.randint(0, 9), draw.randint(0, 30), draw.randint(1, len(costs))

        def worst(parts: Any, costs: Any = costs, front: int = front, back: int = back) -> float:
            sums = [sum(costs[i] for i in part) for part in parts]
            sums[0] += front
            sums[-1] += back
            return max(sums)

        found = cut(costs, stages, front=front, back=back)
        assert [i for part in found for i in part] == list(range(len(costs))) and all(found)
        every = [
            [range(a, b) for a, b in itertools.pairwise((0, *inner, len(costs)))]
            for inner in itertools.combinations(range(1, len(costs)), stages - 1)
        ]
        least = min(map(worst, every))
        assert worst(found) == least
        # Among the best, the first stages are as small as can be.
        assert found == min(
            (parts for parts in every if worst(parts) == least), key=lambda ps: [*map(len, ps)]
        )
    with pytest.raises(ValueError, match="2 blocks cannot be cut into 3 stages"):
        cut([1, 1], 3)


def test_ends_count() -> None:
    """A readout that costs as much as a block is one more block of the last stage."""
    settings = {"layers": 5, "width": 16, "embedding_width": 8}
    model = build(spec.Decoder.model_validate(settings), 64, 32)
    block, ends = model.blocks[0].flops(1, 32), model.end_flops(32)
    assert model.embedding_projection is not None
    assert stages_of(model, 32, 2) == cut([block] * 5, 2, front=2 * 32 * 8 * 16, back=ends - 2 * 32 * 8 * 16)
    large = build(spec.Decoder(layers=4, width=16), 8 * block // (2 * 32 * 16), 32)
    assert stages_of(large, 32, 2) == [range(3), range(3, 4)]


CASES: dict[str, dict[str, Any]] = {
    "plain": {},
    "tied": {"tied": True, "init": spec.Init(readout=None, branch="depth"), "readout_bias": True},
    "learned": small.at(spec.Learned()) | {"embedding_norm": True, "softcap": 5.0, "embedding_scale": 2.0},
    "narrow": {"embedding_width": 6, "tied": True, "init": spec.Init(readout=None)},
    "deepnorm": {"residual": spec.DeepNorm(), "placement": "post"},
    "mup": {"base_width": 8, "init": spec.Init(branch="zero")},
    "t5": small.at(spec.T5Buckets(shared=False)),
    "lru": small.EVERY["lru-attention"],
}


@pytest.mark.parametrize("name", CASES)
@pytest.mark.parametrize("stages", [2, 3])
def test_stages_one_after_another_are_the_network(name: str, stages: int) -> None:
    """Each made alone, on the meta device first: bit for bit, weights and outputs; no name is lost."""
    settings = {"layers": 5, **CASES[name]}
    whole = small.small(double=False, **settings)
    own = dict(whole.state_dict())
    tokens, mask = small.tokens(), {"documents": torch.tensor([[0] * 5 + [1] * 7] * 2), "prefix": 3}
    mask = {} if name == "lru" else mask
    x, names = tokens, set()
    for part in stages_of(whole, small.CONTEXT, stages):
        with weights_on_meta():
            stage = small.small(double=False, **settings)
        keep_stage(stage, part)
        materialise(stage, torch.device("cpu"))
        found = stage.state_dict()
        assert all(torch.equal(tensor, own[key]) for key, tensor in found.items())
        names |= set(found)
        x = stage(x, **mask)
        tied = whole.readout.weight is whole.embedding.weight
        assert stage.lends_embedding == (tied and stage.begins != stage.ends)
        assert len([p for p in stage.parameters() if p.shape == whole.readout.weight.shape]) <= 1
    assert names == set(own) and torch.equal(x, whole(tokens, **mask))


def test_what_lies_in_all_blocks_or_between_them_cannot_be_cut() -> None:
    with pytest.raises(ValueError, match="all blocks share one T5Buckets"):
        keep_stage(small.small(**small.at(spec.T5Buckets())), range(1))
    with pytest.raises(ValueError, match="bottleneck lies between two blocks"):
        keep_stage(small.small(bottleneck={"kind": "vq", "size": 4, "codes": 8}), range(1))
