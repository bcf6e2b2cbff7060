"""FlexAttention beside the kernels that would run without it: the same numbers, time and memory."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import nullcontext
from typing import Any

import torch

from bench.gpu.place import Place, Row
from danlu.nn import AttentionMask, Sinks, attend
from danlu.nn.kernels import ByDistance
from danlu.nn.packed import packed, packs
from danlu.nn.positions import ALiBi, T5Buckets

BOUND = 2e-2  # of the length of an output or a gradient in bfloat16


def rows(at: Place) -> Iterator[Row]:
    batch, heads, groups, length, size = at.size((8, 16, 4, 2048, 64), (1, 4, 2, 256, 16))
    shapes = [(batch, h, length, size) for h in (heads, groups, groups)]
    q, k, v = (torch.randn(s, dtype=torch.bfloat16, device=at.device, requires_grad=at.cuda) for s in shapes)
    documents = torch.arange(length, device=at.device).div(length // 5, rounding_mode="floor")
    for name, given, other in cases(at, q, documents.expand(batch, -1)):
        yield one(at, name, [q, k, v], given, other)
    yield varlen(at, [q, k, v], documents.expand(batch, -1))


def cases(at: Place, q: torch.Tensor, documents: torch.Tensor) -> Iterator[tuple[str, dict[str, Any], str]]:
    """Name, settings of ``attend``, the kernel that would run otherwise."""
    heads, length = q.shape[1:3]
    yield "window", {"window": length // 8}, "sdpa"
    yield "documents", {"mask": AttentionMask(documents=documents)}, "sdpa"
    yield "prefix", {"mask": AttentionMask(prefix=length // 4)}, "sdpa"
    yield "soft-cap", {"softcap": 30.0}, "eager"
    yield "sinks", {"normaliser": Sinks(heads).to(at.device), "window": length // 8}, "eager"
    for name, part in (("alibi", ALiBi(heads, q.shape[-1])), ("t5", T5Buckets(heads, q.shape[-1]))):
        yield name, {"bias": by_distance(part.to(at.device), q, at.cuda)}, "sdpa"


def by_distance(part: Any, q: torch.Tensor, learned: bool) -> ByDistance:
    """What a position adds to the scores of ``q``."""
    length = q.shape[2]
    return ByDistance(lambda: part.numbers(q, length), lambda: part.bias(q, length), learned)


def one(at: Place, name: str, inputs: list[torch.Tensor], given: dict[str, Any], other: str) -> Row:
    """Forward and backward by FlexAttention and by the ``other`` kernel; on a CPU forward alone."""
    dy = torch.randn_like(inputs[0])

    def work(kernel: str) -> list[torch.Tensor]:
        with nullcontext() if at.cuda else torch.no_grad():
            y = attend(*inputs, scale=inputs[0].shape[-1] ** -0.5, kernel=kernel, **given)
        return [y, *torch.autograd.grad(y, inputs, dy)] if at.cuda else [y]

    row: Row = {"what": f"flex, {name}"}
    try:
        off = max(distance(a, b) for a, b in zip(work("flex"), work(other), strict=True))
        row |= {"ms": at.milliseconds(lambda: work("flex"), repeats=5), "MB": at.peak(lambda: work("flex"))}
        row |= {f"{other} ms": at.milliseconds(lambda: work(other), repeats=5)}
        row |= {f"{other} MB": at.peak(lambda: work(other)), "off by": off}
        if not off <= BOUND:
            row["wrong"] = f"not what {other} computes"
    except Exception as error:  # one may be missing or broken, the others still tell something
        row["wrong"] = f"{type(error).__name__}: {str(error).splitlines()[0]}"
    return row


def distance(a: torch.Tensor, b: torch.Tensor) -> float:
    """Of ``a`` from ``b``, as a share of its length."""
    return float((a.float() - b.float()).norm() / b.float().norm())


def varlen(at: Place, inputs: list[torch.Tensor], documents: torch.Tensor) -> Row:
    """PyTorch's kernel for sequences of different lengths, with the documents as such."""
    row: Row = {"what": "varlen, documents"}
    if not packs(at.device.type):
        return row | {"aside": True, "missing": "PyTorch has none for this device"}
    scale, dy = inputs[0].shape[-1] ** -0.5, torch.randn_like(inputs[0])

    def work(kernel: str = "") -> list[torch.Tensor]:
        y = (
            attend(*inputs, scale=scale, kernel=kernel, mask=AttentionMask(documents=documents))
            if kernel
            else packed(*inputs, scale=scale, documents=documents)
        )
        return [y, *torch.autograd.grad(y, inputs, dy)]

    try:
        off = max(distance(a, b) for a, b in zip(work(), work("sdpa"), strict=True))
        row |= {"ms": at.milliseconds(work, repeats=5), "MB": at.peak(work), "off by": off}
        if not off <= BOUND:
            row["wrong"] = "not what sdpa computes"
    except Exception as error:
        row["wrong"] = f"{type(error).__name__}: {str(error).splitlines()[0]}"
    return row
