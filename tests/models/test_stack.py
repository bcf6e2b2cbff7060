"""A stack: patterns opened up, positions shared or not, norms at its end."""

from __future__ import annotations

import pytest
import torch

from danlu import spec
from danlu.models.stack import Stack
from danlu.nn import LRU, Attention, AttentionMask, LatentAttention, T5Buckets
from tests.models.small import small, tokens

T5 = spec.T5Buckets(buckets=8, distance=9)


def stack(causal=True, **settings):
    torch.manual_seed(0)
    network = spec.Decoder.model_validate({"layers": 5, "width": 16, **settings})
    return Stack(network, 12, causal=causal)


def test_a_pattern_is_repeated_from_the_first_layer_to_the_last():
    made = stack(pattern=({"window": 3}, {"window": "full", "position": "alibi"}, {"mixer": spec.LRU()}))
    mixers = [block.mixer for block in made.blocks]
    assert [type(m) for m in mixers] == [Attention, Attention, LRU, Attention, Attention]
    assert [getattr(m, "window", 0) for m in mixers] == [3, None, 0, 3, None]
    assert [type(getattr(m, "position", None)).__name__ for m in mixers] == [
        "Rotary", "ALiBi", "NoneType", "Rotary", "ALiBi",
    ]  # fmt: skip


def test_a_layer_keeps_what_its_pattern_does_not_name():
    mixer = spec.Attention(heads=2, kv_heads=1, softcap=3.0, window=4)
    made = stack(mixer=mixer, pattern=({}, {"window": "full"}, {"feed_forward": spec.GLU()}))
    assert [(b.mixer.kv_heads, b.mixer.softcap, b.mixer.window) for b in made.blocks] == [
        (1, 3.0, window) for window in (4, None, 4, 4, None)
    ]
    kinds = [type(b.feed_forward).__name__ for b in made.blocks]
    assert kinds == ["MLP", "MLP", "GLU", "MLP", "MLP"]
    latent = stack(pattern=({"mixer": spec.LatentAttention()}, {}))
    assert [isinstance(b.mixer, LatentAttention) for b in latent.blocks] == [True, False, True, False, True]


def test_a_pattern_of_one_is_the_model_without():
    window = spec.Attention(window=3)
    one, other = small(pattern=({"window": 3},)), small(mixer=window)
    text = tokens()
    assert torch.equal(one(text), other(text))


def test_a_shared_table_is_one_and_is_not_where_a_layer_has_its_own_positions():
    made = stack(position=T5, pattern=({}, {"position": "none"}, {"position": spec.T5Buckets(shared=False)}))
    assert isinstance(made.position, T5Buckets)
    tables = [n for n, _ in made.named_parameters() if n.endswith("table")]
    assert tables == ["position.table", "blocks.2.mixer.position.table"]
    relative = [block.mixer.relative for block in made.blocks]
    assert relative[0] == relative[3] == (made.position,)
    assert relative[1] == relative[4] == ()
    own = stack(position=spec.T5Buckets(buckets=8, distance=9, shared=False))
    assert own.position is None
    assert len([n for n, _ in own.named_parameters() if n.endswith("table")]) == 5


def test_a_shared_table_is_as_tables_of_its_own_with_equal_numbers():
    one = small(position=T5)
    other = small(position=spec.T5Buckets(buckets=8, distance=9, shared=False))
    state = one.state_dict()
    table = state.pop("position.table")
    other.load_state_dict({**state, **{f"blocks.{i}.mixer.position.table": table for i in range(2)}})
    text = tokens()
    torch.testing.assert_close(one(text), other(text), rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("placement", ["pre", "post", "double", "output", "parallel", "parallel-two"])
def test_the_last_norm_is_left_out_after_blocks_that_end_with_one(placement):
    """What leaves the stack has a root mean square of 1 in every position, normed once at the end."""
    made = stack(placement=placement).double()
    y = made.body(5 * torch.randn(2, 9, 16).double(), AttentionMask())
    torch.testing.assert_close(y.square().mean(-1), torch.ones(2, 9).double(), rtol=1e-3, atol=1e-3)
    assert isinstance(made.norm, torch.nn.Identity) == (placement == "post")


def test_costs_are_the_sums_of_the_layers():
    made = stack(pattern=({"window": 3}, {"window": "full"}))
    assert made.body_flops(2, 9) == sum(block.flops(2, 9) for block in made.blocks)
    assert made.cache_bytes(9, 1) == 3 * (2 * 16 * 3) + 2 * (2 * 16 * 9)


@pytest.mark.parametrize("position", [spec.Learned(), spec.Sinusoidal()], ids=lambda p: p.kind)
def test_positions_of_the_embedding_are_added_once(position):
    """Before the norm of the embedding, and shifted by what the caches hold."""
    made = stack(position=position, layers=1, embedding_norm=True).double()
    x = torch.randn(2, 9, 16).double()
    without = stack(position=spec.NoPosition(), layers=1, embedding_norm=True).double()
    state = {n: t for n, t in made.state_dict().items() if not n.startswith("position")}
    without.load_state_dict(state)
    vectors = made.position.at(0, 9).double()
    torch.testing.assert_close(
        made.body(x, AttentionMask()), without.body(x + vectors, AttentionMask()), rtol=1e-12, atol=1e-12
    )
