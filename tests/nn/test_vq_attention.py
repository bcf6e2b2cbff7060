"""Transformer-VQ: the linear form against the definition, decoding against the whole, costs as counted."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.autograd import gradcheck
from torch.utils.flop_counter import FlopCounterMode

from danlu import spec
from danlu.nn.masks import AttentionMask
from danlu.nn.registry import build
from danlu.nn.vq_attention import Far, Queries, VQAttention, attend_blocks, attend_quadratic, sum_up

BF16 = 2.0**-8  # rounding to bfloat16 changes a number by at most half of this share


def inputs(batch=2, heads=2, length=9, block=4, codes=3, size=2, value_size=3, dtype=torch.float64):
    """content, distance, codes, values, relative; and which code each key has."""

    def draw(*shape):
        return torch.randn(shape, dtype=dtype)

    z = torch.randint(codes, (batch, heads, length))
    tensors = [
        draw(batch, heads, length, size),
        draw(batch, heads, length, size),
        draw(heads, codes, size),
        draw(batch, heads, length, value_size),
        draw(heads, block + 1, size),
    ]
    return tensors, z


def words(codes, z):
    return torch.stack([codes[h][z[:, h]] for h in range(len(codes))], dim=1)


def framed(t, before, after):
    zeros = [t.new_zeros(*t.shape[:2], count, *t.shape[3:]) for count in (before, after)]
    return torch.cat((zeros[0], t, zeros[1]), dim=2)


def linear(content, distance, codes, v, relative, z):
    """The whole of a text by blocks: nothing before it, and the last block filled up with zeros."""
    block, length = relative.shape[1] - 1, z.shape[2]
    n = -(-length // block)
    k, v, z = (framed(t, block, n * block - length) for t in (words(codes, z), v, z))
    exact = torch.promote_types(v.dtype, torch.float32)
    shape = (*z.shape[:2], codes.shape[1])
    nothing = Far(torch.zeros(shape, dtype=exact), torch.zeros(*shape, v.shape[-1], dtype=exact))
    far = sum_up(z, v, nothing, block, n, start=0)
    return attend_blocks(Queries(content, distance), k, v, codes, relative, far)


def quadratic(content, distance, codes, v, relative, z):
    return attend_quadratic(Queries(content, distance), words(codes, z), v, relative)


shapes = given(
    batch=st.integers(1, 2),
    heads=st.integers(1, 3),
    length=st.integers(1, 40),
    block=st.integers(1, 7),
    codes=st.integers(1, 6),
    size=st.integers(1, 4),
    value_size=st.integers(1, 5),
)


@shapes
@settings(max_examples=60, deadline=None)
def test_linear_is_quadratic(**sizes):
    tensors, z = inputs(**sizes)
    torch.testing.assert_close(linear(*tensors, z), quadratic(*tensors, z), rtol=0, atol=1e-10)


@shapes
@settings(max_examples=20, deadline=None)
def test_gradients_agree_too(**sizes):
    """Also those of the code words, which collect the gradients of all keys that are equal to them."""
    tensors, z = inputs(**sizes)
    tensors = [t.requires_grad_() for t in tensors]
    weight = torch.randn_like(linear(*tensors, z))
    found, expected = (
        torch.autograd.grad((f(*tensors, z) * weight).sum(), tensors) for f in (linear, quadratic)
    )
    for a, b in zip(found, expected, strict=True):
        torch.testing.assert_close(a, b, rtol=0, atol=1e-10)


def test_the_definition():
    """The quadratic form, pair by pair."""
    (content, distance, codes, v, relative), z = inputs(batch=1, heads=1, length=7, block=2)
    k = words(codes, z)
    y = quadratic(content, distance, codes, v, relative, z)
    for i in range(7):
        scores = []
        for j in range(i + 1):
            score = content[0, 0, i] @ k[0, 0, j]
            if i - j <= 2:
                score = score + distance[0, 0, i] @ relative[0, i - j]
            scores.append(score)
        expected = torch.stack(scores).softmax(dim=0) @ v[0, 0, : i + 1]
        torch.testing.assert_close(y[0, 0, i], expected)


def test_gradcheck():
    tensors, z = inputs(batch=1, length=7, block=2)
    assert gradcheck(lambda *t: linear(*t, z), [t.requires_grad_() for t in tensors])


def test_a_long_text_in_float32():
    """Scores of hundreds, a code that stands for thousands of keys: float32 is as near to float64 as 300
    times its rounding (scores of about 2⁸ are known to 2⁸ roundings) of values of at most about 4."""
    tensors, z = inputs(batch=1, heads=1, length=4096, block=8, codes=2, size=8)
    tensors[0] *= 40
    y = linear(*(t.float() for t in tensors), z)
    assert y.isfinite().all()
    exact = linear(*(t.float().double() for t in tensors), z)
    assert (y - exact).abs().max() < 300 * 2.0**-23 * tensors[3].abs().max()


def test_values_in_bfloat16():
    """Weights, the two sums and their sum are each rounded once, by at most half of BF16."""
    tensors, z = inputs(length=70, block=8, dtype=torch.float32)
    v = tensors[3] = tensors[3].bfloat16()
    y = linear(*tensors, z)
    assert y.dtype == torch.bfloat16
    tensors[3] = v.float()
    assert (y.float() - linear(*tensors, z)).abs().max() <= 4 * BF16 / 2 * v.abs().max()


# --- the module ------------------------------------------------------------------------------------


def layer(width=12, dtype=torch.float64, **fields):
    fields = {"heads": 2, "codes": 5, "block": 4} | fields
    built = VQAttention(width, **fields)
    torch.nn.init.normal_(built.content)
    torch.nn.init.normal_(built.distance)
    return built.to(dtype).eval()


def test_the_layer_is_the_definition_of_its_parts():
    mixer, x = layer(key_size=3, value_size=5), torch.randn(2, 21, 12).double()
    q, k, v = (part.unflatten(-1, (2, -1)).transpose(1, 2) for part in mixer.qkv(x).split((6, 6, 10), -1))
    scale = 3**-0.25
    q, k = (t / (t.square().mean(-1, keepdim=True) + 1e-5).sqrt() for t in (q, k))
    u, w = (t.view(2, 1, 3) for t in (mixer.content, mixer.distance))
    sinusoids = [
        [f(t / 100_000 ** (2 * i / 12)) for f in (torch.sin, torch.cos) for i in range(6)]
        for t in torch.arange(5.0).double()
    ]
    relative = mixer.relative(torch.tensor(sinusoids).double()).view(5, 2, 3).transpose(0, 1)
    nearest = mixer.codebook.look_up(torch.cdist(k * scale, mixer.codebook.codes).argmin(-1))
    y = attend_quadratic(Queries((q + u) * scale, (q + w) * scale), nearest, v, relative * scale)
    expected = mixer.out(y.transpose(1, 2).flatten(2))
    # 1e-6: the sinusoids are kept in float32
    torch.testing.assert_close(mixer(x), expected, rtol=0, atol=1e-6)


@pytest.mark.parametrize("chunks", [[1] * 19, [19], [3, 5, 1, 10], [4, 4, 11], [7, 12], [1, 18]])
def test_decoding_is_the_whole(chunks):
    mixer, x = layer(dtype=torch.float32), torch.randn(2, 19, 12)
    cache = mixer.cache(2, 19)
    parts = [mixer(part, cache=cache) for part in x.split(chunks, dim=1)]
    torch.testing.assert_close(torch.cat(parts, dim=1), mixer(x), rtol=0, atol=1e-5)
    assert cache.length == 19


def test_the_cache_is_bounded_and_counted():
    mixer = layer(dtype=torch.float32, key_size=3, value_size=5)
    cache = mixer.cache(2, 1000)
    assert (cache.bytes, mixer.cache_bytes(0, 4)) == (0, 0)
    for length in range(1, 40):
        mixer(torch.randn(2, 1, 12), cache=cache)
        z, v, far = cache._held
        held = [z, v, *far]
        assert cache.bytes == sum(t.untyped_storage().nbytes() for t in held)
        assert cache.bytes == 2 * mixer.cache_bytes(length, 4)
        assert mixer.cache_bytes(length, 4) < 2 * (2 * 4 + 5) * (4 * 5 + 8)
    assert float(far.counts.sum()) == 2 * 2 * (39 // 4 - 1) * 4


@given(length=st.integers(2, 30), changed=st.integers(1, 29))
@settings(max_examples=20, deadline=None)
def test_the_future_does_not_matter(length, changed):
    mixer, x = layer(), torch.randn(1, length, 12).double()
    changed = min(changed, length - 1)
    other = torch.cat((x[:, :changed], torch.randn(1, length - changed, 12).double()), dim=1)
    before, after = mixer(x), mixer(other)
    torch.testing.assert_close(before[:, :changed], after[:, :changed], rtol=0, atol=1e-12)
    assert not torch.allclose(before[:, changed], after[:, changed])


def test_training_gathers_and_leaves_its_loss():
    mixer = layer(dtype=torch.float32, commitment=0.5)
    x = torch.randn(3, 10, 12)
    mixer(x)
    mixer.codebook.after_update()
    assert mixer.auxiliary is None
    assert torch.equal(mixer.codebook.counts, torch.ones(2, 5))
    mixer.train()(x)
    _, k, _ = mixer._project(x)
    nearest = torch.cdist(k, mixer.codebook.codes).amin(dim=-1)  # (batch, heads, positions)
    torch.testing.assert_close(mixer.auxiliary, 0.5 * nearest.square().sum(dim=1).mean())
    mixer.codebook.after_update()
    moved = mixer.codebook.counts.sum()
    torch.testing.assert_close(moved, torch.tensor(0.99 * 2 * 5 + 0.01 * 2 * 3 * 10))


def test_commitment_draws_keys_and_queries_learn_through_the_quantiser():
    mixer = layer(dtype=torch.float32).train()
    mixer(torch.randn(2, 10, 12))
    mixer.auxiliary.backward()
    queries, keys, values = mixer.qkv.weight.grad.split((12, 12, 12))
    assert keys.abs().max() > 0
    assert queries.abs().max() == values.abs().max() == 0
    mixer.zero_grad()
    mixer(torch.randn(2, 10, 12)).square().sum().backward()
    assert all(p.grad is not None and p.grad.abs().max() > 0 for p in mixer.parameters())


def test_bfloat16_is_near_float32(monkeypatch):
    """Where the same code words are nearest: input, maps and values are rounded about four times in a row."""
    mixer, x = layer(width=64, dtype=torch.float32, codes=16, block=16), torch.randn(2, 100, 64).bfloat16()
    z = mixer.codebook.nearest(mixer._project(x.float())[1])
    monkeypatch.setattr(mixer.codebook, "nearest", lambda k: z)
    y, exact = mixer(x), mixer(x.float())
    assert y.dtype == torch.bfloat16
    assert (y.float() - exact).square().mean() < (4 * BF16) ** 2 * exact.square().mean()


@pytest.mark.parametrize(("length", "sizes"), [(3, {}), (4, {}), (30, {"key_size": 3, "value_size": 5})])
def test_flops_are_pytorchs(length, sizes):
    mixer = layer(dtype=torch.float32, **sizes)
    with FlopCounterMode(display=False) as counter:
        mixer(torch.randn(2, length, 12))
    assert counter.get_total_flops() == mixer.flops(2, length)


def test_the_value_path():
    """Twice the weights of both ends is four times the output."""
    mixer, x = layer(), torch.randn(1, 11, 12).double()
    before = mixer(x)
    with torch.no_grad():
        for weight in mixer.value_path():
            weight *= 2
    torch.testing.assert_close(mixer(x), 4 * before)


def test_built_from_its_specification():
    mixer = build(spec.VQAttention(heads=2, codes=7, key_size=3, block=5, decay=0.5), 12, None, bias=True)
    assert isinstance(mixer, VQAttention)
    assert (mixer.block, mixer.key_size, mixer.value_size, mixer.codebook.decay) == (5, 3, 6, 0.5)
    assert mixer.codebook.codes.shape == (2, 7, 3)
    assert mixer(torch.randn(1, 6, 12)).shape == (1, 6, 12)


@pytest.mark.parametrize(
    "mask",
    [
        AttentionMask(causal=False),
        AttentionMask(prefix=3),
        AttentionMask(documents=torch.zeros(1, 6, dtype=torch.int64)),
    ],
)
def test_other_scopes_are_refused(mask):
    with pytest.raises(ValueError, match="VQAttention sums up"):
        layer()(torch.randn(1, 6, 12).double(), mask)
