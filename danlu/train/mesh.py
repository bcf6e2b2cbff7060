"""Which processes stand together along each axis of ``train.mesh``, and the groups that they talk through.

Processes are numbered with ``AXES`` from the outermost to the innermost: neighbours, which share the fastest
links, are tensor parallel. Groups there are: ``Axes`` names them all.

What every part of training keeps to, so that parts need not know of each other:

- The loss of an update is the sum over rows, positions and stages of what each process computes; processes
  that differ by ``tensor`` alone compute the same number, which counts once.
- A collective in the network has its true adjoint in the backward pass (of a sum over processes that is the
  sum of the gradients), so that the gradient of a parameter is the sum of what its processes have.
- DDP and FSDP2 average gradients over ``stage``; ``Processes.share_of_loss`` turns that into the sum.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from itertools import product
from typing import TYPE_CHECKING

from danlu.spec.mesh import Mesh

if TYPE_CHECKING:
    from torch.distributed import ProcessGroup
    from torch.distributed.device_mesh import DeviceMesh

AXES = ("pipeline", "replicate", "shard", "context", "tensor")


@dataclass(frozen=True)
class Axis:
    """This process among ``count`` that stand together: its ``rank``, and the ``group`` that they talk
    through (None: the default group, or it is alone)."""

    rank: int = 0
    count: int = 1
    group: ProcessGroup | None = None


@dataclass(frozen=True)
class Axes:
    """Where this process stands in a mesh that is not plain.

    ``tensor``, ``context``, ``pipeline``: those that differ by that alone. ``data``: those that have other
    rows of the batch, and are alike in the rest. ``rows``: all that compute other terms of the loss, so all
    but those that differ by ``tensor``. ``stage``: all that hold the same layers, over which gradients are
    averaged; ``tokens``: those of a stage that see other rows or positions. ``shard``: those of a stage among
    which FSDP2 shards weights; ``mesh``: the same for ``fully_shard``, of one dimension, or (replicate,
    shard).
    """

    tensor: Axis
    context: Axis
    pipeline: Axis
    data: Axis
    rows: Axis
    stage: Axis
    tokens: Axis
    shard: Axis
    mesh: DeviceMesh


def together(sizes: dict[str, int], along: Collection[str]) -> list[list[int]]:
    """The numbers of the processes that differ along some axes alone: a list for each such group.

    ``sizes``: by axis, from the outermost; the innermost counts fastest.

    >>> together({"shard": 2, "tensor": 2}, ["tensor"]), together({"shard": 2, "tensor": 2}, ["shard"])
    ([[0, 1], [2, 3]], [[0, 2], [1, 3]])
    """
    found: dict[tuple[int, ...], list[int]] = {}
    for number, place in enumerate(product(*(range(size) for size in sizes.values()))):
        rest = tuple(i for name, i in zip(sizes, place, strict=True) if name not in along)
        found.setdefault(rest, []).append(number)
    return list(found.values())


def sizes_of(mesh: Mesh, processes: int) -> dict[str, int]:
    """Processes along each of ``AXES``. Raises ValueError where ``mesh`` does not divide their number."""
    shard = mesh.data(processes) // mesh.replicate
    return dict(zip(AXES, (mesh.pipeline, mesh.replicate, shard, mesh.context, mesh.tensor), strict=True))


def axes_of(mesh: Mesh, device: str) -> Axes:
    """The groups of ``mesh``; called by all processes of the default group, which is there already. Raises
    ValueError where it does not divide their number."""
    import torch.distributed as dist
    from torch.distributed.device_mesh import init_device_mesh

    sizes, me = sizes_of(mesh, dist.get_world_size()), dist.get_rank()

    def axis(*along: str, alone: bool = False) -> Axis:
        lists = together(sizes, along)
        mine = next(numbers for numbers in lists if me in numbers)
        if len(mine) == 1 and not alone:
            return Axis()
        made, _ = dist.new_subgroups_by_enumeration(lists)
        return Axis(mine.index(me), len(mine), made)

    within = sizes["shard"] * sizes["context"] * sizes["tensor"]
    whole = init_device_mesh(
        device,
        (sizes["pipeline"], sizes["replicate"], within),
        mesh_dim_names=("pipeline", "replicate", "shard"),
    )
    return Axes(
        tensor=axis("tensor"),
        context=axis("context"),
        pipeline=axis("pipeline"),
        data=axis("replicate", "shard"),
        rows=axis("pipeline", "replicate", "shard", "context"),
        stage=axis("replicate", "shard", "context", "tensor"),
        tokens=axis("replicate", "shard", "context", alone=True),  # a group, whoever is in it
        shard=axis("shard", "context", "tensor"),
        mesh=whole["replicate", "shard"] if mesh.replicate > 1 else whole["shard"],
    )
