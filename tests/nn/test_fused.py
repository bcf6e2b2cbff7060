"""How PyTorch's fused attention is called: on a GPU so that it stays fused."""

from __future__ import annotations

import itertools

import pytest
import torch
from torch._dynamo.testing import CompileCounterWithBackend

from danlu.nn import attend
from danlu.nn.fused import plan

F32, BF16, F16, F64 = torch.float32, torch.bfloat16, torch.float16, torch.float64
# device, dtype, masked, gqa, sizes, deterministic → expand, multiple, allowed
PLANS = [
    ("cpu", BF16, True, True, (64, 64), True, False, 1, ("flash", "math")),
    ("cpu", F32, True, True, (64, 32), False, False, 1, ("flash", "math")),
    ("cuda", BF16, False, False, (64, 64), False, False, 8, ("flash", "cudnn")),
    ("cuda", BF16, False, True, (64, 64), False, False, 8, ("flash", "cudnn")),
    ("cuda", F16, False, True, (256, 256), False, False, 8, ("flash", "cudnn")),
    ("cuda", BF16, False, True, (7, 5), False, False, 8, ("flash", "cudnn")),
    ("cuda", BF16, False, True, (288, 288), False, True, 8, ("cudnn", "efficient")),
    ("cuda", BF16, False, True, (192, 128), False, True, 8, ("cudnn", "efficient")),
    ("cuda", BF16, True, False, (64, 64), False, False, 8, ("cudnn", "efficient")),
    ("cuda", BF16, True, True, (64, 64), False, True, 8, ("cudnn", "efficient")),
    ("cuda", BF16, True, True, (64, 64), True, True, 8, ("efficient",)),
    ("cuda", BF16, False, True, (64, 64), True, True, 8, ("flash", "efficient")),
    ("cuda", F32, False, False, (64, 64), False, False, 4, ("efficient",)),
    ("cuda", F32, False, True, (64, 64), False, True, 4, ("efficient",)),
    ("cuda", F32, True, True, (64, 32), True, True, 4, ("efficient",)),
    ("cuda", F64, False, True, (64, 64), False, False, 1, ("math",)),
    ("mps", F32, True, True, (64, 64), False, False, 1, ("flash", "math")),
]


@pytest.mark.parametrize("row", PLANS)
def test_the_plan_of_a_call(row):
    device, dtype, masked, gqa, sizes, deterministic, *wanted = row
    made = plan(device, dtype, masked=masked, gqa=gqa, sizes=sizes, deterministic=deterministic)
    assert list(made[:3]) == wanted
    assert made.why


def takes(kernel, dtype, masked, shared, sizes, deterministic):
    """Whether PyTorch 2.11 to 2.13 gives a call to a kernel on an H100 (``sdp_utils.cpp``, without the
    conditions that ``attend`` always meets): ``shared``: ``enable_gqa`` with fewer heads of keys."""
    half, (size, value_size) = dtype in (BF16, F16), sizes
    if kernel == "flash":
        return half and not masked and size == value_size <= 256
    if kernel == "cudnn":
        return half and not deterministic and max(sizes) <= 128 and size % 8 == value_size % 8 == 0
    return (
        (half or dtype == F32)
        and not shared
        and size % (8 if half else 4) == 0 == value_size % (8 if half else 4)
    )


def test_no_call_falls_to_the_kernel_that_writes_the_scores_out():
    sizes = [(64, 64), (128, 128), (192, 128), (48, 32), (7, 5), (288, 288), (10, 10)]
    for dtype, masked, gqa, size, deterministic in itertools.product(
        (F32, BF16, F16), (False, True), (False, True), sizes, (False, True)
    ):
        made = plan("cuda", dtype, masked=masked, gqa=gqa, sizes=size, deterministic=deterministic)
        filled = tuple(-(-n // made.multiple) * made.multiple for n in size)
        shared = gqa and not made.expand
        takers = [
            kernel
            for kernel in ("flash", "cudnn", "efficient")
            if takes(kernel, dtype, masked, shared, filled, deterministic)
        ]
        assert set(takers) & set(made.allowed), (dtype, masked, gqa, size, deterministic, takers, made)
        assert set(takers) - {"efficient"} <= set(made.allowed), (dtype, masked, gqa, size, deterministic)


def test_the_compiler_sees_one_graph():
    """Whatever is said of second derivatives, the call is not cut in two."""
    q, k, v = (torch.randn(2, heads, 16, 8, requires_grad=True) for heads in (4, 2, 2))
    counter = CompileCounterWithBackend("aot_eager")
    compiled = torch.compile(
        lambda q, k, v: attend(q, k, v, scale=0.5, kernel="sdpa"), backend=counter, fullgraph=True
    )
    got, expected = compiled(q, k, v), attend(q, k, v, scale=0.5, kernel="sdpa")
    torch.testing.assert_close(got, expected)
    dy = torch.randn_like(expected)
    for a, b in zip(*(torch.autograd.grad(y, (q, k, v), dy) for y in (got, expected)), strict=True):
        torch.testing.assert_close(a, b)
    assert counter.frame_count == 1
