"""Attention written out; its cache; what it may not see."""

from __future__ import annotations

import itertools

import pytest
import torch
import torch.nn.functional as F

from danlu import spec
from danlu.nn import Attention, KVCache, Rotary, kernels, rms_norm

WIDTH = 12


def attention(position=None, **settings):
    return Attention(WIDTH, position, **settings).double()


def written_out(layer, x, *, heads, kv_heads, size, rotary=None, qk_norm=None, scale=None):
    """Each head by itself, from the same weights."""
    rows = layer.qkv.weight.split([heads * size, kv_heads * size, kv_heads * size])
    bias = [None] * 3
    if layer.qkv.bias is not None:
        bias = layer.qkv.bias.split([heads * size, kv_heads * size, kv_heads * size])
    q, k, v = (F.linear(x, w, b).split(size, dim=-1) for w, b in zip(rows, bias, strict=True))

    def place(t):
        if qk_norm == "before":
            t = rms_norm(t, 1e-6)
        if rotary is not None:
            t = rotary(t[:, None])[:, 0]
        return rms_norm(t, 1e-6) if qk_norm == "after" else t

    outputs = []
    for h in range(heads):
        g = h * kv_heads // heads
        scores = place(q[h]) @ place(k[g]).transpose(1, 2) * (scale or size**-0.5)
        future = torch.ones(scores.shape[-2:], dtype=torch.bool).triu(1)
        outputs.append(scores.masked_fill(future, float("-inf")).softmax(dim=-1) @ v[g])
    return F.linear(torch.cat(outputs, dim=-1), layer.out.weight, layer.out.bias)


@pytest.mark.parametrize("qk_norm", [None, "before", "after"])
@pytest.mark.parametrize("layout", [None, "half", "interleaved"])
@pytest.mark.parametrize(
    ("heads", "kv_heads", "size", "bias", "scale"),
    [(3, 3, 4, False, None), (6, 2, 2, True, 0.3), (2, 1, 10, False, None)],
)
def test_attention_is_its_formula(qk_norm, layout, heads, kv_heads, size, bias, scale):
    position = None if layout is None else spec.Rotary(layout=layout, base=100.0)
    layer = attention(
        position,
        heads=heads,
        kv_heads=kv_heads,
        head_size=size,
        bias=bias,
        scale=scale,
        qk_norm=spec.QKNorm(when=qk_norm) if qk_norm else None,
    )
    x = torch.randn(2, 9, WIDTH, dtype=torch.float64)
    rotary = None if layout is None else Rotary(size, base=100.0, layout=layout)
    expected = written_out(
        layer, x, heads=heads, kv_heads=kv_heads, size=size, rotary=rotary, qk_norm=qk_norm, scale=scale
    )
    torch.testing.assert_close(layer(x), expected, rtol=1e-10, atol=1e-11)


def test_shared_heads_are_repeated_heads():
    """Grouped-query attention is full attention whose key and value rows are copied."""
    shared = attention(spec.Rotary(), heads=6, kv_heads=2)
    full = attention(spec.Rotary(), heads=6)
    q, k, v = shared.qkv.weight.detach().split([12, 4, 4])
    copies = [t.view(2, 2, WIDTH).repeat_interleave(3, dim=0).reshape(12, WIDTH) for t in (k, v)]
    full.qkv.weight.data = torch.cat([q, *copies])
    full.out.weight.data = shared.out.weight.detach()
    x = torch.randn(2, 9, WIDTH, dtype=torch.float64)
    torch.testing.assert_close(shared(x), full(x), rtol=1e-12, atol=1e-12)


def test_defaults():
    layer = Attention(WIDTH, heads=3)
    assert (layer.kv_heads, layer.size, layer.scale) == (3, 4, 0.5)
    assert layer.qkv.bias is None
    gains = Attention(WIDTH, heads=3, qk_norm=spec.QKNorm(gain=True))
    assert gains.q_norm.gain.shape == gains.k_norm.gain.shape == (4,)
    assert not any(
        "norm" in n for n, _ in Attention(WIDTH, heads=3, qk_norm=spec.QKNorm()).named_parameters()
    )


