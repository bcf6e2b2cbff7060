"""Parameters by role, and the exceptions that ``optimizer.groups`` makes."""

from __future__ import annotations

import difflib
from collections.abc import Sequence
from fnmatch import fnmatchcase
from typing import NamedTuple

import torch
import torch.nn as nn

from danlu import spec
from danlu.optim.roles import Named, named, over_layers, unknown
from danlu.spec.errors import SpecError, either
from danlu.spec.optim import Role


def by_role(model: nn.Module) -> dict[Role, dict[str, torch.Tensor]]:
    """The parameters that learn, by role and name. Raises ``SpecError`` for one whose role is unknown."""
    found: dict[Role, dict[str, torch.Tensor]] = {}
    for p in named(model):
        if not p.parameter.requires_grad:
            continue
        if not p.known:
            raise unknown([p], "what is asked for")
        found.setdefault(p.role, {})[p.name] = p.parameter
    return found


class Change(NamedTuple):
    """What groups change for one parameter: a factor of its rate, and its decay, if it has its own."""

    rate: float = 1.0
    weight_decay: float | None = None


def check(groups: Sequence[spec.Group], parameters: Sequence[Named]) -> None:
    """Raises ``SpecError`` for a pattern of names that matches nothing, with the names that come near."""
    for i, group in enumerate(groups):
        if group.names is not None and not any(_matches(group, p) for p in parameters):
            raise SpecError(_no_match(i, group, parameters))


def change(groups: Sequence[spec.Group], p: Named) -> Change:
    """What ``groups`` change for ``p``: all rates multiply and the last decay counts."""
    found = Change()
    for group in groups:
        if _matches(group, p):
            decay = found.weight_decay if group.weight_decay is None else group.weight_decay
            found = Change(found.rate * group.rate, decay)
    return found


def _matches(group: spec.Group, p: Named) -> bool:
    return group.role in (None, p.role) and (group.names is None or fnmatchcase(p.name, group.names))


def _no_match(i: int, group: spec.Group, parameters: Sequence[Named]) -> str:
    assert group.names is not None
    said = f"optimizer.groups.{i}: names = {group.names}"
    if group.role is not None:
        said += f" with role = {group.role}"
        others = {p.role for p in parameters if fnmatchcase(p.name, group.names)}
        if others:
            return f"{said} matches no parameter: those of that name have the role {either(sorted(others))}"
    patterns = sorted({over_layers(p.name) for p in parameters})
    near = difflib.get_close_matches(group.names, patterns, n=3, cutoff=0.3)
    hint = f"; near are {', '.join(near)}" if near else ""
    return f"{said} matches no parameter{hint}; danlu show EXPERIMENT --groups prints all names"
