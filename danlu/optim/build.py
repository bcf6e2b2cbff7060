"""From a specification and a model to its optimizers."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import torch
import torch.nn as nn

from danlu import spec
from danlu.optim.adamw import AdamW
from danlu.optim.base import Rule
from danlu.optim.groups import Role, by_role
from danlu.optim.muon import Muon

Named = Iterable[tuple[str, nn.Parameter]]


def _adamw(groups: list[dict[str, Any]], lr: float, s: spec.AdamW | spec.Muon) -> AdamW:
    return AdamW(groups, lr=lr, betas=(s.beta1, s.beta2), eps=s.eps, weight_decay=0.0)


def build(s: spec.Optimizer, model: nn.Module) -> list[Rule]:
    """The optimizers that together update every parameter of ``model`` once.

    Every group carries ``peak``, the rate that a schedule multiplies, and ``names``, its parameters'.
    """
    roles = by_role(model)
    if isinstance(s, spec.AdamW):
        decayed: list[Role] = ["kernel", "readout"]
        if s.decay_embeddings:
            decayed.append("embedding")
        kept: list[Role] = [role for role in roles if role not in decayed]
        groups = [
            _group(roles, decayed, weight_decay=s.weight_decay),
            _group(roles, kept, weight_decay=0.0),
        ]
        optimizers: list[Rule] = [_adamw([g for g in groups if g["params"]], s.lr, s)]
    else:
        matrices = [_group(roles, ["kernel"])]
        rest = [_group(roles, [role for role in roles if role != "kernel"])]
        optimizers = [
            Muon(matrices, lr=s.lr, momentum=s.momentum, weight_decay=s.weight_decay, steps=s.steps),
            _adamw(rest, s.adamw_lr, s),
        ]
    for optimizer in optimizers:
        for group in optimizer.param_groups:
            group["peak"] = group["lr"]
    return optimizers


def _group(roles: dict[Role, dict[str, nn.Parameter]], chosen: list[Role], **settings: Any) -> dict[str, Any]:
    named = {name: p for role in chosen for name, p in roles.get(role, {}).items()}
    return {"params": list(named.values()), "names": list(named), **settings}


def state_tensors(optimizers: list[Rule]) -> dict[str, torch.Tensor]:
    """The optimizers' state as one flat mapping: ``PARAMETER/KEY`` → tensor."""
    return {
        f"{name}/{key}": value
        for optimizer in optimizers
        for group in optimizer.param_groups
        for name, p in zip(group["names"], group["params"], strict=True)
        for key, value in optimizer.state[p].items()
    }


def load_state_tensors(optimizers: list[Rule], tensors: dict[str, torch.Tensor]) -> None:
    """Put back what ``state_tensors`` gave."""
    by_name: dict[str, dict[str, torch.Tensor]] = {}
    for path, tensor in tensors.items():
        name, key = path.rsplit("/", 1)
        by_name.setdefault(name, {})[key] = tensor
    for optimizer in optimizers:
        for group in optimizer.param_groups:
            for name, p in zip(group["names"], group["params"], strict=True):
                if name in by_name:
                    optimizer.state[p] = dict(by_name[name])
