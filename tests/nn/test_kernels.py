"""Every attention kernel against PyTorch's reference, with a mask written from the definition."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from hypothesis import example, given, settings
from hypothesis import strategies as st
from torch.autograd import gradcheck
from torch.nn.attention import SDPBackend, sdpa_kernel

from danlu.nn import attend, kernels

KERNELS = ["plain", "sdpa"]
BF16 = 2.0**-8  # rounding to bfloat16 changes a number by at most this share


def seen(queries, keys, window=None, documents=None):
    """Which key each query may see, straight from the definition: (B or 1, 1, T, S)."""
    rows = documents.tolist() if documents is not None else [[0] * keys]
    offset = keys - queries
    return torch.tensor(
        [
            [
                [
                    j <= i and (window is None or i - j < window) and row[i] == row[j]
                    for j in range(keys)
                ]
                for i in range(offset, keys)
            ]
            for row in rows
        ]
    )[:, None]  # fmt: skip


def reference(q, k, v, *, scale, window=None, documents=None):
    mask = seen(q.shape[2], k.shape[2], window, documents)
    with sdpa_kernel(SDPBackend.MATH):
        return F.scaled_dot_product_attention(q, k, v, mask, scale=scale, enable_gqa=True)


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
    got = value_and_gradients(attend, tensors, kernel=kernel, **settings)
    expected = value_and_gradients(reference, tensors, **settings)
    for name, a, b in zip(["y", "dq", "dk", "dv"], got, expected, strict=True):
        torch.testing.assert_close(a, b, rtol=rtol, atol=atol, msg=lambda m, name=name: f"{name}: {m}")


cases = st.fixed_dictionaries(
    {
        "batch": st.integers(1, 3),
        "groups": st.integers(1, 3),
        "repeat": st.integers(1, 3),
        "queries": st.integers(1, 20),
        "earlier": st.integers(0, 9),
        "size": st.integers(1, 5),
        "value_size": st.integers(1, 5),
        "window": st.none() | st.integers(1, 25),
        "documents": st.booleans(),
        "block": st.integers(1, 24),
        "seed": st.integers(0, 2**31),
    }
)


@pytest.mark.parametrize("kernel", KERNELS)
@settings(max_examples=60, deadline=None)
@given(case=cases)
def test_kernel_is_the_definition(kernel, case):
    torch.manual_seed(case.pop("seed"))
    block, window, documents = (case.pop(name) for name in ("block", "window", "documents"))
    keys = case["queries"] + case.pop("earlier")
    ids = runs(case["batch"], keys) if documents else None
    tensors = inputs(**case, keys=keys)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(kernels, "BLOCK", block)
        assert_agree(tensors, kernel, scale=0.7, window=window, documents=ids)


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
    assert_agree(tensors, "plain", scale=0.5, window=window, documents=ids)


@pytest.mark.parametrize(
    ("queries", "earlier", "repeat", "window", "documents"),
    [(7, 0, 1, None, False), (8, 0, 2, 3, False), (5, 4, 1, None, True), (5, 3, 2, 4, True)],
)
def test_plain_kernel_gradcheck(monkeypatch, queries, earlier, repeat, window, documents):
    monkeypatch.setattr(kernels, "BLOCK", 3)
    keys = queries + earlier
    ids = runs(2, keys) if documents else None
    tensors = [
        t.requires_grad_() for t in inputs(repeat=repeat, queries=queries, keys=keys, size=2, value_size=3)
    ]
    assert gradcheck(
        lambda q, k, v: attend(q, k, v, scale=0.8, window=window, documents=ids, kernel="plain"), tensors
    )


@pytest.mark.parametrize("kernel", KERNELS)
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
    monkeypatch.setattr(kernels, "BLOCK", 4)
    tensors = inputs(queries=9, repeat=2)
    got = value_and_gradients(attend, tensors, scale=0.5, window=window, kernel="plain")
    expected = value_and_gradients(attend, tensors, scale=0.5, kernel="plain")
    assert all(torch.equal(a, b) for a, b in zip(got, expected, strict=True))
    assert_agree(tensors, "sdpa", scale=0.5, window=window)
    got = value_and_gradients(attend, tensors, scale=0.5, window=window, kernel="sdpa")
    assert all(torch.allclose(a, b, rtol=1e-12, atol=1e-12) for a, b in zip(got, expected, strict=True))


@pytest.mark.parametrize("kernel", KERNELS)
def test_a_window_of_one_is_the_value_itself(kernel):
    q, k, v = inputs(queries=9)
    torch.testing.assert_close(attend(q, k, v, scale=0.5, window=1, kernel=kernel), v, rtol=1e-14, atol=1e-14)


@pytest.mark.parametrize("window", [None, 4])
@pytest.mark.parametrize("kernel", KERNELS)
def test_documents_are_as_if_alone(monkeypatch, kernel, window):
    monkeypatch.setattr(kernels, "BLOCK", 4)
    lengths = [3, 1, 7, 2]
    q, k, v = inputs(batch=1, repeat=2, queries=sum(lengths))
    ids = torch.repeat_interleave(torch.tensor([5, 0, 9, 5]), torch.tensor(lengths))[None]
    ids[0, -lengths[-1] :] = 6
    got = attend(q, k, v, scale=0.5, window=window, documents=ids, kernel=kernel).split(lengths, dim=2)
    parts = zip(*(t.split(lengths, dim=2) for t in (q, k, v)), strict=True)
    for y, (q1, k1, v1) in zip(got, parts, strict=True):
        torch.testing.assert_close(y, attend(q1, k1, v1, scale=0.5, window=window, kernel=kernel))


@pytest.mark.parametrize("window", [None, 4])
@pytest.mark.parametrize("kernel", KERNELS)
def test_queries_in_two_parts_are_queries_at_once(kernel, window):
    q, k, v = inputs(queries=11)
    whole = attend(q, k, v, scale=0.5, window=window, kernel=kernel)
    first = attend(q[:, :, :6], k[:, :, :6], v[:, :, :6], scale=0.5, window=window, kernel=kernel)
    rest = attend(q[:, :, 6:], k, v, scale=0.5, window=window, kernel=kernel)
    torch.testing.assert_close(torch.cat((first, rest), dim=2), whole, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("kernel", KERNELS)
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


@pytest.mark.parametrize("kernel", KERNELS)
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


def test_the_choice_is_what_runs(monkeypatch):
    calls = []
    plain = F.scaled_dot_product_attention
    monkeypatch.setattr(F, "scaled_dot_product_attention", lambda *a, **b: calls.append(1) or plain(*a, **b))
    tensors = inputs()
    for chosen in KERNELS:
        monkeypatch.setattr(kernels, "choose", lambda *_, chosen=chosen, **__: kernels.Choice(chosen, ""))
        calls.clear()
        attend(*tensors, scale=1.0)
        assert bool(calls) == (chosen == "sdpa")
