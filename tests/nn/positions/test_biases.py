"""Numbers added to the scores: each against its formula, pair by pair, or against another implementation."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.autograd import gradcheck
from torch.utils.flop_counter import FlopCounterMode

from danlu import spec
from danlu.nn.positions import ALiBi, Kerple, Relative, Sandwich, Sinusoidal, T5Buckets
from danlu.nn.registry import build

HEADS, SIZE = 3, 4
SPECS = [
    spec.ALiBi(),
    spec.Sandwich(size=8, weight=0.5),
    spec.Kerple(),
    spec.Kerple(form="power"),
    spec.T5Buckets(buckets=8, distance=10),
    spec.Relative(distance=3),
]
every = pytest.mark.parametrize("part", SPECS, ids=lambda p: f"{p.kind}-{getattr(p, 'form', '')}")


def queries(count, *, batch=2, heads=HEADS, size=SIZE, dtype=torch.float64):
    return torch.randn(batch, heads, count, size, dtype=dtype)


def pairwise(number, heads, count, keys, offset):
    """number(head, i, j) for every pair, in float64: (heads, count, keys)."""
    rows = [[[number(h, offset + i, j) for j in range(keys)] for i in range(count)] for h in range(heads)]
    return torch.tensor(rows, dtype=torch.float64)


shapes = (st.integers(1, 9), st.integers(0, 40), st.integers(0, 3), st.integers(1, 5))


def sizes(count, offset, after, heads):
    """Queries, keys (some may stand after the last query), offset and heads."""
    return count, offset + count + after, offset, heads


@settings(max_examples=25, deadline=None)
@given(*shapes[:3], st.sampled_from([1, 2, 4, 8]))
def test_alibi_is_its_formula(count, offset, after, heads):
    """Head h of a power of two: 2^(−8h/H), rounded to float32, and so the product."""
    count, keys, offset, heads = sizes(count, offset, after, heads)
    got = ALiBi(heads, SIZE).bias(queries(count, heads=heads), keys, offset)

    def number(h, i, j):
        return -(2 ** (-8 * (h + 1) / heads)) * abs(i - j)

    expected = pairwise(number, heads, count, keys, offset)
    torch.testing.assert_close(got, expected, rtol=2.0**-22, atol=0)


@pytest.mark.parametrize("heads", [1, 2, 3, 4, 5, 6, 7, 8, 12, 20, 25])
def test_alibi_is_that_of_bloom_and_mpt(heads):
    """Both add m·j, which differs from −m·(i − j) by a constant for each query: take the last query's."""
    bloom = pytest.importorskip("transformers.models.bloom.modeling_bloom").build_alibi_tensor
    mpt = pytest.importorskip("transformers.models.mpt.modeling_mpt").build_mpt_alibi_tensor
    ours = ALiBi(heads, SIZE).bias(queries(7, heads=heads, dtype=torch.float32), 7)[:, -1]
    theirs = bloom(torch.ones(1, 7), heads, torch.float32)[:, 0]
    torch.testing.assert_close(ours, theirs - theirs[:, -1:], rtol=1e-6, atol=1e-6)
    torch.testing.assert_close(ours, mpt(heads, 7)[:, 0], rtol=1e-6, atol=0)


