"""Many matrices at once, and whole ones where parameters are sharded.

Rules that look at whole matrices stack those of one shape, so that a network costs a few large
operations. Under FSDP2 a process holds some rows of each parameter. ``dealt`` gives every process some of the
matrices, all their rows, and ``returned`` every process its rows of all of them: so the work on whole
matrices is divided, and what travels is what is sharded, once there and once back. ``whole`` gathers a tensor
in all processes, ``own`` gives back the rows that are ours.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterable, Iterator
from typing import Any

import torch
from torch import Tensor
from torch.optim import Optimizer

from danlu.spec.errors import DanluError

# Elements in one stack: what a core's cache holds; on other devices enough to hide the cost of a call.
_CACHED, _LARGE = 2**17, 2**24


def alike(
    params: Iterable[Tensor], key: Callable[[Tensor], Hashable] = lambda p: p.shape, cached: bool = True
) -> Iterator[list[Tensor]]:
    """Lists of parameters with the same ``key`` (their shape), dtype and device, short enough to be stacked.

    ``cached``: on a CPU, no more than its cache holds, which is faster where each element is used once. Of
    sharded ones so many for each process.
    """
    found: dict[Any, list[Tensor]] = {}
    for p in params:
        found.setdefault((key(p), p.dtype, p.device), []).append(p)
    for same in found.values():
        most = _CACHED if cached and same[0].device.type == "cpu" else _LARGE
        count = max(1, most // max(1, same[0].numel())) * _holders(same[0])
        for start in range(0, len(same), count):
            yield same[start : start + count]


def stack(tensors: list[Tensor], dtype: torch.dtype | None = None) -> Tensor:
    """Whole tensors of one shape as one of (n, …), in ``dtype``; one alone is not copied."""
    wholes = [whole(t) for t in tensors]
    stacked = wholes[0][None] if len(wholes) == 1 else torch.stack(wholes)
    return stacked if dtype is None else stacked.to(dtype)


def dealt(tensors: list[Tensor], dtype: torch.dtype | None = None) -> Tensor:
    """``stack`` of those tensors that fall to this process, (n', …): of plain ones, all; of n sharded among N
    processes, n/N of them, rounded up until there are none left. Called by all processes."""
    if _holders(tensors[0]) == 1:
        return stack(tensors, dtype)
    from torch.distributed.tensor import DTensor, Shard

    like: Any = tensors[0]
    deep = [Shard(place.dim + 1) if place.is_shard() else place for place in like.placements]
    parts = torch.stack([t.to_local().detach() for t in tensors])  # type: ignore[attr-defined]
    whole = DTensor.from_local(
        parts, like.device_mesh, deep, run_check=False, **_outline(len(tensors), like.shape)
    )
    mine: Tensor = whole.redistribute(like.device_mesh, _by_tensor(like)).to_local()
    return mine if dtype is None else mine.to(dtype)


def returned(computed: Tensor, like: list[Tensor]) -> list[Tensor]:
    """The inverse of ``dealt``: of what was ``computed`` for the tensors that each process got, what belongs
    to the rows of ``like``, all of them, that are here."""
    if _holders(like[0]) == 1:
        return [own(t, p) for t, p in zip(computed.unbind(), like, strict=True)]
    from torch.distributed.tensor import DTensor, Shard

    one: Any = like[0]
    deep = [Shard(place.dim + 1) if place.is_shard() else place for place in one.placements]
    whole = DTensor.from_local(
        computed.contiguous(),
        one.device_mesh,
        _by_tensor(one),
        run_check=False,
        **_outline(len(like), one.shape),
    )
    parts: Tensor = whole.redistribute(one.device_mesh, deep).to_local()
    return list(parts.unbind())


def _holders(t: Tensor) -> int:
    """Among how many processes a tensor is sharded; 1 where that is not along one dimension of their mesh."""
    mesh: Any = getattr(t, "device_mesh", None)
    if mesh is None:
        return 1
    cut = [i for i, place in enumerate(t.placements) if place.is_shard()]  # type: ignore[attr-defined]
    return int(mesh.size(cut[0])) if len(cut) == 1 else 1


def by_rows(p: Tensor) -> bool:
    """Whether processes hold rows of ``p``; False of a whole one. Raises ``DanluError`` for one that is
    sharded in another way."""
    if not hasattr(p, "device_mesh"):
        return False
    cut = [place for place in p.placements if place.is_shard()]  # type: ignore[attr-defined]
    if len(cut) > 1 or any(place.dim != 0 for place in cut):
        raise DanluError(
            f"Adafactor takes parameters that are whole or sharded by rows, and one is {p.placements}; "  # type: ignore[attr-defined]
            "shard it by rows, as fully_shard does"
        )
    return bool(cut)


def _by_tensor(t: Any) -> list[Any]:
    from torch.distributed.tensor import Shard

    return [Shard(0) if place.is_shard() else place for place in t.placements]


def _outline(count: int, shape: torch.Size) -> dict[str, Any]:
    """Shape and strides of so many tensors in a stack."""
    whole = torch.empty(count, *shape, device="meta")
    return {"shape": whole.shape, "stride": whole.stride()}


def sharded_like(t: Tensor, p: Tensor) -> Tensor:
    """A whole tensor, which all processes have, with its rows sharded as those of ``p``."""
    if _holders(p) == 1:
        return t
    from torch.distributed.tensor import distribute_tensor

    like: Any = p
    made: Tensor = distribute_tensor(t, like.device_mesh, like.placements, src_data_rank=None)
    return made


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
