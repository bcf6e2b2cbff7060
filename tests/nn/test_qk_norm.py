"""Norms of queries and keys by hand: what is normalised, over what, with which gain; scales of the scores."""

from __future__ import annotations

import math

import pytest
import torch
import torch.nn.functional as F
from torch.autograd import gradcheck

from danlu import spec
from danlu.nn import Attention, Rotary
from danlu.nn.masks import AttentionMask, MaskPattern, boolean_mask, visible_keys
from danlu.nn.qk_norm import HeadNorm
from danlu.optim import by_role

HEADS, SIZE, WIDTH = 3, 4, 12
EXACT = {"rtol": 1e-12, "atol": 1e-12}
VARIANTS = [
    {"norm": norm, "over": over, "gain": gain, "per_head": per_head, "around_one": around_one}
    for norm in ("rms", "layer", "l2")
    for over in ("head", "width")
    for gain, per_head, around_one in (
        (False, False, False), (True, False, False), (True, True, False), (True, False, True),
    )
    if not (norm == "l2" and gain) and not (over == "width" and per_head)
]  # fmt: skip


def name(variant):
    return "-".join([variant["norm"], variant["over"], *(k for k, v in variant.items() if v is True)])


each = pytest.mark.parametrize("variant", VARIANTS, ids=name)


def norm_of(variant, dtype=torch.float64):
    norm = HeadNorm(HEADS, SIZE, **variant).to(dtype)
    for parameter in norm.parameters():
        torch.nn.init.normal_(parameter)
    return norm


def normalised(vector, norm, eps):
    """One vector by the definition."""
    if norm == "l2":
        return vector / vector.square().sum().sqrt()
    if norm == "layer":
        vector = vector - vector.mean()
    return vector / (vector.square().mean() + eps).sqrt()


@each
def test_each_variant_is_its_formula(variant):
    """Head by head and position by position, or, over the width, the heads one after another."""
    norm = norm_of(variant)
    x = torch.randn(2, HEADS, 5, SIZE, dtype=torch.float64)
    got, expected = norm(x), torch.empty_like(x)
    for b in range(2):
        for t in range(5):
            if variant["over"] == "width":
                whole = normalised(x[b, :, t].flatten(), variant["norm"], 1e-6)
                expected[b, :, t] = whole.view(HEADS, SIZE)
            else:
                for h in range(HEADS):
                    expected[b, h, t] = normalised(x[b, h, t], variant["norm"], 1e-6)
    if variant["gain"]:
        gain = norm.gain + 1 if variant["around_one"] else norm.gain
        for h in range(HEADS):
            own = gain.view(-1, SIZE)[h if len(gain) > SIZE else 0]
            expected[:, h] *= own
        assert len(gain) == (HEADS * SIZE if variant["per_head"] or variant["over"] == "width" else SIZE)
    torch.testing.assert_close(got, expected, **EXACT)


@each
def test_types_and_start(variant):
    """Kept in its input's type; the gain starts as one, is float32 and a gain to an optimizer."""
    norm = HeadNorm(HEADS, SIZE, **variant)
    x = torch.randn(2, HEADS, 5, SIZE)
    torch.testing.assert_close(norm(x), HeadNorm(HEADS, SIZE, **(variant | PLAIN))(x))
    y = norm(x.bfloat16())
    assert y.dtype == torch.bfloat16
    for key, parameter in norm.named_parameters():
        assert torch.autograd.grad(y.sum(), parameter)[0].dtype == torch.float32
        assert key in by_role(norm)["gain"]


PLAIN = {"gain": False, "per_head": False, "around_one": False}


def test_a_small_gain_around_one_is_not_lost_in_bfloat16():
    """1 + 2⁻⁹ is 1 in bfloat16, where neighbours of 1 are 2⁻⁷ apart; the product is not the input's."""
    norm = HeadNorm(1, 256, gain=True, around_one=True)
    torch.nn.init.constant_(norm.gain, 2.0**-9)
    x = torch.randn(1, 1, 50, 256).bfloat16()
    exact = HeadNorm(1, 256)(x.double()) * (1 + 2.0**-9)
    torch.testing.assert_close(norm(x).double(), exact, rtol=2.0**-8, atol=0)
    assert not torch.equal(norm(x), HeadNorm(1, 256)(x))


@each
def test_gradcheck(variant):
    norm = norm_of(variant)
    x = torch.randn(1, HEADS, 2, SIZE, dtype=torch.float64, requires_grad=True)
    if norm.gain is None:
        assert gradcheck(norm, x)
    else:
        gain = norm.gain.detach().requires_grad_()
        assert gradcheck(lambda x, g: torch.func.functional_call(norm, {"gain": g}, (x,)), (x, gain))


def qkv(layer, x):
    sizes = (layer.heads * layer.size, layer.kv_heads * layer.size, layer.kv_heads * layer.size)
    parts = F.linear(x, layer.qkv.weight).split(sizes, dim=-1)
    return [part.unflatten(-1, (-1, layer.size)).transpose(1, 2) for part in parts]


