"""Tensors in pieces that fit the cache of a CPU, so that a chain of operations reads main memory once."""

from __future__ import annotations

from collections.abc import Iterator

from torch import Tensor

# Elements that go through a chain of operations together on a CPU: with 2¹⁷ a weight, its gradient and a
# momentum in float32 are 1.5 MB, and the calls still cost little beside the work.
CHUNK = 1 << 17
LARGE = 1 << 25  # on other devices, where calls cost little beside so many, and copies of them are not large


def pieces(columns: list[list[Tensor]], size: int = CHUNK) -> Iterator[list[list[Tensor]]]:
    """The columns cut and grouped so that about ``size`` elements of each go together; on a GPU whole
    tensors, ``LARGE`` together."""
    if columns[0] and columns[0][0].device.type != "cpu":
        start = 0
        for some in batches(columns[0]):
            yield [column[start : start + len(some)] for column in columns]
            start += len(some)
        return
    pending: list[list[Tensor]] = [[] for _ in columns]
    count = 0
    for row in zip(*columns, strict=True):
        for piece in cut(row, size):
            if count and count + piece[0].numel() > size:
                yield pending
                pending, count = [[] for _ in columns], 0
            for column, part in zip(pending, piece, strict=True):
                column.append(part)
            count += piece[0].numel()
    if count:
        yield pending


def batches(params: list[Tensor]) -> Iterator[list[Tensor]]:
    """Whole tensors that together fill the cache of a CPU, or are ``LARGE``; or one that is larger."""
    most = CHUNK if params[0].device.type == "cpu" else LARGE
    pending: list[Tensor] = []
    count = 0
    for p in params:
        if pending and count + p.numel() > most:
            yield pending
            pending, count = [], 0
        pending.append(p)
        count += p.numel()
    yield pending


def cut(row: tuple[Tensor, ...], size: int = CHUNK) -> Iterator[tuple[Tensor, ...]]:
    """Tensors of one shape cut into flat pieces, or whole if they are small or not contiguous."""
    if row[0].numel() <= size or row[0].device.type != "cpu" or not all(t.is_contiguous() for t in row):
        return iter((row,))
    return zip(*(t.view(-1).split(size) for t in row), strict=True)


def cut_rows(row: tuple[Tensor, ...], size: int = CHUNK) -> Iterator[tuple[Tensor, ...]]:
    """Tensors with the same number of rows cut into pieces of whole rows; the first is the largest."""
    if row[0].device.type != "cpu":
        return iter((row,))
    rows = max(1, size * row[0].shape[0] // max(1, row[0].numel()))
    return zip(*(t.split(rows) for t in row), strict=True)
