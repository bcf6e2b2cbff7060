"""Which parameter gets what: roles by name, groups by role."""

from __future__ import annotations

from typing import Literal

import torch.nn as nn

Role = Literal["embedding", "readout", "kernel", "gain", "bias"]


def role(name: str, parameter: nn.Parameter) -> Role:
    """The role of a parameter, told from its name in the model and its shape."""
    parts = name.split(".")
    if not {"embedding", "position", "segments"}.isdisjoint(parts[:-1]):
        return "embedding" if parameter.ndim >= 2 else "gain"
    if parts[0] == "readout":
        return "readout"
    if parts[-1] == "bias":
        return "bias"
    return "kernel" if parameter.ndim >= 2 else "gain"


def by_role(model: nn.Module) -> dict[Role, dict[str, nn.Parameter]]:
    """The parameters that learn, by role and name; a tied readout counts as the embedding."""
    found: dict[Role, dict[str, nn.Parameter]] = {}
    for name, parameter in model.named_parameters():
        if parameter.requires_grad:
            found.setdefault(role(name, parameter), {})[name] = parameter
    return found
