"""Weights of a model that was made on the meta device and sharded by FSDP2, or of a stage of one."""

from __future__ import annotations

from typing import Any

import torch
import torch.nn as nn
from torch.distributed.tensor import DTensor, distribute_tensor


@torch.no_grad()
def materialise(model: Any, device: torch.device) -> None:
    """Give ``model`` memory on ``device`` for its weights, or its shards of them, and its initial weights,
    which it draws by ``redraw``: one block at a time whole on the CPU, then the rest, of which every process
    keeps its shards.

    What one process would draw is drawn, since every module has a stream of its own. Called by all processes.
    """
    whole = {name: None if p.is_meta else _whole(p) for name, p in model.named_parameters()}
    places: dict[int, list[tuple[nn.Module, str]]] = {}
    for module in model.modules():
        for name, p in module._parameters.items():
            if p is not None:
                places.setdefault(id(p), []).append((module, name))
    model._apply(lambda t: torch.empty_like(t, device=device) if t.is_meta else t.to(device))
    for (first, own), *others in places.values():  # tied weights that are not sharded are two by now
        for module, name in others:
            module._parameters[name] = first._parameters[own]
    inside: set[nn.Module] = set()
    for block in model.blocks:
        unit = list(block.modules())
        _draw(model, unit, whole)
        inside |= set(unit)
    _draw(model, [module for module in model.modules() if module not in inside], whole)


def _draw(model: Any, unit: list[nn.Module], whole: dict[str, torch.Tensor | None]) -> None:
    """Draw the weights of the modules of ``unit`` in full and keep this process's shards of them."""
    names = {id(p): name for name, p in model.named_parameters()}
    shards: dict[int, torch.Tensor] = {}
    full: dict[int, nn.Parameter] = {}
    places = []
    for module in unit:
        for name, p in module._parameters.items():
            if p is None:
                continue
            if id(p) not in full:  # tied weights are one
                known = whole[names[id(p)]]
                start = torch.empty(p.shape, dtype=torch.float32) if known is None else known.cpu().float()
                full[id(p)], shards[id(p)] = nn.Parameter(start), p
            places.append((module, name, p))
    for module, name, p in places:
        module._parameters[name] = full[id(p)]
    try:
        model.redraw(unit)
    finally:
        for module, name, p in places:
            module._parameters[name] = p
    for key, shard in shards.items():
        values = full[key].detach().to(shard.dtype)
        if isinstance(shard, DTensor):
            mine: Any = distribute_tensor(values, shard.device_mesh, shard.placements, src_data_rank=None)
            shard.to_local().copy_(mine.to_local())
        else:
            shard.copy_(values)


def _whole(p: torch.Tensor) -> torch.Tensor:
    return p.full_tensor() if isinstance(p, DTensor) else p
