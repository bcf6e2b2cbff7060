"""Keys and values in few bits."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from danlu import spec
from danlu.nn.cache import KVCache
from danlu.quantization import RoundedKVCache, named, quantize, round_caches
from danlu.quantization.cache import GROUP
from tests.models.small import CAUSAL, at, attention, small

HALF = torch.float16


def pairs(length: int, size: int = 8) -> tuple[torch.Tensor, torch.Tensor]:
    torch.manual_seed(0)
    return torch.randn(2, 3, length, size), torch.randn(2, 3, length, size)


@pytest.mark.parametrize("size", [8, 64])
def test_old_positions_are_rounded_the_first_and_the_last_are_not(size: int) -> None:
    k, v = pairs(100, size)
    cache = RoundedKVCache(2, 3, 128, size, bits=3, last=20)
    keys, values = cache.append(k, v)
    old = 1 + 2 * GROUP  # 99 less the first, 20 to 51 of which stay exact
    assert torch.equal(keys[:, :, 0], k[:, :, 0]) and torch.equal(keys[:, :, old:], k[:, :, old:])
    assert torch.equal(values[:, :, 0], v[:, :, 0]) and torch.equal(values[:, :, old:], v[:, :, old:])
    for start in range(1, old, GROUP):
        here = slice(start, start + GROUP)
        channels = named("int3-affine", GROUP, HALF)
        wanted = quantize(k[:, :, here].transpose(2, 3).contiguous(), channels).dequantize().transpose(2, 3)
        assert torch.equal(keys[:, :, here], wanted)
        tokens = named("int3-affine", GROUP if size == 64 else "token", HALF)
        assert torch.equal(values[:, :, here], quantize(v[:, :, here].contiguous(), tokens).dequantize())
    exact = 2 * (100 - 2 * GROUP) * 2 * 3 * size * 4
    numbers = 2 * GROUP * 2 * 3 * size
    scales = numbers // GROUP + numbers // min(size, GROUP)
    assert cache.bytes == exact + 2 * numbers * 3 / 8 + scales * (2 + 3 / 8)


def test_token_by_token_is_as_all_at_once() -> None:
    k, v = pairs(90)
    one, other = (RoundedKVCache(2, 3, 128, 8, bits=4, last=8) for _ in range(2))
    whole = one.append(k, v)
    for i in range(90):
        step = other.append(k[:, :, i : i + 1], v[:, :, i : i + 1])
    assert all(torch.equal(a, b) for a, b in zip(whole, step, strict=True))
    assert one.bytes == other.bytes and one.length == other.length == 90
    with pytest.raises(ValueError, match="holds 128 positions; 130 were asked for"):
        one.append(*pairs(40))


@pytest.mark.parametrize("heads", [1, 3])
def test_what_is_kept_keeps_nothing_else(heads: int) -> None:
    """No part is a view, which would hold the memory of a whole prompt."""
    k, v = (x[:1, :heads].contiguous() for x in pairs(100))
    cache = RoundedKVCache(1, heads, 128, 8, bits=4, last=8)
    cache.append(k, v)
    exact = [t for pair in (cache._first, cache._exact) for t in pair or ()]
    tensors = exact + [t for pair in cache._old for q in pair for t in (q.codes, *q.held.values())]
    assert sum(t.untyped_storage().nbytes() for t in tensors) == cache.bytes


KINDS: dict[str, dict[str, Any]] = {
    "rotary": at(spec.Rotary()), "alibi": at(spec.ALiBi()),
    "norm-after": attention(qk_norm=spec.QKNorm(when="after"), kv_heads=1),
}  # fmt: skip


@pytest.mark.parametrize("name", KINDS)
def test_where_nothing_is_old_the_logits_are_those_of_the_plain_cache(name: str) -> None:
    """Keys that are turned when they are read are those that were turned when they were written."""
    model, text = small(**KINDS[name]).eval(), torch.randint(13, (2, 30))

    def logits() -> torch.Tensor:
        caches = model.caches(2, 40)
        with torch.no_grad():
            parts = [model(part, caches=caches) for part in text.split((20, 1, 9), dim=1)]
        return torch.cat(parts, dim=1)

    before = logits()
    assert type(model.caches(2, 40)[0].mixer) is KVCache
    assert round_caches(model, 2) == 2
    torch.testing.assert_close(logits(), before, rtol=0, atol=1e-12)


def test_eight_bits_are_near_and_two_are_not() -> None:
    text = torch.randint(13, (2, 150))
    found = []
    for bits in (None, 8, 2):
        model = small(**at(spec.Rotary())).eval()
        if bits is not None:
            round_caches(model, bits)
        caches = model.caches(2, 200)
        with torch.no_grad():
            model(text[:, :149], caches=caches)
            found.append(model(text[:, 149:], caches=caches))
    near, far = ((other - found[0]).norm() / found[0].norm() for other in found[1:])
    assert 0 < near < 0.02 < far


def test_what_keeps_no_keys_is_refused() -> None:
    for settings in (CAUSAL["lru"], attention(window=4)):
        with pytest.raises(ValueError, match="no cache to round"):
            round_caches(small(**settings), 4)
    with pytest.raises(ValueError, match="bits = 9"):
        round_caches(small(), 9)
