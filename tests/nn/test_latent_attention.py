"""Latent attention: its formula, its two forms, DeepSeek's modules, its cache."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.func import functional_call
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode
from transformers import DeepseekV2Config, DeepseekV3Config
from transformers.models.deepseek_v2 import modeling_deepseek_v2 as v2
from transformers.models.deepseek_v3 import modeling_deepseek_v3 as v3

from danlu import spec
from danlu.nn.latent_attention import LatentAttention, LatentCache
from danlu.nn.masks import AttentionMask
from danlu.nn.positions import Rotary
from danlu.nn.registry import build

WIDTH = 12
SMALL = {"heads": 3, "head_size": 4, "value_size": 5, "latent": 6, "rotary_size": 2}


def latent_attention(position=None, **given):
    return LatentAttention(WIDTH, position, **(SMALL | given)).double()


def rows(*shape):
    return torch.randn(*shape, dtype=torch.float64)


each_query = pytest.mark.parametrize("query_latent", [None, 7])


@each_query
@pytest.mark.parametrize("scale", [None, 0.3])
def test_it_is_its_formula(query_latent, scale):
    """Eq. 9 to 19 of DeepSeek-V2, one head after the other."""
    layer = latent_attention(spec.Rotary(base=100.0), query_latent=query_latent, scale=scale, eps=1e-3)
    norms = [layer.kv_norm] + ([] if query_latent is None else [layer.q_norm])
    for norm in norms:
        torch.nn.init.normal_(norm.gain, mean=1.0)
    x, turn = rows(2, 9, WIDTH), Rotary(2, base=100.0)

    def norm(t, gain):
        return gain * t / (t.square().mean(dim=-1, keepdim=True) + 1e-3).sqrt()

    if query_latent is None:
        q = x @ layer.q.weight.T
    else:
        q = norm(x @ layer.q_down.weight.T, layer.q_norm.gain) @ layer.q_up.weight.T
    c = norm(x @ layer.kv_down.weight[:6].T, layer.kv_norm.gain)
    shared = turn((x @ layer.kv_down.weight[6:].T)[:, None])[:, 0]
    future = torch.ones(9, 9, dtype=torch.bool).triu(1)
    outputs = []
    for h in range(3):
        q_still, q_turned = q[..., 6 * h : 6 * h + 4], turn(q[:, None, :, 6 * h + 4 : 6 * h + 6])[:, 0]
        k = c @ layer.kv_up.weight[9 * h : 9 * h + 4].T
        v = c @ layer.kv_up.weight[9 * h + 4 : 9 * h + 9].T
        scores = (q_still @ k.mT + q_turned @ shared.mT) * (scale or 6**-0.5)
        outputs.append(scores.masked_fill(future, float("-inf")).softmax(dim=-1) @ v)
    expected = torch.cat(outputs, dim=-1) @ layer.out.weight.T
    torch.testing.assert_close(layer(x), expected, rtol=1e-10, atol=1e-11)


@settings(deadline=None, max_examples=60)
@given(
    heads=st.integers(1, 4),
    head_size=st.integers(1, 5),
    value_size=st.integers(1, 5),
    latent=st.integers(1, 8),
    rotary_size=st.sampled_from([2, 4, 6]),
    query_latent=st.none() | st.integers(1, 6),
    layout=st.sampled_from([None, "half", "interleaved"]),
    batch=st.integers(1, 3),
    positions=st.integers(1, 12),
    new=st.integers(1, 12),
    documents=st.booleans(),
)
def test_absorbed_is_expanded(layout, batch, positions, new, documents, **sizes):
    layer = latent_attention(spec.Rotary(layout=layout) if layout else None, **sizes)
    new = min(new, positions)
    x = rows(batch, positions, WIDTH)
    which = torch.randint(3, (batch, positions)).cumsum(dim=1) if documents else None
    mask = AttentionMask(documents=which)
    kept, q = layer._kept(x, 0), layer._queries(x[:, positions - new :], positions - new)
    expanded, absorbed = layer._expanded(q, kept, mask), layer._absorbed(q, kept, mask)
    assert expanded.shape == (batch, sizes["heads"], new, sizes["value_size"])
    torch.testing.assert_close(absorbed, expanded, rtol=1e-10, atol=1e-10)


def test_absorbed_is_expanded_both_ways():
    layer = latent_attention(spec.Rotary())
    x = rows(2, 7, WIDTH)
    q, kept, mask = layer._queries(x, 0), layer._kept(x, 0), AttentionMask(causal=False)
    expanded = layer._expanded(q, kept, mask)
    torch.testing.assert_close(layer._absorbed(q, kept, mask), expanded, rtol=1e-10, atol=1e-10)
    assert not torch.allclose(expanded, layer._expanded(q, kept, AttentionMask()))


FROM_DEEPSEEK = {
    "q_proj": "q", "q_a_proj": "q_down", "q_a_layernorm": "q_norm", "q_b_proj": "q_up",
    "kv_a_proj_with_mqa": "kv_down", "kv_a_layernorm": "kv_norm", "kv_b_proj": "kv_up", "o_proj": "out",
}  # fmt: skip


def take(layer, theirs):
    """Their weights, drawn anew so that gains and biases are not ones and zeros."""
    state = {}
    for name, parameter in theirs.named_parameters():
        part, kind = name.split(".")
        parameter.copy_(torch.randn_like(parameter) * (parameter.shape[-1] ** -0.5))
        if "layernorm" in part:
            kind = "gain"
        state[f"{FROM_DEEPSEEK[part]}.{kind}"] = parameter
    layer.load_state_dict(state)


def deepseek(version, **given):
    """Their attention and what gives it cosines and sines."""
    config = (DeepseekV2Config if version == "v2" else DeepseekV3Config)(
        hidden_size=24, num_attention_heads=4, num_key_value_heads=4, kv_lora_rank=10, qk_rope_head_dim=6,
        qk_nope_head_dim=8, v_head_dim=5, num_hidden_layers=1, attn_implementation="eager", **given,
    )  # fmt: skip
    if version == "v2":
        return v2.DeepseekV2Attention(config, 0).eval(), v2.DeepseekV2RotaryEmbedding(config)
    config.rope_interleave = version == "v3"
    return v3.DeepseekV3Attention(config, 0).eval(), v3.DeepseekV3RotaryEmbedding(config)


@torch.no_grad()
def check_against(theirs, turn, position, length, **given):
    """Their output and ours, expanded and absorbed, within 1e-5 in float32."""
    ours = LatentAttention(
        24, position, heads=4, head_size=8, value_size=5, latent=10, rotary_size=6, **given
    )
    take(ours, theirs)
    x = torch.randn(2, length, 24)
    future = torch.full((length, length), float("-inf")).triu(1)[None, None]
    expected, _ = theirs(x, position_embeddings=turn(x, torch.arange(length)[None]), attention_mask=future)
    torch.testing.assert_close(ours(x), expected, rtol=0, atol=1e-5)
    cache = ours.cache(2, length)
    absorbed = torch.cat([ours(part, cache=cache) for part in x.split(1, dim=1)], dim=1)
    torch.testing.assert_close(absorbed, expected, rtol=0, atol=1e-5)


@each_query
@pytest.mark.parametrize("bias", [False, True])
@pytest.mark.parametrize("version", ["v2", "v3", "v3-half"])
def test_it_is_deepseeks(version, query_latent, bias):
    """Against transformers: V2 turns complex numbers, V3 pairs that it takes apart, or halves."""
    theirs, turn = deepseek(
        version,
        q_lora_rank=query_latent,
        attention_bias=bias,
        rope_parameters={"rope_type": "default", "rope_theta": 50.0},
    )
    layout = "half" if version == "v3-half" else "interleaved"
    check_against(
        theirs, turn, spec.Rotary(base=50.0, layout=layout), 11, query_latent=query_latent, bias=bias
    )


@pytest.mark.parametrize("version", ["v2", "v3"])
def test_it_is_deepseeks_with_yarn(version):
    """Their two factors: the quotient of both on cosines and sines, the second squared on the scores."""
    theirs, turn = deepseek(
        version,
        q_lora_rank=None,
        max_position_embeddings=64,
        rope_parameters={
            "rope_type": "yarn",
            "rope_theta": 50.0,
            "factor": 4.0,
            "beta_fast": 4.0,
            "beta_slow": 1.0,
            "mscale": 0.7,
            "mscale_all_dim": 1.1,
            "original_max_position_embeddings": 16,
        },
    )
    first, second = (0.1 * m * math.log(4) + 1 for m in (0.7, 1.1))
    scaling = spec.YaRN(factor=4.0, original=16, fast=4.0, slow=1.0, attention=first / second)
    rotary = spec.Rotary(base=50.0, layout="interleaved", scaling=scaling)
    check_against(theirs, turn, rotary, 40, scale=14**-0.5 * second**2)


@each_query
@pytest.mark.parametrize("position", [None, spec.Rotary(), spec.Rotary(layout="interleaved")])
@pytest.mark.parametrize("steps", [[1] * 9, [4, 1, 1, 3], [9]])
def test_cached_decoding_is_one_pass(query_latent, position, steps):
    layer = latent_attention(position, query_latent=query_latent)
    x = rows(2, 9, WIDTH)
    cache, parts = layer.cache(2, 9), []
    with torch.no_grad():
        for part in x.split(steps, dim=1):
            parts.append(layer(part, cache=cache))
        torch.testing.assert_close(torch.cat(parts, dim=1), layer(x), rtol=1e-10, atol=1e-11)
    assert cache.length == 9


def test_the_cached_past_decides_the_form(monkeypatch):
    """Expanded without a cache and into an empty one, absorbed after that."""
    used = []
    for form in ("_expanded", "_absorbed"):
        method = getattr(LatentAttention, form)
        monkeypatch.setattr(
            LatentAttention, form, lambda *given, m=method, f=form: (used.append(f), m(*given))[1]
        )
    layer = latent_attention()
    cache = layer.cache(1, 8)
    for count, keep in [(5, None), (5, cache), (1, cache), (2, cache)]:
        layer(rows(1, count, WIDTH), cache=keep)
    assert used == ["_expanded", "_expanded", "_absorbed", "_absorbed"]


@each_query
@pytest.mark.parametrize("form", ["_expanded", "_absorbed"])
def test_gradients(query_latent, form):
    layer = LatentAttention(
        4,
        spec.Rotary(),
        heads=2,
        head_size=2,
        value_size=3,
        latent=3,
        query_latent=query_latent,
        rotary_size=2,
    ).double()
    names, weights = zip(*layer.named_parameters(), strict=True)

    class Form(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.layer = layer

        def forward(self, x):
            y = getattr(layer, form)(layer._queries(x, 0), layer._kept(x, 0), AttentionMask())
            return layer.out(y.transpose(1, 2).flatten(2))

    def run(x, *given):
        return functional_call(Form(), {f"layer.{n}": w for n, w in zip(names, given, strict=True)}, (x,))

    assert torch.autograd.gradcheck(run, (rows(1, 3, 4).requires_grad_(), *weights))


@each_query
def test_the_past_does_not_see_the_future(query_latent):
    """Changing position t leaves the outputs before it as they are bit for bit, and changes its own."""
    layer = latent_attention(spec.Rotary(), query_latent=query_latent)
    x = rows(1, 9, WIDTH)
    before = layer(x)
    for t in range(9):
        changed = x.clone()
        changed[:, t:] += rows(1, 9 - t, WIDTH)
        after = layer(changed)
        assert torch.equal(after[:, :t], before[:, :t])
        assert not torch.allclose(after[:, t], before[:, t])


def test_without_rotary_positions_nothing_turns():
    """Without a turn the output does not depend on the order of the past; with it it does."""
    x = rows(1, 6, WIDTH)
    other = torch.cat((x[:, [3, 1, 4, 0, 2]], x[:, 5:]), dim=1)
    for position in (None, spec.NoPosition(), spec.Learned(), spec.Sinusoidal()):
        layer = latent_attention(position)
        torch.testing.assert_close(layer(other)[:, -1], layer(x)[:, -1], rtol=1e-10, atol=1e-11)
    turned = latent_attention(spec.Rotary())
    assert not torch.allclose(turned(other)[:, -1], turned(x)[:, -1])


def test_positions_of_the_scores_are_refused():
    with pytest.raises(
        ValueError, match=r"position\.kind = alibi cannot be used with .*latent; allowed: rotary"
    ):
        LatentAttention(WIDTH, spec.ALiBi())


@pytest.mark.parametrize("form", ["whole", "cached"])
def test_bfloat16_is_near_float32(form):
    """A chain of at most six products, of factors that are rounded by up to 2⁻⁹ each: within 6 · 2⁻⁸."""
    layer = LatentAttention(64, spec.Rotary(), latent=24, rotary_size=8)
    x = torch.randn(2, 32, 64)
    with torch.no_grad():
        expected, low = layer(x), x.bfloat16()
        if form == "whole":
            y = layer(low)
        else:
            cache = layer.cache(2, 32)
            y = torch.cat([layer(part, cache=cache) for part in low.split([16] + [1] * 16, dim=1)], dim=1)
    assert y.dtype == torch.bfloat16
    assert torch.linalg.vector_norm(y.float() - expected) <= 6 * 2**-8 * torch.linalg.vector_norm(expected)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float64])
@pytest.mark.parametrize(("latent", "rotary_size"), [(6, 2), (11, 4)])
def test_the_cache_holds_the_bytes_it_says(dtype, latent, rotary_size):
    layer = LatentAttention(WIDTH, spec.Rotary(), latent=latent, rotary_size=rotary_size)
    cache = layer.cache(3, 7)
    assert (cache.length, cache.bytes) == (0, 0)
    with torch.no_grad():
        layer.to(dtype)(torch.randn(3, 5, WIDTH).to(dtype), cache=cache)
    assert cache.length == 5
    assert cache.bytes == 3 * layer.cache_bytes(7, dtype.itemsize)
    assert cache.bytes == sum(
        t.untyped_storage().nbytes() for t in vars(cache).values() if isinstance(t, torch.Tensor)
    )
    assert layer.cache_bytes(7, 1) == 7 * (latent + rotary_size)


def test_deepseek_v3_caches_576_numbers():
    """70.272 kB a position in bfloat16 over its 61 layers (DeepSeek-AI 2025, arXiv:2505.09343, table 1)."""
    with torch.device("meta"):
        layer = build(
            spec.LatentAttention(heads=128, head_size=128, value_size=128, latent=512, query_latent=1536,
                                 rotary_size=64),
            7168, spec.Rotary(),
        )  # fmt: skip
    assert layer.cache_bytes(1, 1) == 576
    assert 61 * layer.cache_bytes(1, 2) == 70_272


def test_the_cache_keeps_everything_in_order_and_refuses_what_does_not_fit():
    cache, x = LatentCache(2, 4, 3), rows(2, 4, 3)
    assert torch.equal(cache.append(x[:, :1]), x[:, :1])
    assert torch.equal(cache.append(x[:, 1:3]), x[:, :3])
    with pytest.raises(ValueError, match="holds 4 positions; 5 were asked for"):
        cache.append(x[:, :2])
    assert torch.equal(cache.append(x[:, 3:]), x)  # it was as before


@each_query
def test_flops_are_what_pytorch_counts(query_latent):
    layer = LatentAttention(
        16,
        spec.Rotary(),
        heads=3,
        head_size=4,
        value_size=6,
        latent=7,
        query_latent=query_latent,
        rotary_size=2,
    )
    for length in (1, 7, 24):
        with sdpa_kernel(SDPBackend.MATH), FlopCounterMode(display=False) as counter, torch.no_grad():
            layer(torch.randn(2, length, 16))
        assert counter.get_total_flops() == layer.flops(2, length)


@torch.no_grad()
def test_the_value_path_is_what_values_flow_through():
    """The scores do not know these weights: the output is a multiple as they are. They are views."""
    layer = latent_attention(spec.Rotary())
    x = rows(2, 5, WIDTH)
    before, path = layer(x), layer.value_path()
    assert [tuple(w.shape) for w in path] == [(5, 6)] * 3 + [(WIDTH, 15)]
    for w in path[:3]:
        w.mul_(3.0)
    torch.testing.assert_close(layer(x), 3.0 * before, rtol=1e-10, atol=1e-11)
    path[3].mul_(0.5)
    torch.testing.assert_close(layer(x), 1.5 * before, rtol=1e-10, atol=1e-11)


def test_defaults():
    layer = build(spec.LatentAttention(heads=3, rotary_size=4), WIDTH, spec.Rotary(base=7.0))
    assert (layer.head_size, layer.value_size, layer.scale) == (4, 4, 8**-0.5)
    assert layer.rotary.base == 7.0
    assert [n for n, _ in layer.named_parameters()] == [
        "q.weight", "kv_down.weight", "kv_norm.gain", "kv_up.weight", "out.weight"
    ]  # fmt: skip
    assert LatentAttention(WIDTH, scale=0.3).scale == 0.3
