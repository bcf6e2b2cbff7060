"""Constructors take what a specification takes, in its words, and modules; and refuse what it refuses, in the
same sentence."""

from __future__ import annotations

import inspect

import pytest
import torch
import torch.nn as nn
import torch.nn.functional as F

from danlu import spec
from danlu.nn import (
    GLU,
    LRU,
    MLP,
    Attention,
    Block,
    FiLM,
    GroupNorm,
    HeadPosition,
    Kerple,
    LatentAttention,
    LayerScale,
    Learned,
    Linear,
    RMSNorm,
    Rotary,
    ScorePosition,
    Sinks,
    VQAttention,
)  # fmt: skip
from danlu.spec.errors import SpecError


def same(a: nn.Module, b: nn.Module) -> bool:
    """One structure, whatever the weights."""
    return repr(a) == repr(b) and {n: p.shape for n, p in a.named_parameters()} == {
        n: p.shape for n, p in b.named_parameters()
    }


@pytest.mark.parametrize(
    ("name", "word", "mapping", "part"),
    [
        ("position", "rotary", {"kind": "rotary"}, spec.Rotary()),
        ("position", "kerple", {"kind": "kerple", "form": "log"}, spec.Kerple()),
        ("weights", "sinks", {"kind": "sinks"}, spec.Sinks()),
        ("gate", "elements", {"kind": "elements"}, spec.ElementGate()),
        ("qk_norm", "rms", {"norm": "rms", "gain": True}, spec.QKNorm(gain=True)),
        ("sparse", "strided", {"kind": "strided"}, spec.Strided()),
    ],
)
def test_attention_takes_words_mappings_and_specifications(name, word, mapping, part):
    made = [Attention(64, heads=4, **{name: given}) for given in (word, mapping, part)]
    assert same(made[0], made[1])
    assert same(made[1], made[2])
    assert not same(made[0], Attention(64, heads=4)) or name == "sparse"
    assert getattr(made[0], "sparse" if name == "sparse" else "heads") in (spec.Strided(), 4)


@pytest.mark.parametrize(
    ("name", "word", "mapping", "part"),
    [
        ("mixer", "lru", {"kind": "lru"}, spec.LRU()),
        ("feed_forward", "glu", {"kind": "glu"}, spec.GLU()),
        ("norm", "layer", {"kind": "layer", "eps": 1e-5}, spec.LayerNorm()),
        ("residual", "rezero", {"kind": "rezero"}, spec.ReZero()),
        ("position", "rotary", {"kind": "rotary"}, spec.Rotary()),
    ],
)
def test_blocks_take_words_mappings_and_specifications(name, word, mapping, part):
    made = [Block(32, **{name: given}) for given in (word, mapping, part)]
    assert same(made[0], made[1])
    assert same(made[1], made[2])
    assert not same(made[0], Block(32))


def test_modules_stand_for_parts():
    """Used as they are; where a block has several of one kind, each is a copy."""
    x = torch.randn(2, 5, 64)
    rotary, gate = Rotary(16), nn.Identity()
    mixer = Attention(64, heads=4, position=rotary)
    assert mixer.position is rotary
    by_word = Attention(64, heads=4, position="rotary")
    by_word.load_state_dict(mixer.state_dict())
    assert torch.equal(mixer(x), by_word(x))

    feed_forward, norm = MLP(64), nn.LayerNorm(64)
    block = Block(64, mixer=mixer, feed_forward=feed_forward, norm=norm, residual=LayerScale(64, init=0.5))
    assert block.mixer is mixer
    assert block.feed_forward is feed_forward
    norms = [m for m in block.modules() if isinstance(m, nn.LayerNorm)]
    assert len(norms) == 2
    assert norms[0] is not norms[1]
    by_hand = x + 0.5 * mixer(norm(x))
    by_hand = by_hand + 0.5 * feed_forward(norm(by_hand))
    torch.testing.assert_close(block(x), by_hand)

    sinks = Sinks(4)
    assert Attention(64, heads=4, weights=sinks).weights is sinks
    q_and_k = Attention(64, heads=4, qk_norm=RMSNorm(16))
    assert isinstance(q_and_k.q_norm, RMSNorm)
    assert q_and_k.q_norm is not q_and_k.k_norm
    assert gate is Attention(64, gate=gate).gate


def test_functions_stand_for_parts():
    x = torch.randn(3, 8)
    mlp = MLP(8, activation=F.mish)
    torch.testing.assert_close(mlp(x), mlp.down(F.mish(mlp.up(x))))
    glu = GLU(8, activation=nn.Mish())
    torch.testing.assert_close(glu(x), glu.down(F.mish(glu.gate(x)) * glu.up(x)))
    squared = Attention(8, heads=2, weights=lambda scores: scores.softmax(-1).square())
    assert squared(x[None]).shape == (1, 3, 8)


