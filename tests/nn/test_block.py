"""Blocks: every placement and residual by hand, with and without a memory; what kinds of part go together."""

from __future__ import annotations

import itertools
from typing import get_args

import pytest
import torch

from danlu import spec
from danlu.nn import AttentionMask, Block, LayerNorm, rms_norm
from tests.nn.test_registry import members

WIDTH = 12
RESIDUALS = {
    "plain": (spec.Plain(), lambda x, f, a: x + f),
    "sqrt2": (spec.Halved(), lambda x, f, a: (x + f) / 2**0.5),
    "rezero": (spec.ReZero(), lambda x, f, a: x + a.gain * f),
    "layer-scale": (spec.LayerScale(), lambda x, f, a: x + a.gain * f),
    "deepnorm": (spec.DeepNorm(alpha=1.7), lambda x, f, a: 1.7 * x + f),
}
EXACT = {"rtol": 1e-12, "atol": 1e-12}


def block(placement="pre", residual=None, cross=False, **settings):
    torch.manual_seed(0)
    made = Block(
        WIDTH,
        mixer=spec.Attention(heads=2),
        feed_forward=spec.GLU(multiple=4),
        norm=spec.RMSNorm(),
        position=spec.Rotary(),
        placement=placement,
        residual=residual,
        cross=spec.Attention(heads=3) if cross else None,
        **settings,
    ).double()
    torch.manual_seed(1)
    for name, parameter in made.named_parameters():
        if "gain" in name:  # every norm and residual its own
            torch.nn.init.normal_(parameter)
    return made


def by_hand(b, placement, join, x, memory):
    """The formulas of the placements, branch by branch."""

    def n(name, x):
        return rms_norm(x, 1e-5) * getattr(b, name).gain

    def r(name, x, f):
        return join(x, f, getattr(b, f"{name}_residual"))

    branches = {"mixer": lambda x: b.mixer(x)}
    if memory is not None:
        branches["cross"] = lambda x: b.cross.attend_to(x, *b.cross.keys_and_values(memory))
    branches["feed_forward"] = lambda x: b.feed_forward(x)
    if placement.startswith("parallel"):
        one = n("mixer_norm", x)
        other = one if placement == "parallel" else n("feed_forward_norm", x)
        return r("mixer", x, b.mixer(one) + b.feed_forward(other))
    for name, f in branches.items():
        if placement == "pre":
            x = r(name, x, f(n(f"{name}_norm", x)))
        elif placement == "post":
            x = n(f"{name}_norm", r(name, x, f(x)))
        elif placement == "double":
            x = r(name, x, n(f"{name}_out_norm", f(n(f"{name}_norm", x))))
        else:
            assert placement == "output"
            x = r(name, x, n(f"{name}_norm", f(x)))
    return x


@pytest.mark.parametrize("residual", RESIDUALS)
@pytest.mark.parametrize(
    ("placement", "cross"),
    [(p, False) for p in get_args(spec.Placement)] + [(p, True) for p in ("pre", "post", "double", "output")],
)
def test_each_placement_and_residual_is_its_formula(placement, residual, cross):
    part, join = RESIDUALS[residual]
    b = block(placement, part, cross)
    x = torch.randn(2, 5, WIDTH, dtype=torch.float64)
    memory = torch.randn(2, 3, WIDTH, dtype=torch.float64) if cross else None
    torch.testing.assert_close(b(x, None, None, memory), by_hand(b, placement, join, x, memory), **EXACT)
    used = torch.autograd.grad(b(x, None, None, memory).sum(), list(b.parameters()))  # all are used
    assert len(used) == len(list(b.parameters()))


def test_placements_and_residuals_differ():
    """None is another in disguise."""
    x = torch.randn(2, 5, WIDTH, dtype=torch.float64)
    outputs = [
        block(placement, part)(x)
        for placement, (part, _) in itertools.product(get_args(spec.Placement), RESIDUALS.values())
    ]
    for a, b in itertools.combinations(outputs, 2):
        assert not torch.allclose(a, b)


