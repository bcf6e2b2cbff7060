"""A network in stages for a pipeline: which blocks each gets, and a network that is one of them."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import accumulate
from typing import Any, cast

import torch.nn as nn

from danlu.models.decoder import Decoder


def cut(costs: Sequence[float], stages: int, *, front: float = 0, back: float = 0) -> list[range]:
    """Blocks that cost ``costs`` in ``stages`` stages of whole blocks, one at least: the most expensive stage
    is as cheap as can be. ``front`` and ``back``: what the first and the last stage cost besides. Among cuts
    that are equally good, stages have as few blocks as possible, the first ones first: a stage keeps what its
    blocks remember of a pass until the pass comes back, and the first stages wait longest.

    Raises ValueError for fewer blocks than stages.

    >>> cut([1, 1, 1, 1, 1, 1], 2), cut([1, 1, 1, 1, 1, 1], 2, back=3)
    ([range(0, 3), range(3, 6)], [range(0, 4), range(4, 6)])
    """
    count = len(costs)
    if not 1 <= stages <= count:
        raise ValueError(f"{count} blocks cannot be cut into {stages} stages")
    before = list(accumulate(costs, initial=0.0))

    def cost(start: int, stop: int) -> float:
        ends = (front if start == 0 else 0) + (back if stop == count else 0)
        return before[stop] - before[start] + ends

    # best[n][start]: the most expensive of n stages that the blocks from `start` on are cut into
    best = [[0.0] * (count + 1) for _ in range(stages + 1)]
    for start in range(count):
        best[1][start] = cost(start, count)
    for n in range(2, stages + 1):
        for start in range(count - n + 1):
            stops = range(start + 1, count - n + 2)
            best[n][start] = min(max(cost(start, stop), best[n - 1][stop]) for stop in stops)
    found, start, bound = [], 0, best[stages][0]
    for left in range(stages - 1, 0, -1):
        fits = (s for s in range(start + 1, count - left + 1) if best[left][s] <= bound)
        stop = next(fits)
        found.append(range(start, stop))
        start = stop
    return [*found, range(start, count)]


def stages_of(model: Decoder, length: int, stages: int) -> list[range]:
    """``cut`` of the blocks of ``model`` by the FLOPs of a pass over ``length`` positions, in which the
    embedding, a look-up, costs its projection alone."""
    projection = model.embedding_projection
    front = 0 if projection is None else projection.flops(length)
    costs = [block.flops(1, length) for block in model.blocks]
    return cut(costs, stages, front=front, back=model.end_flops(length) - front)


class Elsewhere(nn.Module):
    """Stands for a block that another process has."""


# What comes before the first block, and after the last: names of a decoder's modules.
FRONT = ("embedding", "embedding_projection", "position", "embedding_norm", "dropout")
BACK = ("norm", "transform", "transform_norm", "readout_projection", "readout")


def keep_stage(model: Decoder, part: range) -> None:
    """Take all from ``model`` that is not of the stage with the blocks of ``part``. What stays keeps its
    names, so that weights are drawn, saved and loaded as those of the whole. An embedding that is tied to the
    readout stays in the last stage, too.

    Raises ValueError for a part that all blocks share, and for one between blocks.
    """
    if model.position is not None and not hasattr(model.position, "at"):
        raise ValueError(f"all blocks share one {type(model.position).__name__}, which cannot be cut")
    if model.narrow is not None:
        raise ValueError("a bottleneck lies between two blocks, where a network cannot be cut")
    tied = model.readout.weight is model.embedding.weight
    model.here = part
    blocks = cast(nn.ModuleList, model.blocks)
    for i in range(len(blocks)):
        if i not in part:
            blocks[i] = Elsewhere()
    model.lends_embedding = tied and model.begins != model.ends
    for name in (*(() if model.begins else FRONT), *(() if model.ends else BACK)):
        if not (name == "embedding" and tied and model.ends):
            setattr(cast(Any, model), name, None)
