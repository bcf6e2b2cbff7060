"""Which of PyTorch's kernels each kind of attention gets, how long it takes, what memory it needs."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from typing import Any
from unittest.mock import patch

import torch
import torch.nn.functional as F

from bench.gpu.place import Place, Row
from danlu.nn import AttentionMask, attend
from danlu.nn.fused import FUSED, plan

MASKS = ("causal", "window", "documents", "learned bias")
HEADS = {"all heads": (64, 64, 1), "shared keys": (64, 64, 4), "latent": (192, 128, 1)}  # sizes, heads a key


def rows(at: Place) -> Iterator[Row]:
    chosen: dict[str, set[str]] = {}
    for deterministic in (False, True):
        with determined(deterministic):
            for dtype, heads, mask in itertools.product((torch.bfloat16, torch.float32), HEADS, MASKS):
                row = one(at, dtype, heads, mask, deterministic)
                chosen.setdefault(row["kernel"], set()).add(mask)
                yield row
    yield {"what": "kernels taken", **{kernel: ", ".join(sorted(masks)) for kernel, masks in chosen.items()}}
    yield from measured(at)


def one(at: Place, dtype: torch.dtype, heads: str, mask: str, deterministic: bool) -> Row:
    """Forward and backward of one attention of danlu's, by PyTorch's kernel."""
    size, value_size, share = HEADS[heads]
    batch, count, length = at.size((8, 16, 1024), (1, 4, 32))
    shapes = [(batch, count, length, size), (batch, count // share, length, size)]
    shapes.append((batch, count // share, length, value_size))
    q, k, v = (torch.randn(s, dtype=dtype, device=at.device, requires_grad=True) for s in shapes)
    dy = torch.randn(batch, count, length, value_size, dtype=dtype, device=at.device)
    given: dict[str, Any] = {"scale": size**-0.5, "kernel": "sdpa"}
    wanted = [q, k, v]
    if mask == "window":
        given["window"] = length // 4
    elif mask == "documents":
        ids = torch.arange(length, device=at.device).div(length // 4, rounding_mode="floor")
        given["mask"] = AttentionMask(documents=ids.expand(batch, -1))
    elif mask == "learned bias":
        given["bias"] = torch.randn(count, length, length, dtype=dtype, device=at.device, requires_grad=True)
        wanted.append(given["bias"])

    def work() -> None:
        torch.autograd.grad(attend(q, k, v, **given), wanted, dy)

    name = f"{str(dtype).removeprefix('torch.')}, {heads}, {mask}{', deterministic' if deterministic else ''}"
    row: Row = {"what": name, "aside": True, "kernel": "none"}
    try:
        with watched() as taken:
            work()
        row["kernel"] = FUSED.get(taken[0], str(taken[0]))
        row |= {"ms": at.milliseconds(work, repeats=5, warm=2), "MB": at.peak(work)}
    except RuntimeError as error:
        return row | {"wrong": f"{type(error).__name__}: {str(error).splitlines()[0]}"}
    allowed = plan(
        at.device.type,
        dtype,
        masked=mask != "causal",
        gqa=share > 1,
        sizes=(size, value_size),
        deterministic=deterministic,
    ).allowed
    if row["kernel"] not in allowed:
        row["wrong"] = f"{row['kernel']} was taken, allowed: {', '.join(allowed)}"
    return row


@contextmanager
def determined(on: bool) -> Iterator[None]:
    """Within, operators are deterministic, or say that they are not."""
    before = torch.are_deterministic_algorithms_enabled()
    torch.use_deterministic_algorithms(on, warn_only=False)
    try:
        yield
    finally:
        torch.use_deterministic_algorithms(before)


@contextmanager
def watched() -> Iterator[list[int]]:
    """Within, the numbers of the kernels that PyTorch takes for ``scaled_dot_product_attention``."""
    taken: list[int] = []
    real = F.scaled_dot_product_attention

    def call(q: Any, k: Any, v: Any, **given: Any) -> Any:
        more = {"scale": given["scale"], "enable_gqa": given["enable_gqa"]}
        # The public call has keywords for what this one takes by place.
        taken.append(torch._fused_sdp_choice(q, k, v, given["attn_mask"], 0.0, given["is_causal"], **more))
        return real(q, k, v, **given)

    with patch.object(F, "scaled_dot_product_attention", call):
        yield taken


def measured(at: Place) -> Iterator[Row]:
    """danlu's own kernels beside PyTorch's: rows for danlu/catalog/kernels.yaml, roughly measured (python -m
    bench.kernels --device cuda does it well)."""
    if find_spec("rich") is None:  # it draws that benchmark's table
        return
    from bench.kernels import passes

    for dtype, masked, length in itertools.product(
        (torch.bfloat16, torch.float32), (False, True), at.size((256, 1024, 4096), (16,))
    ):
        work = passes(at.device.type, dtype, masked, length)
        times = {column: round(at.milliseconds(one, repeats=5, warm=2), 3) for column, one in work.items()}
        name = f"{str(dtype).removeprefix('torch.')}{', masked' if masked else ''}, {length} positions, ms"
        yield {"what": name, "aside": True, **times}
