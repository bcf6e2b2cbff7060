"""Documents laid end to end: where they begin, and attention over them by a kernel that is stood in for."""

from __future__ import annotations

import sys
from types import ModuleType
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from danlu.nn import AttentionMask, attend
from danlu.nn.packed import boundaries, packed, packs
from tests.nn.test_kernels import runs

ROWS = st.lists(st.integers(0, 2), min_size=6, max_size=6)


@settings(max_examples=100, deadline=None)
@given(
    st.lists(st.lists(st.integers(0, 2), min_size=6, max_size=6), min_size=1, max_size=4), st.integers(0, 9)
)
def test_boundaries_are_where_a_document_begins(rows: list[list[int]], more: int) -> None:
    ids = [(row, one) for row, ones in enumerate(rows) for one in ones]
    begins = [i for i, one in enumerate(ids) if i == 0 or one != ids[i - 1]]
    total, documents = len(ids), torch.tensor(rows)
    found = boundaries(documents)
    assert found.dtype == torch.int32 and len(found) == total + 1
    assert found.tolist() == begins + [total] * (total + 1 - len(begins))
    room = len(begins) + more
    assert boundaries(documents, room).tolist() == begins + [total] * (room + 1 - len(begins))


def test_nothing_is_read_from_the_device() -> None:
    assert boundaries(torch.empty(3, 5, dtype=torch.int64, device="meta")).shape == (16,)


def by_sequence(
    q: torch.Tensor, k: torch.Tensor, v: torch.Tensor, cu_q: torch.Tensor, cu_k: torch.Tensor, most_q: int,
    most_k: int, *, scale: float, window_size: tuple[int, int], enable_gqa: bool,
) -> torch.Tensor:  # fmt: skip
    """What PyTorch's documentation says of ``varlen_attn``, one sequence after another: a query sees the
    ``window_size[0]`` keys before it (−1: all), itself, and none after it."""
    assert torch.equal(cu_q, cu_k) and window_size[1] == 0 and enable_gqa == (q.shape[1] != k.shape[1])
    out = []
    k, v = (t.repeat_interleave(q.shape[1] // k.shape[1], dim=1) for t in (k, v))
    for low, high in zip(cu_q.tolist(), cu_q.tolist()[1:], strict=False):
        assert high - low <= most_q == most_k
        i = torch.arange(high - low)
        back = i[:, None] - i
        seen = (back >= 0) & ((back <= window_size[0]) | (window_size[0] < 0))
        scores = scale * torch.einsum("ihd,jhd->hij", q[low:high], k[low:high])
        weights = scores.masked_fill(~seen, float("-inf")).softmax(-1)
        out.append(torch.einsum("hij,jhd->ihd", weights, v[low:high]))
    return torch.cat(out)


@pytest.mark.parametrize("window", [None, 1, 3])
@pytest.mark.parametrize("groups", [1, 4])
def test_it_is_attention_within_documents(window: int | None, groups: int, monkeypatch: Any) -> None:
    module = ModuleType("torch.nn.attention.varlen")
    module.varlen_attn = by_sequence  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, module.__name__, module)
    torch.manual_seed(0)
    shapes = [(2, h, 11, 5) for h in (4, groups, groups)]
    q, k, v = (torch.randn(s, dtype=torch.float64, requires_grad=True) for s in shapes)
    documents, dy = runs(2, 11), torch.randn(2, 4, 11, 5, dtype=torch.float64)
    y = packed(q, k, v, scale=0.4, documents=documents, window=window)
    mask = AttentionMask(documents=documents)
    expected = attend(q, k, v, scale=0.4, mask=mask, window=window, kernel="eager")
    torch.testing.assert_close(y, expected, rtol=1e-12, atol=1e-12)
    for a, b in zip(*(torch.autograd.grad(out, (q, k, v), dy) for out in (y, expected)), strict=True):
        torch.testing.assert_close(a, b, rtol=1e-12, atol=1e-12)


def test_where_it_is() -> None:
    assert not packs("cpu")
    assert packs("cuda") is hasattr(torch.nn.attention, "varlen")