def test_own_positions():
    """By the place that their base class stands for; a learned one is trained with the attention."""

    class Shift(HeadPosition):
        def forward(self, x, start=0):
            return x + torch.arange(start, start + x.shape[-2])[:, None]

    class Nearer(ScorePosition):
        def __init__(self):
            super().__init__()
            self.rate = nn.Parameter(torch.ones(()))

        def bias(self, q, keys, offset=0, causal=True):
            i = torch.arange(offset, offset + q.shape[-2])[:, None]
            return (-self.rate * (i - torch.arange(keys)).abs()).expand(q.shape[1], -1, -1)

    x = torch.randn(1, 6, 16)
    for position in (Shift(), Nearer()):
        mixer = Attention(16, heads=2, position=position)
        cache = mixer.cache(1, 6)
        steps = torch.cat([mixer(x[:, i : i + 1], None, cache) for i in range(6)], 1)
        torch.testing.assert_close(steps, mixer(x), rtol=1e-4, atol=1e-5)
    mixer(x).sum().backward()
    assert position.rate.grad is not None
    assert "position.rate" in mixer.state_dict()


REFUSED = [
    (lambda: Attention(64, heads=5), "heads = 5 does not divide width = 64; choose heads among 1, 2, 4"),
    (lambda: Attention(64, heads=0), "heads = 0 is not a whole number greater than 0"),
    (lambda: Attention(-64), "width = -64 is not a whole number greater than 0"),
    (lambda: Attention(64, heads=4, kv_heads=3), "kv_heads = 3 does not divide heads = 4; allowed: 1, 2, 4"),
    (lambda: Attention(64, head=4), "did you mean heads?"),
    (lambda: Attention(64, position="rotery"), "did you mean rotary?"),
    (lambda: Attention(64, weights="softmx"), "did you mean softmax?"),
    (lambda: Attention(64, qk_norm="rmss"), "did you mean rms?"),
    (lambda: Attention(64, gate={"kind": "heads", "open": 2.0}), "gate.open = 2.0 is not a number"),
    (lambda: Attention(64, window=2, sparse="strided"), "two patterns for one layer"),
    (lambda: Attention(20, heads=4, position="rotary"), "allowed: an even head size"),
    (lambda: Attention(64, heads=4, position=Rotary(8)), "has size = 8, and attention has size = 16"),
    (lambda: Attention(64, heads=4, position=Kerple), "position = "),
    (lambda: Attention(64, position=nn.Linear(3, 4)), "Linear does not say where it acts"),
    (lambda: LatentAttention(64, heads=5), "heads = 5 does not divide width = 64"),
    (lambda: VQAttention(64, position="rotary"), "has relative positions of its own"),
    (lambda: LRU(64, r_min=0.9, r_max=0.5), "do not make a ring inside the unit circle"),
    (lambda: MLP(64, activation="mish"), "activation = 'mish' is not relu, gelu, gelu-tanh, relu2 or silu"),
    (lambda: MLP(-1), "width = -1 is not a whole number greater than 0"),
    (lambda: GLU(8, hidden=-3), "hidden = -3 is not a whole number greater than 0"),
    (lambda: RMSNorm(8, eps=-1.0), "eps = -1.0 is not a number greater than 0"),
    (lambda: RMSNorm(8, gain=False, around_one=True), "around_one = true is about the gain"),
    (lambda: FiLM(8, condition=0), "condition = 0 is not a whole number greater than 0"),
    (lambda: GroupNorm(8, groups=3), "groups = 3 does not divide width = 8"),
    (lambda: Learned(8, 0), "context = 0 is not a whole number greater than 0"),
    (lambda: Block(64, norm="rmms"), "did you mean rms?"),
    (lambda: Block(64, norm=RMSNorm), "norm = "),
    (lambda: Block(64, feed_forward={"kind": "glu", "activation": "mish"}), "activation = 'mish'"),
    (lambda: Block(64, mixer={"kind": "attention", "heads": 5}), "heads = 5 does not divide width = 64"),
    (lambda: Block(64, placement="before"), "placement = 'before' is not pre, post"),
]  # fmt: skip


@pytest.mark.parametrize(("make", "sentence"), REFUSED, ids=[s for _, s in REFUSED])
def test_refused_as_by_the_specification(make, sentence):
    with pytest.raises(ValueError) as refused:
        make()
    assert sentence in str(refused.value)
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda: Attention(64, weights="softmx"), "model.mixer.weights=softmx"),
        (lambda: Attention(64, heads=5), "model.width=64 model.mixer.heads=5"),
        (lambda: MLP(64, activation="mish"), "model.feed_forward.activation=mish"),
        (lambda: MLP(-1), "model.width=-1"),
        (lambda: Block(64, norm="rmms"), "model.norm=rmms"),
        (lambda: Block(64, position="rotery"), "model.position=rotery"),
        (lambda: RMSNorm(8, eps=-1.0), "model.norm.eps=-1.0"),
    ],
)
def test_the_sentence_is_that_of_an_experiment(make, words):
    """But for the name of the place."""
    with pytest.raises(ValueError) as refused:
        make()
    with pytest.raises(SpecError) as of_experiment:
        spec.resolve(f"nano {words}")
    sentence = str(of_experiment.value)
    for place in ("model.mixer.", "model.feed_forward.", "model.norm.eps", "model.", "model: ", "mixer."):
        sentence = sentence.replace(place, place.rpartition(".")[2] if place.endswith("eps") else "")
    assert str(refused.value) == sentence


def test_signatures_stay_readable():
    assert list(inspect.signature(Attention).parameters)[:3] == ["width", "position", "heads"]
    assert Attention.__init__.__name__ == "__init__"
    assert isinstance(Attention(8, heads=2).out, Linear)
