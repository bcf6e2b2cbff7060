"""Cached passes, the choice of the next token, and text written one token after another."""

from __future__ import annotations

from fractions import Fraction

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from danlu import spec
from danlu.models import build, generate, pick

VOCABULARY, CONTEXT, DRAWS = 13, 12, 4000
MIXERS = [
    spec.Attention(),
    spec.Attention(heads=4, kv_heads=2, window=3),
    spec.Attention(heads=2, kv_heads=1, qk_norm=spec.QKNorm(when="before")),
    spec.Attention(heads=2, window=5, qk_norm=spec.QKNorm(when="after", gain=True)),
]
POSITIONS = [spec.Rotary(), spec.Rotary(layout="interleaved"), spec.Learned(), spec.NoPosition()]


def decoder(mixer=MIXERS[0], position=POSITIONS[0], seed=0):
    """In float64, so that a cached and an uncached pass never choose different tokens."""
    torch.manual_seed(seed)
    init = spec.Init(embedding=1.0, branch="same")
    whole = spec.Decoder(layers=2, width=16, mixer=mixer, position=position, tied=False, init=init)
    model = build(whole, VOCABULARY, CONTEXT).double()
    model.compute = torch.float64
    return model


@torch.no_grad()
@settings(max_examples=40, deadline=None)
@given(
    st.sampled_from(MIXERS),
    st.sampled_from(POSITIONS),
    st.lists(st.integers(1, CONTEXT), min_size=1, max_size=CONTEXT),
    st.integers(0, 2**31),
)
def test_cached_logits_are_uncached_logits(mixer, position, chunks, seed):
    model = decoder(mixer, position, seed)
    tokens = torch.randint(VOCABULARY, (2, CONTEXT))
    caches = model.caches(2, CONTEXT)
    logits, start = [], 0
    while start < CONTEXT:  # the chunks in turn, as often as needed
        stop = min(CONTEXT, start + chunks[len(logits) % len(chunks)])
        logits.append(model(tokens[:, start:stop], caches=caches))
        start = stop
        assert all(cache.length == stop for cache in caches)
    torch.testing.assert_close(torch.cat(logits, dim=1), model(tokens), rtol=1e-6, atol=1e-6)
    with pytest.raises(ValueError, match=r"asked for|beyond"):
        model(tokens[:, :1], caches=caches)