@settings(max_examples=25, deadline=None)
@given(*shapes, st.sampled_from(["log", "power"]))
def test_kerple_is_its_formula(count, offset, after, heads, form):
    count, keys, offset, heads = sizes(count, offset, after, heads)
    kerple = Kerple(heads, SIZE, form=form).double()
    kerple.after_update()  # 0.01 of float32 is not that of float64
    r1, r2 = kerple.r1.tolist(), kerple.r2.tolist()

    def number(h, i, j):
        d = abs(i - j)
        return -r1[h] * (math.log(1 + r2[h] * d) if form == "log" else d ** r2[h])

    got = kerple.bias(queries(count, heads=heads), keys, offset)
    torch.testing.assert_close(got, pairwise(number, heads, count, keys, offset), rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize(("form", "ranges"), [("log", (2.0, 1.0)), ("power", (1.0, 2.0))])
def test_kerple_is_drawn_uniformly(form, ranges):
    """The mean of n uniform numbers on (0, r) is within 5 standard errors r/√(12n) of r/2; raising those
    below 0.01 moves it by less than 0.01."""
    kerple = Kerple(4000, SIZE, form=form)
    for parameter, r in zip((kerple.r1, kerple.r2), ranges, strict=True):
        assert parameter.dtype == torch.float32
        assert parameter.min() + 1e-9 >= 0.01
        assert parameter.max() <= r
        assert abs(parameter.mean() - r / 2) <= 5 * r / math.sqrt(12 * 4000) + 0.01


@pytest.mark.parametrize("form", ["log", "power"])
def test_kerple_stays_within_its_bounds(form):
    """A parameter outside acts as the bound; after an update it is the bound, and learns again from there."""
    kerple = Kerple(2, SIZE, form=form)
    q = queries(6, heads=2, dtype=torch.float32)
    with torch.no_grad():
        kerple.r1.copy_(torch.tensor([-1.0, 0.5]))
        kerple.r2.copy_(torch.tensor([0.5, 7.0]))
    before = kerple.bias(q, 6)
    kerple.after_update()
    torch.testing.assert_close(kerple.r1, torch.tensor([0.01, 0.5]))
    torch.testing.assert_close(kerple.r2, torch.tensor([0.5, 2.0 if form == "power" else 7.0]))
    after = kerple.bias(q, 6)
    assert torch.equal(before, after)
    after.sum().backward()
    assert (kerple.r1.grad != 0).all()
    assert (kerple.r2.grad != 0).all()


@settings(max_examples=25, deadline=None)
@given(*shapes, st.sampled_from([2, 6, 16]), st.sampled_from([0.0, 1.0, 0.3]))
def test_sandwich_is_the_product_of_sinusoids(count, offset, after, heads, size, weight):
    """λ_h (p_i·p_j − p_i·p_i) with λ_h = weight·H/(8h), from the vectors themselves. Each of the size/2
    angles is off by 4·2⁻²⁴ of itself."""
    count, keys, offset, heads = sizes(count, offset, after, heads)
    p = Sinusoidal(size, keys).at(0, keys).double()
    got = Sandwich(heads, SIZE, size=size, weight=weight).bias(queries(count, heads=heads), keys, offset)

    def number(h, i, j):
        return weight * heads / (8 * (h + 1)) * (p[i] @ p[j] - p[i] @ p[i]).item()

    bound = weight * heads / 8 * size / 2 * (12 * 2.0**-24 * keys + 2.0**-21)
    assert (got - pairwise(number, heads, count, keys, offset)).abs().max() <= bound


@settings(max_examples=40, deadline=None)
@given(st.integers(1, 16).map(lambda n: 4 * n), st.integers(1, 400), st.booleans(), st.integers(1, 3000))
def test_buckets_are_those_of_t5(buckets, more, causal, furthest):
    """Every distance up to ``furthest``, in both directions, and the powers of two, where edges fall."""
    bucket = pytest.importorskip("transformers.models.t5.modeling_t5").T5Attention._relative_position_bucket
    module = T5Buckets(1, 1, buckets=buckets, distance=buckets // 2 + more)
    powers = 2 ** torch.arange(20)
    distance = torch.cat((torch.arange(-furthest, furthest + 1), powers, -powers))
    theirs = bucket(-distance, not causal, buckets, buckets // 2 + more)
    assert torch.equal(module.bucket(distance, causal), theirs)


@pytest.mark.parametrize("causal", [True, False])
def test_bias_is_that_of_t5(causal):
    transformers = pytest.importorskip("transformers")
    module = pytest.importorskip("transformers.models.t5.modeling_t5")
    config = transformers.T5Config(
        d_model=8, d_kv=SIZE, num_heads=HEADS, is_decoder=causal, relative_attention_num_buckets=8,
        relative_attention_max_distance=20,
    )  # fmt: skip
    theirs = module.T5Attention(config, has_relative_attention_bias=True, layer_idx=0)
    ours = T5Buckets(HEADS, SIZE, buckets=8, distance=20)
    with torch.no_grad():
        ours.table.copy_(theirs.relative_attention_bias.weight.T)
    got = ours.bias(queries(50, dtype=torch.float32), 50, causal=causal)
    assert torch.equal(got, theirs.compute_bias(50, 50)[0])


def test_t5_buckets_are_drawn_as_t5s():
    """Variance 1/(heads·size): the standard deviation of n normal numbers is within 5/√(2n) of its own."""
    table = T5Buckets(64, 16, buckets=64, distance=128).table
    assert abs(table.std() * math.sqrt(64 * 16) - 1) <= 5 / math.sqrt(2 * table.numel())


def test_a_distance_within_the_exact_buckets_is_refused():
    with pytest.raises(ValueError, match=r"distance = 16 leaves nothing .* allowed: more than 16"):
        spec.T5Buckets(distance=16)


@settings(max_examples=25, deadline=None)
@given(*shapes, st.integers(1, 12))
def test_relative_is_its_formula(count, offset, after, heads, distance):
    """q_i · a_clip(j − i) / √d for every pair."""
    count, keys, offset, heads = sizes(count, offset, after, heads)
    relative = Relative(heads, SIZE, distance=distance).double()
    q = queries(count, heads=heads)
    got = relative.bias(q, keys, offset)
    expected = torch.empty(2, heads, count, keys, dtype=torch.float64)
    for i in range(count):
        for j in range(keys):
            a = relative.table[max(-distance, min(distance, j - offset - i)) + distance]
            expected[:, :, i, j] = (q[:, :, i] @ a).detach() / math.sqrt(SIZE)
    torch.testing.assert_close(got.detach(), expected, rtol=1e-12, atol=1e-12)


def test_relative_is_a_vector_added_to_the_key():
    """Shaw's eq. 4: q·(k + a)/√d is q·k/√d plus the bias."""
    relative = Relative(HEADS, SIZE, distance=2).double()
    q, k = queries(5), queries(5)
    place = (torch.arange(5) - torch.arange(5)[:, None]).clamp(-2, 2) + 2
    keys = k[:, :, None] + relative.table[place]  # (batch, heads, query, key, size)
    scores = (q[:, :, :, None] * keys).sum(-1) / math.sqrt(SIZE)
    torch.testing.assert_close(q @ k.mT / math.sqrt(SIZE) + relative.bias(q, 5), scores)


def test_relative_counts_its_products():
    relative = Relative(HEADS, SIZE, distance=2)
    with FlopCounterMode(display=False) as counter:
        relative.bias(queries(5, dtype=torch.float32), 5)
    assert relative.flops(2, 5) == counter.get_total_flops()


@every
@pytest.mark.parametrize("causal", [True, False])
def test_decoding_is_the_last_rows(part, causal):
    """The last queries alone, at their offset, get what they get among all."""
    module = build(part, HEADS, SIZE)
    q = queries(17, dtype=torch.float32)
    whole = module.bias(q, 17, 0, causal)
    for offset in (16, 12, 1):
        last = module.bias(q[:, :, offset:], 17, offset, causal)
        torch.testing.assert_close(last, whole[..., offset:, :], rtol=1e-6, atol=1e-6)


@every
def test_longer_contexts_continue_shorter_ones(part):
    module = build(part, HEADS, SIZE)
    q = queries(30, dtype=torch.float32)
    torch.testing.assert_close(
        module.bias(q, 30)[..., :9, :9], module.bias(q[:, :, :9], 9), rtol=1e-6, atol=1e-6
    )


@every
def test_the_type_is_that_of_the_queries(part):
    module = build(part, HEADS, SIZE)
    for dtype in (torch.float32, torch.bfloat16, torch.float64, torch.float32):
        assert module.bias(queries(5, dtype=dtype), 5).dtype == dtype
    assert all(p.dtype == torch.float32 for p in module.parameters())


@every
def test_bfloat16_is_close(part):
    """One rounding of the number, 2⁻⁹ of it; relative: of the products (queries, vectors, sum of four)."""
    module = build(part, HEADS, SIZE)
    q = queries(40, dtype=torch.bfloat16)
    low, full = module.bias(q, 40).float(), module.bias(q.float(), 40)
    if part.kind == "relative":
        bound = 2.0**-7 * (q.float().abs() * SIZE**-0.5) @ module.table.abs().T
        assert ((low - full).abs().amax(-1) <= bound.amax(-1)).all()
    else:
        assert ((low - full).abs() <= 2.0**-8 * full.abs()).all()


@every
def test_gradcheck(part):
    module = build(part, HEADS, SIZE).double()
    names = [name for name, _ in module.named_parameters()]
    values = [p.detach().clone().requires_grad_() for p in module.parameters()]
    q = queries(4).requires_grad_(part.kind == "relative")
    if not values:
        assert not module.bias(q, 6, 2).requires_grad
        return

    def bias(q, *parameters):
        given = dict(zip(names, parameters, strict=True))
        return torch.func.functional_call(_Bias(module), {f"module.{n}": p for n, p in given.items()}, (q,))

    assert gradcheck(bias, (q, *values))


class _Bias(torch.nn.Module):
    def __init__(self, module):
        super().__init__()
        self.module = module

    def forward(self, q):
        return self.module.bias(q, 6, 2)


@every
def test_inference_mode_does_not_spoil_later_training(part):
    module = build(part, HEADS, SIZE)
    q = queries(11, dtype=torch.float32)
    with torch.inference_mode():
        before = module.bias(q, 11)
    x = torch.ones(11, 11, requires_grad=True)
    after = module.bias(q, 11)
    (x * after).sum().backward()
    assert torch.equal(before, after)


@every
def test_compiled_is_eager(part):
    bias = torch.compile(_Bias(build(part, HEADS, SIZE)), backend="eager", fullgraph=True)
    q = queries(4, dtype=torch.float32)
    torch.testing.assert_close(bias(q), bias._orig_mod(q), rtol=0, atol=0)


def test_layers_share_a_bias_without_parameters():
    q = queries(6, dtype=torch.float32)
    assert ALiBi(HEADS, SIZE).bias(q, 6) is ALiBi(HEADS, SIZE).bias(q, 6)
