"""Attention written out; its cache; what it may not see."""

from __future__ import annotations

import itertools

import pytest
import torch
import torch.nn.functional as F
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode

from danlu import spec
from danlu.nn import (
    Attention,
    AttentionMask,
    CrossAttention,
    KVCache,
    Rotary,
    build,
    kernels,
    plain,
    rms_norm,
)
from danlu.nn.masks import MaskPattern, boolean_mask

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


PATTERNS = {
    "all": {},
    "window": {"window": 3},
    "strided": {"sparse": spec.Strided(stride=3)},
    "fixed": {"sparse": spec.Fixed(block=4, columns=2)},
}


@pytest.mark.parametrize("kernel", ["plain", "sdpa", "eager"])
@pytest.mark.parametrize(
    ("pattern", "kv_heads", "packed", "qk_norm", "position"),
    list(
        itertools.product(
            PATTERNS,
            [None, 1],
            [False, True],
            [None, spec.QKNorm(when="before"), spec.QKNorm(when="after")],
            [None, spec.Rotary(), spec.T5Buckets()],
        )
    ),
)
def test_the_past_does_not_see_the_future(monkeypatch, kernel, pattern, kv_heads, packed, qk_norm, position):
    """Changing position t leaves outputs before it bit for bit, and changes its own."""
    monkeypatch.setattr(kernels, "choose", lambda *_, **__: kernels.Choice(kernel, "asked for"))
    monkeypatch.setattr(plain, "BLOCK", 4)
    layer = attention(position, heads=2, kv_heads=kv_heads, qk_norm=qk_norm, **PATTERNS[pattern])
    scope = AttentionMask(documents=torch.tensor([[0, 0, 0, 0, 1, 1, 1, 2, 2]]) if packed else None)
    x = torch.randn(1, 9, WIDTH, dtype=torch.float64)
    before = layer(x, scope)
    for t in (0, 4, 8):
        changed = x.clone()
        changed[:, t:] += torch.randn(1, 9 - t, WIDTH, dtype=torch.float64)
        after = layer(changed, scope)
        assert torch.equal(after[:, :t], before[:, :t])
        assert not torch.allclose(after[:, t], before[:, t])


def seen(layer, x, mask=None):
    """Which positions each position's output depends on, by gradients."""
    rows = []
    for t in range(x.shape[1]):
        (dx,) = torch.autograd.grad(layer(x, mask)[0, t].sum(), x)
        rows.append(dx[0].abs().sum(dim=-1) > 0)
    return torch.stack(rows)


@pytest.mark.parametrize("kernel", ["plain", "sdpa", "eager"])
@pytest.mark.parametrize("pattern", PATTERNS)
@pytest.mark.parametrize(
    "mask",
    [AttentionMask(), AttentionMask(causal=False), AttentionMask(prefix=5)],
    ids=["causal", "full", "prefix"],
)
def test_what_is_visible_and_nothing_else_is_seen(monkeypatch, kernel, pattern, mask):
    monkeypatch.setattr(kernels, "choose", lambda *_, **__: kernels.Choice(kernel, "asked for"))
    monkeypatch.setattr(plain, "BLOCK", 4)
    layer = attention(spec.Rotary(), heads=2, **PATTERNS[pattern])
    x = torch.randn(1, 12, WIDTH, dtype=torch.float64, requires_grad=True)
    pattern = MaskPattern(12, 12, mask.causal, mask.prefix, layer.window, layer.sparse)
    assert torch.equal(seen(layer, x, mask), boolean_mask(pattern, x.device))