@torch.no_grad()
def likeliest(model, prompt, count, context):
    """Token by token without a cache: all that is visible, or its last half once the context is full."""
    visible, written = prompt[:, -context:], []
    for _ in range(count):
        if visible.shape[1] > context:
            visible = visible[:, -(context // 2) :]
        written.append(model(visible)[:, -1].argmax(dim=-1, keepdim=True))
        visible = torch.cat((visible, written[-1]), dim=1)
    return torch.cat(written, dim=1)


@pytest.mark.parametrize("length", [1, 5, CONTEXT, 3 * CONTEXT])
@pytest.mark.parametrize("position", POSITIONS, ids=lambda p: p.kind)
@pytest.mark.parametrize("mixer", MIXERS[:2])
def test_temperature_zero_takes_the_likeliest(mixer, position, length):
    """Also beyond the context, where learned positions would run out."""
    model = decoder(mixer, position)
    prompt = torch.randint(VOCABULARY, (2, length))
    got = torch.cat(list(generate(model, prompt, count=30, context=CONTEXT, temperature=0)), dim=1)
    assert torch.equal(got, likeliest(model, prompt, 30, CONTEXT))
    assert len(got.unique()) > 1


@pytest.mark.parametrize("context", [1, 2, 3])
def test_tiny_contexts(context):
    model = decoder()
    prompt = torch.randint(VOCABULARY, (1, 4))
    got = list(generate(model, prompt, count=9, context=context, temperature=0))
    assert len(got) == 9
    if context > 1:
        assert torch.equal(torch.cat(got, dim=1), likeliest(model, prompt, 9, context))


def test_a_seed_writes_the_same_text_and_another_seed_another():
    model = decoder()
    prompt = torch.zeros(1, 1, dtype=torch.int64)

    def text(seed):
        return torch.cat(list(generate(model, prompt, count=40, context=CONTEXT, temperature=2.0, seed=seed)))

    one = text(1)
    torch.randn(3)  # the global generator plays no part
    assert torch.equal(text(1), one)
    assert not torch.equal(text(2), one)


@pytest.mark.parametrize("training", [True, False])
def test_generation_leaves_the_model_as_it_was(training):
    model = decoder().train(training)
    writing = generate(model, torch.zeros(1, 1, dtype=torch.int64), count=3, context=CONTEXT)
    first = next(writing)
    assert not model.training
    assert not first.requires_grad
    assert torch.is_grad_enabled()
    writing.close()
    assert model.training == training
    assert all(p.grad is None for p in model.parameters())


def draws(probabilities, **settings):
    logits = torch.tensor(probabilities, dtype=torch.float64).log().expand(DRAWS, -1)
    ids = pick(logits, generator=torch.Generator().manual_seed(0), **settings)
    assert ids.shape == (DRAWS, 1)
    return ids.flatten().bincount(minlength=len(probabilities))


weights = st.lists(st.integers(1, 20), min_size=1, max_size=8, unique=True)


@settings(max_examples=30, deadline=None)
@given(weights, st.integers(1, 10))
def test_top_k_keeps_the_k_likeliest(weights, k):
    """Every kept token has a share of at least 1/160, so that 4,000 draws miss it once in 10¹⁰."""
    probabilities = [w / sum(weights) for w in weights]
    kept = sorted(range(len(weights)), key=weights.__getitem__, reverse=True)[:k]
    assert draws(probabilities, top_k=k).nonzero().flatten().tolist() == sorted(kept)


@settings(max_examples=30, deadline=None)
@given(weights, st.integers(1, 1000))
def test_top_p_keeps_the_smallest_set_that_reaches_p(weights, thousandths):
    order = sorted(range(len(weights)), key=weights.__getitem__, reverse=True)
    p = Fraction(2 * thousandths - 1, 2001)  # 2001 = 3·23·29: no sum of shares comes within rounding of p
    mass, kept = Fraction(0), []
    for i in order:
        kept.append(i)
        mass += Fraction(weights[i], sum(weights))
        if mass >= p:
            break
        if abs(mass - p) < 1e-9:
            return
    if abs(mass - p) < 1e-9:
        return
    drawn = draws([w / sum(weights) for w in weights], top_p=float(p))
    assert drawn.nonzero().flatten().tolist() == sorted(kept)


@pytest.mark.parametrize("top_p", [0.0, 1e-9, 1.0])
def test_top_p_at_its_ends(top_p):
    """However small, it keeps the likeliest token; at 1, all."""
    kept = draws([0.2, 0.5, 0.3], top_p=top_p).nonzero().flatten().tolist()
    assert kept == ([0, 1, 2] if top_p == 1 else [1])


def assert_frequencies(counts, expected):
    """Within five standard errors of the probability of each token."""
    expected = torch.tensor(expected, dtype=torch.float64)
    error = (expected * (1 - expected) / DRAWS).sqrt()
    assert ((counts / DRAWS - expected).abs() <= 5 * error).all()


@pytest.mark.parametrize("temperature", [0.5, 1.0, 3.0])
def test_temperature_raises_probabilities_to_its_inverse(temperature):
    probabilities = [0.6, 0.3, 0.1]
    powers = [p ** (1 / temperature) for p in probabilities]
    expected = [p / sum(powers) for p in powers]
    assert_frequencies(draws(probabilities, temperature=temperature), expected)


def test_what_is_kept_is_drawn_in_proportion():
    assert_frequencies(draws([0.4, 0.3, 0.2, 0.1], top_k=2), [4 / 7, 3 / 7, 0, 0])
    assert_frequencies(draws([0.4, 0.3, 0.2, 0.1], top_p=0.8), [4 / 9, 3 / 9, 2 / 9, 0])


def test_top_p_comes_after_temperature():
    """At temperature 2 the probabilities 0.8, 0.15, 0.05 become 0.58, 0.25, 0.17."""
    counts = [draws([0.8, 0.15, 0.05], temperature=t, top_p=0.79) for t in (1.0, 2.0)]
    assert [c.count_nonzero().item() for c in counts] == [1, 2]


def test_temperature_zero_is_the_likeliest_of_each_row():
    logits = torch.randn(50, 9)
    assert torch.equal(pick(logits, temperature=0), logits.argmax(dim=-1, keepdim=True))
