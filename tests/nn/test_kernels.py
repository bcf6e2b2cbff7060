"""Every attention kernel against the definition, for every mask, with documents and biases."""

from __future__ import annotations

import itertools

import pytest
import torch
import torch.nn.functional as F
from hypothesis import example, given, settings
from hypothesis import strategies as st
from torch.autograd import gradcheck

from danlu import spec
from danlu.nn import AttentionMask, Clipped, Sinks, SoftmaxOne, attend, fused, kernels, plain
from danlu.nn.masks import MaskPattern, boolean_mask

KERNELS = ["plain", "sdpa"]
ALL = [*KERNELS, "eager"]
BF16 = 2.0**-8  # rounding to bfloat16 changes a number by at most this share


def reference(
    q, k, v, bias=None, *, scale, mask=None, window=None, sparse=None, softcap=None, normaliser=None
):
    """One operation after another in the inputs' own type, over every pair."""
    mask = mask or AttentionMask()
    pattern = MaskPattern(q.shape[2], k.shape[2], mask.causal, mask.prefix, window, sparse)
    seen = boolean_mask(pattern, q.device)  # checked against its definition in test_masks.py
    if mask.documents is not None:
        ours = mask.documents[:, -q.shape[2] :]
        seen = seen & (ours[:, None, :, None] == mask.documents[:, None, None, :])
    k, v = (t.repeat_interleave(q.shape[1] // k.shape[1], dim=1) for t in (k, v))
    scores = scale * torch.einsum("bhid,bhjd->bhij", q, k)
    if bias is not None:
        scores = scores + bias
    if softcap is not None:
        scores = softcap * torch.tanh(scores / softcap)
    scores = scores.masked_fill(~seen, float("-inf"))
    return (scores.softmax(-1) if normaliser is None else normaliser(scores)) @ v


def inputs(batch=2, groups=2, repeat=1, queries=7, keys=None, size=4, value_size=None, dtype=torch.float64):
    keys = keys or queries
    shapes = [
        (batch, groups * repeat, queries, size),
        (batch, groups, keys, size),
        (batch, groups, keys, value_size or size),
    ]
    return [torch.randn(shape, dtype=dtype) for shape in shapes]


def runs(batch, length):
    """Document ids as packed data has them: runs of one id."""
    return (torch.rand(batch, length) < 0.3).cumsum(dim=1)


def value_and_gradients(f, tensors, **settings):
    tensors = [t.detach().clone().requires_grad_() for t in tensors]
    y = f(*tensors, **settings)
    dy = torch.randn(y.shape, generator=torch.Generator().manual_seed(7), dtype=torch.float64).to(y.dtype)
    return [y.detach(), *torch.autograd.grad(y, tensors, dy)]


def assert_agree(tensors, kernel, rtol=1e-10, atol=1e-11, **settings):
    """Value and gradients; ``tensors`` are q, k, v and, where there is one, the bias."""

    def call(q, k, v, bias=None):
        return attend(q, k, v, bias=bias, kernel=kernel, **settings)

    got = value_and_gradients(call, tensors)
    expected = value_and_gradients(reference, tensors, **settings)
    for name, a, b in zip(["y", "dq", "dk", "dv", "dbias"], got, expected, strict=False):
        torch.testing.assert_close(a, b, rtol=rtol, atol=atol, msg=lambda m, name=name: f"{name}: {m}")


masks = st.one_of(
    st.just({}),
    st.integers(1, 25).map(lambda w: {"window": w}),
    st.integers(1, 9).map(lambda s: {"sparse": spec.Strided(stride=s)}),
    st.integers(1, 9).map(lambda s: {"sparse": spec.Fixed(block=s, columns=(s + 1) // 2)}),
)
cases = st.fixed_dictionaries(
    {
        "batch": st.integers(1, 3),
        "groups": st.integers(1, 3),
        "repeat": st.integers(1, 3),
        "queries": st.integers(1, 20),
        "earlier": st.sampled_from([0, 0, 1, 9]),
        "size": st.integers(1, 5),
        "value_size": st.integers(1, 5),
        "mask": masks,
        "causal": st.booleans(),
        "prefix": st.sampled_from([0, 0, 1, 6, 30]),
        "documents": st.booleans(),
        "bias": st.sampled_from([None, "heads", "batch", "one"]),
        "block": st.integers(1, 24),
        "seed": st.integers(0, 2**31),
    }
)


@pytest.mark.parametrize("kernel", ALL)
@settings(max_examples=100, deadline=None)
@given(case=cases)
def test_kernel_is_the_definition(kernel, case):
    """Every mask, with documents and a learned bias, in blocks of any size; with gradients."""
    torch.manual_seed(case.pop("seed"))
    block, mask, documents, bias, causal, prefix = (
        case.pop(name) for name in ("block", "mask", "documents", "bias", "causal", "prefix")
    )
    keys = case["queries"] + case.pop("earlier") * causal
    ids = runs(case["batch"], keys) if documents else None
    tensors = inputs(**case, keys=keys)
    heads = case["groups"] * case["repeat"]
    if bias is not None:
        shape = {"heads": (heads,), "batch": (case["batch"], heads), "one": (1,)}[bias]
        tensors.append(torch.randn(*shape, case["queries"], keys, dtype=torch.float64))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(plain, "BLOCK", block)
        assert_agree(tensors, kernel, scale=0.7, mask=AttentionMask(causal, prefix, ids), **mask)


PARTS = {
    "softcap": lambda heads: {"softcap": 1.3},
    "softmax1": lambda heads: {"normaliser": SoftmaxOne(heads)},
    "sinks": lambda heads: {"normaliser": Sinks(heads)},
    "clipped": lambda heads: {"normaliser": Clipped(heads, alpha=0.6, zeta=1.02)},
    "softcap-sinks": lambda heads: {"softcap": 0.8, "normaliser": Sinks(heads)},
}


@pytest.mark.parametrize("part", PARTS)
@settings(max_examples=15, deadline=None)
@given(case=cases)
def test_eager_parts_are_their_definitions(part, case):
    """What only the third kernel can do: in blocks, and of the keys that are seen alone."""
    torch.manual_seed(case.pop("seed"))
    keys, heads = case["queries"] + case["earlier"], case["groups"] * case["repeat"]
    sizes = {name: case[name] for name in ("batch", "groups", "repeat", "queries", "size", "value_size")}
    tensors = [*inputs(**sizes, keys=keys), torch.randn(heads, case["queries"], keys, dtype=torch.float64)]
    scope = AttentionMask(True, case["prefix"], runs(case["batch"], keys) if case["documents"] else None)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(plain, "BLOCK", case["block"])
        assert_agree(tensors, None, scale=0.7, mask=scope, **case["mask"], **PARTS[part](heads))


def test_softcap_is_its_formula_and_none_where_it_is_wide():
    q, k, v = inputs(queries=5)
    s = 2.0 * q @ k.mT
    hidden = torch.ones(5, 5).triu(1) > 0
    capped = (3 * torch.tanh(s / 3)).masked_fill(hidden, float("-inf")).softmax(-1) @ v
    torch.testing.assert_close(attend(q, k, v, scale=2.0, softcap=3.0), capped, rtol=1e-12, atol=1e-12)
    wide = attend(q, k, v, scale=2.0, softcap=1e8)
    torch.testing.assert_close(wide, attend(q, k, v, scale=2.0), rtol=1e-12, atol=1e-12)
    narrow = attend(q, k, v, scale=2.0, softcap=1e-12)  # scores of zero: the mean of what is seen
    means = v.cumsum(2) / torch.arange(1, 6)[:, None]
    torch.testing.assert_close(narrow, means, rtol=1e-9, atol=1e-9)


@settings(max_examples=12, deadline=None)
@example(128, 0, None, False)
@example(129, 0, None, True)
@example(256, 0, 128, False)
@example(257, 5, 129, False)
@example(1, 200, 64, False)
@given(st.integers(100, 300), st.sampled_from([0, 1, 130]), st.none() | st.integers(1, 300), st.booleans())
def test_plain_kernel_with_blocks_of_its_own_size(queries, earlier, window, documents):
    keys = queries + earlier
    ids = runs(1, keys) if documents else None
    tensors = inputs(batch=1, groups=1, repeat=2, queries=queries, keys=keys)
    assert_agree(tensors, "plain", scale=0.5, window=window, mask=AttentionMask(documents=ids))


@pytest.mark.parametrize(
    ("queries", "earlier", "repeat", "window", "documents", "bias"),
    [
        (7, 0, 1, None, False, None),
        (8, 0, 2, 3, False, (4,)),
        (5, 4, 1, None, True, (2, 2)),
        (5, 3, 2, 4, True, (1,)),
    ],
)
def test_plain_kernel_gradcheck(monkeypatch, queries, earlier, repeat, window, documents, bias):
    monkeypatch.setattr(plain, "BLOCK", 3)
    keys = queries + earlier
    scope = AttentionMask(documents=runs(2, keys) if documents else None)
    tensors = inputs(repeat=repeat, queries=queries, keys=keys, size=2, value_size=3)
    if bias is not None:
        tensors.append(torch.randn(*bias, queries, keys, dtype=torch.float64))

    def call(q, k, v, bias=None):
        return attend(q, k, v, bias=bias, scale=0.8, window=window, mask=scope, kernel="plain")

    assert gradcheck(call, [t.requires_grad_() for t in tensors])


@pytest.mark.parametrize("kernel", ALL)
def test_strided_inputs(kernel):
    """Queries, keys and values cut out of one projection, as Attention makes them."""
    qkv = torch.randn(2, 11, 8, 4, dtype=torch.float64)

    def heads(q, k, v):
        return [t.transpose(1, 2) for t in (q, k, v)]

    parts = qkv.split((4, 2, 2), dim=2)
    strided = value_and_gradients(lambda q, k, v: attend(*heads(q, k, v), scale=0.5, kernel=kernel), parts)
    expected = value_and_gradients(lambda q, k, v: reference(*heads(q, k, v), scale=0.5), parts)
    for a, b in zip(strided, expected, strict=True):
        torch.testing.assert_close(a, b, rtol=1e-10, atol=1e-11)
    direct = attend(*heads(*parts), scale=0.5, kernel=kernel)
    torch.testing.assert_close(direct, strided[0], rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("window", [9, 10, 1000])
def test_a_window_as_long_as_the_text_is_none(monkeypatch, window):
    monkeypatch.setattr(plain, "BLOCK", 4)
    tensors = inputs(queries=9, repeat=2)
    got = value_and_gradients(attend, tensors, scale=0.5, window=window, kernel="plain")
    expected = value_and_gradients(attend, tensors, scale=0.5, kernel="plain")
    assert all(torch.equal(a, b) for a, b in zip(got, expected, strict=True))
    assert_agree(tensors, "sdpa", scale=0.5, window=window)
    got = value_and_gradients(attend, tensors, scale=0.5, window=window, kernel="sdpa")
    assert all(torch.allclose(a, b, rtol=1e-12, atol=1e-12) for a, b in zip(got, expected, strict=True))


@pytest.mark.parametrize("kernel", ALL)
def test_a_window_of_one_is_the_value_itself(kernel):
    q, k, v = inputs(queries=9)
    torch.testing.assert_close(attend(q, k, v, scale=0.5, window=1, kernel=kernel), v, rtol=1e-14, atol=1e-14)


@pytest.mark.parametrize("window", [None, 4])
@pytest.mark.parametrize("kernel", ALL)
def test_documents_are_as_if_alone(monkeypatch, kernel, window):
    monkeypatch.setattr(plain, "BLOCK", 4)
    lengths = [3, 1, 7, 2]
    q, k, v = inputs(batch=1, repeat=2, queries=sum(lengths))
    ids = torch.repeat_interleave(torch.tensor([5, 0, 9, 5]), torch.tensor(lengths))[None]
    ids[0, -lengths[-1] :] = 6
    got = attend(q, k, v, scale=0.5, window=window, mask=AttentionMask(documents=ids), kernel=kernel)
    parts = zip(*(t.split(lengths, dim=2) for t in (q, k, v)), strict=True)
    for y, (q1, k1, v1) in zip(got.split(lengths, dim=2), parts, strict=True):
        torch.testing.assert_close(y, attend(q1, k1, v1, scale=0.5, window=window, kernel=kernel))


@pytest.mark.parametrize("window", [None, 4])
@pytest.mark.parametrize("kernel", ALL)
def test_queries_in_two_parts_are_queries_at_once(kernel, window):
    q, k, v = inputs(queries=11)
    whole = attend(q, k, v, scale=0.5, window=window, kernel=kernel)
    first = attend(q[:, :, :6], k[:, :, :6], v[:, :, :6], scale=0.5, window=window, kernel=kernel)
    rest = attend(q[:, :, 6:], k, v, scale=0.5, window=window, kernel=kernel)
    torch.testing.assert_close(torch.cat((first, rest), dim=2), whole, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("kernel", ALL)
def test_large_scores_do_not_overflow(kernel):
    q, k, v = inputs(queries=9, dtype=torch.float32)
    for tensor in value_and_gradients(attend, [1e4 * q, 1e4 * k, v], scale=1.0, kernel=kernel):
        assert tensor.isfinite().all()


def test_plain_kernel_in_bfloat16():
    """Scores of spread s are off by s·2⁻⁸, and so are the weights; every product rounds once more."""
    tensors = inputs(queries=150, repeat=2, size=16, dtype=torch.bfloat16)
    got = value_and_gradients(attend, tensors, scale=0.25, kernel="plain")
    exact = value_and_gradients(reference, [t.double() for t in tensors], scale=0.25)
    for a, b in zip(got, exact, strict=True):
        assert a.dtype == torch.bfloat16
        assert (a.double() - b).norm() <= 6 * BF16 * b.norm()


@pytest.mark.parametrize("kernel", ALL)
def test_inference_mode_does_not_spoil_later_training(kernel):
    tensors = inputs(queries=13)  # a length that no other test has, since masks are kept
    with torch.inference_mode():
        before = attend(*tensors, scale=0.5, window=6, kernel=kernel)
    assert torch.equal(value_and_gradients(attend, tensors, scale=0.5, window=6, kernel=kernel)[0], before)


@pytest.mark.parametrize("device", ["cpu", "cuda"])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16])
@pytest.mark.parametrize("masked", [False, True])
def test_the_choice_is_a_kernel_and_a_reason(device, dtype, masked):
    choice = kernels.choose(device, dtype, masked=masked)
    assert choice.kernel in KERNELS
    assert choice.why
    needed = kernels.choose(device, dtype, masked=masked, needs="softcap")
    assert needed.kernel == "eager"
    assert "softcap" in needed.why


def test_the_choice_is_what_runs(monkeypatch):
    calls = []
    fused = F.scaled_dot_product_attention
    monkeypatch.setattr(F, "scaled_dot_product_attention", lambda *a, **b: calls.append(1) or fused(*a, **b))
    tensors = inputs()
    for chosen in ALL:
        monkeypatch.setattr(kernels, "choose", lambda *_, chosen=chosen, **__: kernels.Choice(chosen, ""))
        calls.clear()
        attend(*tensors, scale=1.0)
        assert bool(calls) == (chosen == "sdpa")


@settings(max_examples=60, deadline=None)
@given(case=cases, deterministic=st.booleans())
def test_a_call_as_for_a_gpu_is_the_definition(case, deterministic):
    """Repeated keys and heads filled up change neither the value nor a gradient; the CPU runs the call."""
    torch.manual_seed(case.pop("seed"))
    documents, bias, causal, prefix = (case.pop(name) for name in ("documents", "bias", "causal", "prefix"))
    mask = case.pop("mask")
    case.pop("block")
    keys = case["queries"] + case.pop("earlier") * causal
    ids = runs(case["batch"], keys) if documents else None
    tensors = inputs(**case, keys=keys)
    if bias is not None:
        heads = case["groups"] * case["repeat"]
        shape = {"heads": (heads,), "batch": (case["batch"], heads), "one": (1,)}[bias]
        tensors.append(torch.randn(*shape, case["queries"], keys, dtype=torch.float64))
    made, calls = fused.plan, []
    real = F.scaled_dot_product_attention

    def call(q, k, v, **given):
        calls.append((q, k, v, given))
        return real(q, k, v, **given)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(
            fused,
            "plan",
            lambda _, __, **given: made("cuda", torch.float32, **(given | {"deterministic": deterministic})),
        )
        patch.setattr(F, "scaled_dot_product_attention", call)
        assert_agree(tensors, "sdpa", scale=0.7, mask=AttentionMask(causal, prefix, ids), **mask)
    for q, k, v, more in calls:
        assert q.shape[1] == k.shape[1] == v.shape[1] and not more["enable_gqa"]
        assert q.shape[-1] % 4 == v.shape[-1] % 4 == 0


# --- the choice that a run keeps ---------------------------------------------------------------------------


def table(*rows):
    return {
        ("cpu", "float32", masked): tuple(kernels.Measured(*row) for row in rows) for masked in (False, True)
    }


def test_a_run_keeps_its_kernels_when_the_table_changes(monkeypatch):
    monkeypatch.setattr(kernels, "MEASURED", table((64, 1.0, 2.0), (512, 2.0, 1.0)))
    kept = kernels.to_keep("cpu", torch.float32)
    assert kept == {mask: {"64": "sdpa", "512": "plain"} for mask in ("open", "masked")}
    monkeypatch.setattr(kernels, "MEASURED", table((64, 2.0, 1.0), (512, 1.0, 2.0)))
    for masked, length in itertools.product((False, True), (1, 60, 100, 400, 9000)):
        now = kernels.choose("cpu", torch.float32, length, masked=masked)
        assert now.kernel == ("plain" if length < 181 else "sdpa")  # 181: √(64 · 512)
        with kernels.kernel_choice(kept):
            then = kernels.choose("cpu", torch.float32, length, masked=masked)
        assert then.kernel == ("sdpa" if length < 181 else "plain")
        assert "began" in then.why
        assert kernels.choose("cpu", torch.float32, length, masked=masked) == now


@pytest.mark.parametrize("device", ["cpu", "cuda", "elsewhere"])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_what_is_kept_is_what_the_table_says(device, dtype):
    kept = kernels.to_keep(device, dtype)
    for masked, length in itertools.product((False, True), (1, 64, 100, 1000, 5000)):
        by_table = kernels.choose(device, dtype, length, masked=masked)
        with kernels.kernel_choice(kept):
            assert kernels.choose(device, dtype, length, masked=masked).kernel == by_table.kernel


def test_a_kept_choice_gives_way_to_what_a_kernel_cannot_do():
    with kernels.kernel_choice({"open": {"64": "sdpa"}, "masked": {"64": "sdpa"}}):
        assert kernels.choose("cpu", torch.float32, 64, needs="softcap").kernel == "eager"
        assert kernels.choose("cpu", torch.float32, 64, biased=True).kernel == "plain"


@pytest.mark.parametrize(
    "wrong", [{"open": {"64": "fast"}}, {"open": {"-1": "sdpa"}}, {"opened": {"64": "sdpa"}}]
)
def test_a_choice_that_is_none_is_refused(wrong):
    with (
        pytest.raises(ValueError, match=r"is not a choice of a kernel; allowed"),
        kernels.kernel_choice(wrong),
    ):
        pass
    assert not kernels._KEPT