def over_memory(layer, x, memory):
    """Attention to a memory by its formula, from the layer's own weights."""
    q = F.linear(x, layer.q.weight).unflatten(-1, (-1, layer.size)).transpose(1, 2)
    kv = F.linear(memory, layer.kv.weight).unflatten(-1, (2, layer.kv_heads, layer.size))
    k, v = kv.permute(2, 0, 3, 1, 4).repeat_interleave(layer.heads // layer.kv_heads, dim=2)
    q = q if layer.q_norm is None else rms_norm(q, 1e-6)
    k = k if layer.k_norm is None else rms_norm(k, 1e-6)
    y = (layer.scale * q @ k.mT).softmax(-1) @ v
    y = y if layer.gate is None else layer.gate(x, y)
    return F.linear(y.transpose(1, 2).flatten(2), layer.out.weight)


@pytest.mark.parametrize(
    "settings",
    [
        {},
        {"kv_heads": 1, "qk_norm": spec.QKNorm()},
        {"head_size": 5, "scale": 0.3, "gate": spec.HeadGate()},
        {"window": 2, "log_n": 2, "gate": spec.ElementGate()},
    ],
)
@pytest.mark.parametrize("length", [1, 4, 9])
def test_attention_to_a_memory_is_its_formula(settings, length):
    """Whether the memory is shorter or longer; what belongs to one sequence plays no part."""
    layer = CrossAttention(WIDTH, heads=2, **settings).double()
    x = torch.randn(2, length, WIDTH, dtype=torch.float64)
    memory = torch.randn(2, 5, WIDTH, dtype=torch.float64)
    k, v = layer.keys_and_values(memory)
    got = layer.attend_to(x, k, v)
    torch.testing.assert_close(got, over_memory(layer, x, memory), rtol=1e-12, atol=1e-12)
    with FlopCounterMode(display=False) as counter, sdpa_kernel(SDPBackend.MATH):
        layer.attend_to(x, *layer.keys_and_values(memory))
    assert counter.get_total_flops() == layer.flops_over(2, length, 5)


@pytest.mark.parametrize("biases", [None, "none", "inputs", "all"])
@pytest.mark.parametrize("bias", [False, True])
def test_which_maps_have_biases(biases, bias):
    expected = biases or ("all" if bias else "none")
    layer = Attention(WIDTH, heads=3, biases=biases, bias=bias)
    assert (layer.qkv.bias is not None) == (expected != "none")
    assert (layer.out.bias is not None) == (expected == "all")


def test_shared_positions_are_no_parameters_of_a_layer():
    table = build(spec.T5Buckets(), 3, 4)
    layer, own = Attention(WIDTH, heads=3), Attention(WIDTH, spec.T5Buckets(), heads=3)
    layer.share(table)
    assert "position.table" not in dict(layer.named_parameters())
    own.load_state_dict({**layer.state_dict(), "position.table": table.table})
    x = torch.randn(2, 7, WIDTH)
    assert torch.equal(layer(x), own(x))
    layer(x).sum().backward()
    assert table.table.grad.abs().max() > 0


def test_the_value_path_is_v_and_the_last_map():
    layer = attention(heads=6, kv_heads=2)
    v, out = layer.value_path()
    with torch.no_grad():
        x = torch.randn(2, 7, WIDTH, dtype=torch.float64)
        before = layer(x)
        v.mul_(2)
        torch.testing.assert_close(layer(x), 2 * before, rtol=1e-12, atol=1e-12)
        out.mul_(3)
        torch.testing.assert_close(layer(x), 6 * before, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize(
    ("settings", "position", "needs"),
    [
        ({"softcap": 5.0}, None, "softcap"),
        ({"weights": spec.Sinks()}, None, "weights = Sinks"),
        ({}, spec.ReRotary(), "position = rerope"),
        ({"window": 3, "gate": spec.ElementGate()}, spec.ALiBi(), None),
    ],
)
def test_it_says_what_needs_scores_written_out(monkeypatch, settings, position, needs):
    """And runs the kernel that its answer asks for."""
    layer = Attention(WIDTH, position, heads=2, **settings)
    assert layer.needs() == needs
    chosen = []
    choose = kernels.choose
    monkeypatch.setattr(kernels, "choose", lambda *a, **b: chosen.append(choose(*a, **b)) or chosen[-1])
    layer(torch.randn(1, 7, WIDTH))
    assert (chosen[0].kernel == "eager") == (needs is not None)


@pytest.mark.parametrize("window", [1, 3, 7])
@pytest.mark.parametrize("chunks", [[1] * 9, [4, 5], [2, 6, 1], [9]])
def test_a_windows_cache_holds_the_window_alone(window, chunks):
    cache = KVCache(1, 1, 9, 1, window=window)
    k = torch.arange(9.0).view(1, 1, 9, 1)
    start = 0
    for new in chunks:
        keys, values = cache.append(k[:, :, start : start + new], -k[:, :, start : start + new])
        start += new
        assert torch.equal(values, -keys)
        held = keys.flatten().tolist()
        assert held[-new:] == list(range(start - new, start))  # the new ones last
        first_seen = max(0, start - new - window + 1)
        assert held[0] <= first_seen  # all that the first of the new ones sees
        assert held == list(range(int(held[0]), start))
    assert cache.length == 9
    assert cache.bytes == 2 * 4 * min(window, 9)


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
