"""Cached passes, the choice of the next token, and text written one token after another."""

from __future__ import annotations

from fractions import Fraction

import pytest
import torch
from hypothesis import example, given, settings
from hypothesis import strategies as st

from danlu import spec
from danlu.files.errors import DanluError
from danlu.models import generate, pick
from tests.models.small import ATTENTIONS, CONTEXT, EVERY, small, tokens

DRAWS = 4000
ENDLESS = ("vq", "lru")  # whose caches take as many positions as come
SOURCE = 7


def decoder(name="rotary", seed=0):
    """In float64, so that a cached and an uncached pass never choose different tokens."""
    return small(seed=seed, tied=False, **EVERY[name]).eval()


def in_chunks(model, text, chunks, caches, **more):
    """Logits of the text, given to the caches in ``chunks`` in turn, as often as needed."""
    logits, start = [], 0
    while start < text.shape[1]:
        stop = min(text.shape[1], start + chunks[len(logits) % len(chunks)])
        logits.append(model(text[:, start:stop], caches=caches, **more))
        more = {}
        start = stop
        assert all(cache.length == stop for cache in caches)
    return torch.cat(logits, dim=1)


@torch.no_grad()
@pytest.mark.parametrize("name", EVERY)
@settings(max_examples=4, deadline=None)
@example([1], 0)
@example([CONTEXT], 0)
@given(st.lists(st.integers(1, CONTEXT), min_size=1, max_size=CONTEXT), st.integers(0, 2**31))
def test_cached_logits_are_uncached_logits(name, chunks, seed):
    """Token by token, in chunks, at once; and the caches hold what they are said to hold."""
    model = decoder(name, seed)
    text = tokens()
    caches = model.caches(2, CONTEXT)
    logits = in_chunks(model, text, chunks, caches)
    close = 1e-6 if name == "rerope-window" else 1e-9  # which turns keys anew, by float32 angles
    torch.testing.assert_close(logits, model(text), rtol=close, atol=close)
    assert sum(cache.bytes for cache in caches) == 2 * model.cache_bytes(CONTEXT, 8)
    if name not in ENDLESS:
        with pytest.raises(ValueError, match=r"asked for|beyond"):
            model(text[:, :1], caches=caches)


@torch.no_grad()
@pytest.mark.parametrize("name", EVERY)
def test_caches_in_bfloat16_hold_what_they_are_said_to_hold(name):
    model = small(double=False, **EVERY[name]).eval()
    model.compute = torch.bfloat16
    caches = model.caches(3, CONTEXT)
    in_chunks(model, tokens(3), [5, 1], caches)
    assert sum(cache.bytes for cache in caches) == 3 * model.cache_bytes(CONTEXT, 2)


def test_a_windows_cache_is_the_window():
    caches = [decoder(name).cache_bytes(100, 1) for name in ("window", "rotary")]
    assert caches == [2 * 2 * 16 * 3, 2 * 2 * 16 * 100]


def writer(name, seed=0):
    return small(spec.EncoderDecoder, seed=seed, encoder_layers=1, **ATTENTIONS[name]).eval()


@torch.no_grad()
@pytest.mark.parametrize("name", ATTENTIONS)
@pytest.mark.parametrize("chunks", [[1], [5, 2]])
def test_a_memory_is_read_once(name, chunks):
    """The first chunk brings the memory, or the encoder's tokens; the others need neither."""
    model, text, source = writer(name), tokens(), tokens(2, SOURCE)
    expected = model(text, encoder_tokens=source)
    for more in ({"encoder_tokens": source}, {"memory": model.encode(source)}):
        caches = model.caches(2, CONTEXT)
        logits = in_chunks(model, text, chunks, caches, **more)
        torch.testing.assert_close(logits, expected, rtol=1e-9, atol=1e-9)
        assert sum(cache.bytes for cache in caches) == 2 * model.cache_bytes(CONTEXT, 8, SOURCE)


@torch.no_grad()
@pytest.mark.parametrize("count", [5, 30])
def test_generation_attends_to_the_memory(count):
    """Also beyond the context, where the caches are filled anew."""
    model, prompt = writer("rotary", seed=1), tokens(2, 3)
    memory = model.encode(tokens(2, SOURCE))
    got = generate(model, prompt, count=count, context=CONTEXT, memory=memory, temperature=0)
    written = torch.cat(list(got), dim=1)
    assert torch.equal(written, likeliest(model, prompt, count, CONTEXT, memory=memory))
    other = generate(model, prompt, count=count, context=CONTEXT, memory=-memory, temperature=0)
    assert not torch.equal(torch.cat(list(other), dim=1), written)


@torch.no_grad()
def likeliest(model, prompt, count, context, **more):
    """Token by token without a cache: all that is visible, or its last half once the context is full."""
    visible, written = prompt[:, -context:], []
    for _ in range(count):
        if visible.shape[1] > context:
            visible = visible[:, -(context // 2) :]
        written.append(model(visible, **more)[:, -1].argmax(dim=-1, keepdim=True))
        visible = torch.cat((visible, written[-1]), dim=1)
    return torch.cat(written, dim=1)


@pytest.mark.parametrize("length", [1, 5, CONTEXT, 3 * CONTEXT])
@pytest.mark.parametrize("name", ["rotary", "gqa-window", "learned", "none", "t5", "latent", "vq", "lru"])
def test_temperature_zero_takes_the_likeliest(name, length):
    """Also beyond the context, where learned positions would run out."""
    model = decoder(name)
    prompt = tokens(2, length)
    got = torch.cat(list(generate(model, prompt, count=30, context=CONTEXT, temperature=0)), dim=1)
    assert torch.equal(got, likeliest(model, prompt, 30, CONTEXT))
    assert len(got.unique()) > 1


@pytest.mark.parametrize("context", [1, 2, 3])
def test_tiny_contexts(context):
    model = decoder()
    prompt = tokens(1, 4)
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


@pytest.mark.parametrize("bad", [float("nan"), float("inf")])
def test_logits_that_are_not_finite(bad: float) -> None:
    logits = torch.zeros(2, 5)
    logits[1, 3] = bad
    for temperature in (0.0, 1.0):
        with pytest.raises(DanluError, match="weights diverged"):
            pick(logits, temperature=temperature)


def test_any_temperature_near_zero_takes_the_likeliest() -> None:
    logits = torch.randn(4, 9)
    for temperature in (1e-20, 1e-38, 5e-324):
        assert torch.equal(pick(logits, temperature=temperature), logits.argmax(-1, keepdim=True))
