"""What modules ask of training beside gradients: losses of their own, and a turn after each update."""

from __future__ import annotations

from collections.abc import Callable
from weakref import WeakKeyDictionary

import torch
import torch.nn as nn

# Found once for each model: walking over all modules at every update costs one part in fifty of a small step.
_PAYING: WeakKeyDictionary[nn.Module, list[nn.Module]] = WeakKeyDictionary()
_LEARNING: WeakKeyDictionary[nn.Module, list[nn.Module]] = WeakKeyDictionary()


def _having(
    model: nn.Module, what: str, found: WeakKeyDictionary[nn.Module, list[nn.Module]]
) -> list[nn.Module]:
    if model not in found:
        found[model] = [module for module in model.modules() if hasattr(module, what)]
    return found[model]


def auxiliary(model: nn.Module) -> torch.Tensor | None:
    """The sum of the losses that modules left in their attribute ``auxiliary`` in the last forward pass
    (means over tokens, already weighted), which is cleared; None where there are none. A module that has
    such losses has the attribute, None at first, from the beginning."""
    total: torch.Tensor | None = None
    for module in _having(model, "auxiliary", _PAYING):
        loss = module.auxiliary
        if isinstance(loss, torch.Tensor):
            total = loss if total is None else total + loss
            module.auxiliary = None  # type: ignore[assignment]
    return total


def after_update(model: nn.Module) -> None:
    """Give every module that learns without gradients (a codebook) its turn, once an update."""
    for module in _having(model, "after_update", _LEARNING):
        learn: Callable[[], None] = module.after_update  # type: ignore[assignment]
        learn()