def attended(layer, q, k, v, scale, mask=None):
    """softmax(scale · q·k) v, the heads side by side, through the last map."""
    k, v = (t.repeat_interleave(layer.heads // layer.kv_heads, dim=1) for t in (k, v))
    length = q.shape[2]
    mask = torch.ones(length, length, dtype=torch.bool).tril() if mask is None else mask
    s = (scale * (q @ k.mT)).masked_fill(~mask, float("-inf"))
    return F.linear((s.softmax(-1) @ v).transpose(1, 2).flatten(2), layer.out.weight)


@pytest.mark.parametrize(
    ("variant", "when"),
    [(v, when) for v in VARIANTS for when in ("before", "after") if (v["over"], when) != ("width", "after")],
    ids=lambda p: p if isinstance(p, str) else name(p),
)
@pytest.mark.parametrize("of", ["both", "keys"])
@pytest.mark.parametrize("kv_heads", [None, 1])
def test_where_the_norm_stands_in_attention(variant, when, of, kv_heads):
    qk_norm = spec.QKNorm(when=when, of=of, **variant)
    layer = Attention(WIDTH, spec.Rotary(base=50.0), heads=HEADS, kv_heads=kv_heads, qk_norm=qk_norm).double()
    for norm in (layer.q_norm, layer.k_norm):
        for parameter in norm.parameters() if norm is not None else ():
            torch.nn.init.normal_(parameter)
    assert (layer.q_norm is None) == (of == "keys")
    x = torch.randn(2, 7, WIDTH, dtype=torch.float64)
    q, k, v = qkv(layer, x)
    rotary = Rotary(SIZE, base=50.0)
    same = torch.nn.Identity()
    q_norm = layer.q_norm if of == "both" else same
    if when == "before":
        q, k = rotary(q_norm(q)), rotary(layer.k_norm(k))
    else:
        q, k = q_norm(rotary(q)), layer.k_norm(rotary(k))
    torch.testing.assert_close(layer(x), attended(layer, q, k, v, 0.5), rtol=1e-10, atol=1e-11)


def test_key_norm_is_its_formula():
    """softmax(q·k/‖k‖), neither divided by √size nor with a gain (Su 2023)."""
    layer = Attention(WIDTH, heads=HEADS, qk_norm=spec.QKNorm(norm="l2", of="keys"), scale=1.0).double()
    x = torch.randn(2, 7, WIDTH, dtype=torch.float64)
    q, k, v = qkv(layer, x)
    k = k / k.square().sum(-1, keepdim=True).sqrt()
    torch.testing.assert_close(layer(x), attended(layer, q, k, v, 1.0), **EXACT)


@pytest.mark.parametrize("when", ["before", "after"])
def test_l2_and_a_scale_are_cosine_attention(when):
    scale = 4 * math.log(128)
    qk_norm = spec.QKNorm(norm="l2", when=when)
    layer = Attention(WIDTH, heads=HEADS, qk_norm=qk_norm, scale=scale).double()
    x = torch.randn(2, 7, WIDTH, dtype=torch.float64)
    q, k, v = qkv(layer, x)
    cosines = F.cosine_similarity(q[:, :, :, None], k[:, :, None], dim=-1)
    s = (scale * cosines).masked_fill(torch.ones(7, 7).triu(1) > 0, float("-inf"))
    expected = F.linear((s.softmax(-1) @ v).transpose(1, 2).flatten(2), layer.out.weight)
    torch.testing.assert_close(layer(x), expected, **EXACT)


def test_rms_is_l2_times_the_root_of_the_size():
    x = torch.randn(2, HEADS, 5, SIZE, dtype=torch.float64)
    rms, l2 = HeadNorm(HEADS, SIZE, eps=1e-30), HeadNorm(HEADS, SIZE, norm="l2")
    torch.testing.assert_close(rms(x), l2(x) * SIZE**0.5, **EXACT)


SCOPES = {
    "causal": (AttentionMask(), {}),
    "window": (AttentionMask(), {"window": 4}),
    "strided": (AttentionMask(), {"sparse": spec.Strided(stride=3)}),
    "full": (AttentionMask(causal=False), {}),
    "both ways": (AttentionMask(causal=False), {"window": 3}),
    "prefix": (AttentionMask(prefix=5), {}),
    "documents": (AttentionMask(documents=torch.tensor([[0, 0, 0, 1, 1, 1, 1, 1, 1], [0] * 9])), {}),
}


@pytest.mark.parametrize("case", SCOPES)
def test_log_n_counts_the_visible_keys(case):
    """Scores times max(1, ln n/ln 3), n counted in the mask row by row."""
    scope, settings = SCOPES[case]
    layer = Attention(WIDTH, heads=HEADS, log_n=3, **settings).double()
    x = torch.randn(2, 9, WIDTH, dtype=torch.float64)
    pattern = MaskPattern(9, 9, scope.causal, scope.prefix, settings.get("window"), settings.get("sparse"))
    mask = boolean_mask(pattern, x.device).expand(2, 1, 9, 9)
    if scope.documents is not None:
        mask = mask & (scope.documents[:, None, :, None] == scope.documents[:, None, None])
    n = mask.sum(-1, keepdim=True)
    factor = torch.tensor([max(1.0, math.log(m) / math.log(3)) for m in n.flatten().tolist()])
    q, k, v = qkv(layer, x)
    expected = attended(layer, q * factor.view(n.shape).double(), k, v, SIZE**-0.5, mask)
    torch.testing.assert_close(layer(x, scope), expected, rtol=1e-6, atol=1e-7)  # ln n is float32
    plain = Attention(WIDTH, heads=HEADS, **settings).double()
    plain.load_state_dict(layer.state_dict())
    few = n.amax() <= 3
    assert torch.allclose(layer(x, scope), plain(x, scope)) == few


@pytest.mark.parametrize("window", [None, 4])
def test_log_n_counts_the_same_in_decoding(window):
    layer = Attention(WIDTH, heads=HEADS, log_n=2, window=window).double()
    x = torch.randn(2, 9, WIDTH, dtype=torch.float64)
    cache, parts = layer.cache(2, 9), []
    with torch.no_grad():
        for part in x.split([1, 3, 1, 4], dim=1):
            parts.append(layer(part, cache=cache))
        torch.testing.assert_close(torch.cat(parts, dim=1), layer(x), **EXACT)
    assert torch.equal(
        visible_keys(MaskPattern(1, 9, window=window), None, x.device), torch.tensor([window or 9])
    )
