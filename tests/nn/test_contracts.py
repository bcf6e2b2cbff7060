"""The contracts of parts: a stranger's parts in a block and a model, and danlu's own kept to them."""

from __future__ import annotations

import pytest
import torch

from danlu import spec
from danlu.nn import MLP, AttentionMask, Block, FeedForward, Linear, Mixer, Norm, Position, Residual, build
from danlu.nn.contracts import count_flops
from tests.nn.test_registry import AROUND, NOTHING, members


class Mean(Mixer):
    """The mean of what a position sees."""

    def __init__(self, width: int, position: object = None, *, bias: bool = False) -> None:
        super().__init__()
        self.inner, self.out = Linear(width, 2 * width, bias=bias), Linear(2 * width, width, bias=bias)

    def mix(self, x: torch.Tensor, mask: AttentionMask) -> torch.Tensor:
        x = self.inner(x)
        if not mask.causal:
            return self.out(x.mean(1, keepdim=True).expand_as(x))
        return self.out(x.cumsum(1) / torch.arange(1, x.shape[1] + 1)[:, None])


def test_a_mixer_is_cached_without_a_cache_of_its_own():
    mixer, x = Mean(8).double(), torch.randn(2, 9, 8, dtype=torch.float64)
    cache = mixer.cache(2, 9)
    parts = [mixer(x[:, i:j], None, cache) for i, j in ((0, 4), (4, 5), (5, 9))]
    torch.testing.assert_close(torch.cat(parts, 1), mixer(x), rtol=1e-13, atol=1e-13)
    assert cache.length == 9
    assert cache.bytes == 2 * mixer.cache_bytes(9, 8)
    torch.testing.assert_close(mixer(x, AttentionMask(causal=False))[:, 0], mixer(x)[:, -1])


def test_flops_are_counted_where_a_part_counts_none():
    mixer = Mean(8)
    assert mixer.flops(3, 5) == 3 * 5 * 2 * (8 * 16 + 16 * 8)
    mlp = MLP(8, hidden=24)
    assert FeedForward.flops(mlp, 7) == mlp.flops(7)
    assert mlp.training
    assert all(p.device.type == "cpu" for p in mlp.parameters())


def test_count_flops_does_not_run_what_training_gathers():
    mixer = build(spec.VQAttention(codes=4, block=4), 8)
    before = mixer.codebook._new_counts.clone()
    assert count_flops(mixer, 2, 8, 8) > 0
    assert torch.equal(mixer.codebook._new_counts, before)
    assert mixer.auxiliary is None


def test_what_is_missing_is_named():
    class Empty(Mixer):
        pass

    with pytest.raises(NotImplementedError, match=r"Empty has neither mix\(x, mask\) nor its own forward"):
        Empty()(torch.zeros(1, 2, 3))


@pytest.mark.parametrize(
    ("family", "contract", "context"),
    [
        (spec.Mixer, Mixer, (16, None)),
        (spec.FeedForward, FeedForward, (16,)),
        (spec.Norm, Norm, (16,)),
        (spec.Residual, Residual, (16,)),
    ],
)
def test_parts_keep_their_contract(family, contract, context):
    for part in members(family):
        built = build(part(), *context)
        assert isinstance(built, contract)
        if contract is Norm:
            assert built.across_positions == part.across_positions


def test_positions_act_where_their_specification_says():
    for part in members(spec.Position):
        if part not in NOTHING:
            built = build(part(), *AROUND[part.acts_on])
            assert isinstance(built, Position)
            assert built.acts_on == part.acts_on


def test_a_block_is_made_of_a_strangers_mixer():
    block = Block(8, mixer=spec.LRU(), feed_forward=spec.MLP(), norm=spec.RMSNorm())
    block.mixer = Mean(8)
    x = torch.randn(2, 5, 8)
    cache = block.cache(2, 5)
    steps = torch.cat([block(x[:, i : i + 1], None, cache) for i in range(5)], 1)
    torch.testing.assert_close(steps, block(x), rtol=1e-5, atol=1e-6)
    assert block.branch_ends()[0] is block.mixer.out
    assert block.flops(2, 5) == block.mixer.flops(2, 5) + block.feed_forward.flops(10)
    assert cache.bytes == 2 * block.cache_bytes(5, 4)