@pytest.mark.parametrize(
    ("kernel", "window", "kv_heads", "packed", "qk_norm", "position"),
    list(
        itertools.product(
            ["plain", "sdpa"],
            [None, 3],
            [None, 1],
            [False, True],
            [None, spec.QKNorm(when="before"), spec.QKNorm(when="after")],
            [None, spec.Rotary()],
        )
    ),
)
def test_the_past_does_not_see_the_future(monkeypatch, kernel, window, kv_heads, packed, qk_norm, position):
    """Changing position t leaves outputs before it bit for bit, and changes its own."""
    monkeypatch.setattr(kernels, "choose", lambda *_, **__: kernels.Choice(kernel, "asked for"))
    monkeypatch.setattr(kernels, "BLOCK", 4)
    layer = attention(position, heads=2, kv_heads=kv_heads, window=window, qk_norm=qk_norm)
    documents = torch.tensor([[0, 0, 0, 0, 1, 1, 1, 2, 2]]) if packed else None
    x = torch.randn(1, 9, WIDTH, dtype=torch.float64)
    before = layer(x, documents=documents)
    for t in range(9):
        changed = x.clone()
        changed[:, t:] += torch.randn(1, 9 - t, WIDTH, dtype=torch.float64)
        after = layer(changed, documents=documents)
        assert torch.equal(after[:, :t], before[:, :t])
        assert not torch.allclose(after[:, t], before[:, t])


@pytest.mark.parametrize("kernel", ["plain", "sdpa"])
@pytest.mark.parametrize("window", [1, 2, 5])
def test_beyond_the_window_nothing_is_seen(monkeypatch, kernel, window):
    monkeypatch.setattr(kernels, "choose", lambda *_, **__: kernels.Choice(kernel, "asked for"))
    monkeypatch.setattr(kernels, "BLOCK", 4)
    layer = attention(spec.Rotary(), heads=2, window=window)
    x = torch.randn(1, 12, WIDTH, dtype=torch.float64, requires_grad=True)
    for t in range(12):
        (dx,) = torch.autograd.grad(layer(x)[0, t].sum(), x)
        seen = dx[0].abs().sum(dim=-1) > 0
        assert seen.nonzero().flatten().tolist() == list(range(max(0, t - window + 1), t + 1))


def test_cache_keeps_everything_in_order():
    cache = KVCache(2, 3, 7, 4)
    assert (cache.length, cache.bytes) == (0, 0)
    k, v = torch.randn(2, 2, 3, 7, 4)
    start = 0
    for new in (1, 4, 2):
        stop = start + new
        keys, values = cache.append(k[:, :, start:stop], v[:, :, start:stop])
        assert torch.equal(keys, k[:, :, :stop])
        assert torch.equal(values, v[:, :, :stop])
        assert cache.length == stop
        start = stop
    assert cache.bytes == 2 * 4 * 2 * 3 * 7 * 4


def test_cache_refuses_what_does_not_fit():
    cache = KVCache(1, 1, 4, 2)
    cache.append(torch.ones(1, 1, 3, 2), torch.ones(1, 1, 3, 2))
    with pytest.raises(ValueError, match="holds 4 positions; 5 were asked for"):
        cache.append(torch.ones(1, 1, 2, 2), torch.ones(1, 1, 2, 2))
    assert cache.length == 3  # and is as it was
    keys, _ = cache.append(torch.ones(1, 1, 1, 2), torch.ones(1, 1, 1, 2))
    assert torch.equal(keys, torch.ones(1, 1, 4, 2))


def test_cache_has_the_type_and_the_shared_heads_of_its_layer():
    layer = Attention(WIDTH, heads=6, kv_heads=2)
    cache = layer.cache(1, 5)
    layer(torch.randn(1, 3, WIDTH, dtype=torch.bfloat16), cache=cache)
    assert cache.bytes == 2 * 2 * 2 * 5 * 2  # two tensors, bfloat16, two heads, five positions, size two
