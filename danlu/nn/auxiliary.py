"""What modules ask of training beside gradients: losses of their own, and a turn after each update."""

from __future__ import annotations

import torch
import torch.nn as nn


def auxiliary(model: nn.Module) -> torch.Tensor | None:
    """The sum of the losses that modules left in their attribute ``auxiliary`` in the last forward pass
    (means over tokens, already weighted), which is cleared; None where there are none."""
    total: torch.Tensor | None = None
    for module in model.modules():
        loss = getattr(module, "auxiliary", None)
        if isinstance(loss, torch.Tensor):
            total = loss if total is None else total + loss
            module.auxiliary = None  # type: ignore[assignment]
    return total


def after_update(model: nn.Module) -> None:
    """Give every module that learns without gradients (a codebook) its turn, once an update."""
    for module in model.modules():
        learn = getattr(module, "after_update", None)
        if callable(learn):
            learn()
