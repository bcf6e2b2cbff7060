"""Many matrices at once, and whole ones where parameters are sharded.

Rules that look at whole matrices stack those of one shape, so that a network costs a few large
operations. Under FSDP2 a process holds some rows of each parameter: ``whole`` gathers a tensor, ``own``
gives back the rows that are ours.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterable, Iterator
from typing import Any

import torch
from torch import Tensor
from torch.optim import Optimizer

# Elements in one stack: what a core's cache holds; on other devices enough to hide the cost of a call.
_CACHED, _LARGE = 2**17, 2**24


def alike(
    params: Iterable[Tensor], key: Callable[[Tensor], Hashable] = lambda p: p.shape, cached: bool = True
) -> Iterator[list[Tensor]]:
    """Lists of parameters with the same ``key`` (their shape), dtype and device, short enough to be stacked.

    ``cached``: on a CPU, no more than its cache holds, which is faster where each element is used once.
    """
    found: dict[Any, list[Tensor]] = {}
    for p in params:
        found.setdefault((key(p), p.dtype, p.device), []).append(p)
    for same in found.values():
        most = _CACHED if cached and same[0].device.type == "cpu" else _LARGE
        count = max(1, most // max(1, same[0].numel()))
        for start in range(0, len(same), count):
            yield same[start : start + count]


def stack(tensors: list[Tensor], dtype: torch.dtype | None = None) -> Tensor:
    """Whole tensors of one shape as one of (n, …), in ``dtype``; one alone is not copied."""
    wholes = [whole(t) for t in tensors]
    stacked = wholes[0][None] if len(wholes) == 1 else torch.stack(wholes)
    return stacked if dtype is None else stacked.to(dtype)


def settings_of(rule: Optimizer, p: Tensor) -> dict[str, Any]:
    """The group of a parameter."""
    return next(group for group in rule.param_groups if any(p is other for other in group["params"]))


def whole(t: Tensor) -> Tensor:
    """All rows of a sharded tensor, gathered; of a plain one, itself."""
    gathered: Tensor = t.full_tensor() if hasattr(t, "full_tensor") else t
    return gathered


def own(t: Tensor, p: Tensor) -> Tensor:
    """Of a whole tensor, what belongs to the rows of ``p`` that are here."""
    if not hasattr(p, "full_tensor"):
        return t
    from torch.distributed.tensor import DTensor, distribute_tensor

    assert isinstance(p, DTensor)
    return distribute_tensor(t.contiguous(), p.device_mesh, p.placements, src_data_rank=None).to_local()