def test_deepnorm_with_constants_of_one_is_post_norm_with_a_plain_residual():
    deep = block("post", spec.DeepNorm(alpha=1.0, beta=1.0), cross=True)
    plain = block("post", spec.Plain(), cross=True)
    plain.load_state_dict(deep.state_dict())
    x, memory = torch.randn(2, 5, WIDTH).double(), torch.randn(2, 3, WIDTH).double()
    assert torch.equal(deep(x, None, None, memory), plain(x, None, None, memory))


def test_any_norm_goes_with_any_feed_forward():
    x = torch.randn(2, 5, 16)
    for norm in members(spec.Norm):
        for feed_forward in members(spec.FeedForward):
            b = Block(16, mixer=spec.Attention(heads=2), feed_forward=feed_forward(), norm=norm())
            middle = x + b.mixer(b.mixer_norm(x))
            assert torch.equal(b(x), middle + b.feed_forward(b.feed_forward_norm(middle)))


@pytest.mark.parametrize("placement", get_args(spec.Placement))
def test_dropout_acts_on_each_branch_once(placement):
    """Two branches in a row drop twice, side by side once; in evaluation none."""
    b, without = block(placement, dropout=0.5), block(placement)
    x = torch.randn(2, 5, WIDTH, dtype=torch.float64)
    calls = []
    b.dropout.register_forward_hook(lambda *_: calls.append(1))
    assert not torch.allclose(b(x), without(x))
    assert len(calls) == (1 if placement.startswith("parallel") else 2)
    assert torch.equal(b.eval()(x), without(x))


def test_the_scope_reaches_the_mixer():
    b = block()
    x = torch.randn(2, 5, WIDTH, dtype=torch.float64)
    other = x.clone()
    other[:, -1] += 1
    assert torch.equal(b(x)[:, :-1], b(other)[:, :-1])
    assert not torch.allclose(
        b(x, AttentionMask(causal=False))[:, 0], b(other, AttentionMask(causal=False))[:, 0]
    )


def test_a_memory_is_asked_for_and_kept():
    b = block(cross=True)
    x, memory = torch.randn(2, 5, WIDTH).double(), torch.randn(2, 3, WIDTH).double()
    with pytest.raises(ValueError, match="attends to a memory, and none was given"):
        b(x)
    with torch.no_grad():
        cache = b.cache(2, 5)
        assert (cache.length, cache.bytes) == (0, 0)
        parts = [b(x[:, :2], None, cache, memory), b(x[:, 2:], None, cache)]
        whole = b(x, None, None, memory)
    torch.testing.assert_close(torch.cat(parts, dim=1), whole, **EXACT)
    own = 2 * WIDTH * 5
    assert cache.bytes == 8 * 2 * (own + 2 * WIDTH * 3)
    assert cache.length == 5


def test_ends_and_value_path_name_the_weights_of_every_branch():
    b = block(cross=True)
    names = {id(p): n for n, p in b.named_parameters()}
    assert [names[id(end.weight)] for end in b.branch_ends()] == [
        "mixer.out.weight", "cross.out.weight", "feed_forward.down.weight",
    ]  # fmt: skip
    assert len(b.value_path()) == 2 + 2 + 3
    storages = [t.untyped_storage().data_ptr() for t in b.value_path()]
    expected = [
        "mixer.qkv.weight", "mixer.out.weight", "cross.kv.weight", "cross.out.weight",
        "feed_forward.gate.weight", "feed_forward.up.weight", "feed_forward.down.weight",
    ]  # fmt: skip
    assert storages == [b.get_parameter(n).untyped_storage().data_ptr() for n in expected]


@pytest.mark.parametrize("placement", get_args(spec.Placement))
def test_norms_are_built_where_they_stand_and_nowhere_else(placement):
    count = {"pre": 2, "post": 2, "double": 4, "output": 2, "parallel": 1, "parallel-two": 2}[placement]
    b = Block(
        WIDTH, mixer=spec.Attention(heads=2), feed_forward=spec.MLP(), norm=spec.LayerNorm(),
        placement=placement,
    )  # fmt: skip
    assert sum(isinstance(m, LayerNorm) for m in b.modules()) == count
