"""Roles of parameters, told from their names, and the exceptions that ``optimizer.groups`` makes."""

from __future__ import annotations

import difflib
import re
from collections.abc import Sequence
from fnmatch import fnmatchcase
from typing import NamedTuple

import torch
import torch.nn as nn

from danlu import spec
from danlu.spec.errors import SpecError, either
from danlu.spec.optim import Role


class Named(NamedTuple):
    """A parameter that learns: its name in the model, its role, itself."""

    name: str
    role: Role
    parameter: torch.Tensor

    @property
    def block_matrix(self) -> bool:
        """Whether it is one of the matrices inside the blocks."""
        return self.role == "kernel" and self.parameter.ndim == 2 and "blocks" in self.name.split(".")

    @property
    def centre(self) -> float:
        """What it is when it does nothing: 1 for the gain of a norm, 0 otherwise."""
        parts = self.name.split(".")
        return float(parts[-1] == "gain" and len(parts) > 1 and parts[-2].endswith("norm"))

    @property
    def alone(self) -> bool:
        """Whether it has as many numbers in a wider model."""
        return self.name == "readout.bias" or self.parameter.numel() == 1


def role(name: str, parameter: torch.Tensor) -> Role:
    """The role of a parameter, told from its name in the model and its shape."""
    parts = name.split(".")
    if not {"embedding", "position", "segments"}.isdisjoint(parts[:-1]):
        return "embedding" if parameter.ndim >= 2 else "gain"
    if parts[-1] == "bias":
        return "bias"
    if parts[0] == "readout":
        return "readout"
    return "kernel" if parameter.ndim >= 2 else "gain"


def named(model: nn.Module) -> list[Named]:
    """The parameters that learn; a readout that is tied to the embedding is the embedding."""
    return [
        Named(name, role(name, parameter), parameter)
        for name, parameter in model.named_parameters()
        if parameter.requires_grad
    ]


def by_role(model: nn.Module) -> dict[Role, dict[str, torch.Tensor]]:
    """The parameters that learn, by role and name."""
    found: dict[Role, dict[str, torch.Tensor]] = {}
    for p in named(model):
        found.setdefault(p.role, {})[p.name] = p.parameter
    return found


class Exceptions(NamedTuple):
    """What groups change for one parameter: a factor of its rate, and its decay, if it has its own."""

    rate: float = 1.0
    weight_decay: float | None = None


def exceptions(groups: Sequence[spec.Group], parameters: Sequence[Named]) -> dict[str, Exceptions]:
    """What ``groups`` change, by parameter; those that no group speaks of are left out.

    Raises ``SpecError`` for a pattern of names that matches nothing, with the names that come near.
    """
    found: dict[str, Exceptions] = {}
    for i, group in enumerate(groups):
        matched = [
            p
            for p in parameters
            if (group.role is None or p.role == group.role)
            and (group.names is None or fnmatchcase(p.name, group.names))
        ]
        if group.names is not None and not matched:
            raise SpecError(_no_match(i, group, parameters))
        for p in matched:
            before = found.get(p.name, Exceptions())
            decay = before.weight_decay if group.weight_decay is None else group.weight_decay
            found[p.name] = Exceptions(before.rate * group.rate, decay)
    return found


def over_layers(name: str) -> str:
    """``blocks.3.mixer.out.weight`` → ``blocks.*.mixer.out.weight``, a pattern for every layer."""
    return re.sub(r"(?<=\.)\d+(?=\.)", "*", name)


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
