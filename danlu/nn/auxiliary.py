"""What modules ask of training beside gradients: losses of their own, a turn after each update, and what they
are told of rows, of which they count what passes."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
import torch.nn as nn


def _having(model: nn.Module, what: str) -> list[nn.Module]:
    """The modules of ``model`` with an attribute ``what``, found once: walking over all of them at every
    update costs one part in fifty of a small step. Kept by the model itself, so that what is compiled of one
    model does not depend on which others there are."""
    kept = f"_modules_with_{what}"
    if kept not in model.__dict__:
        model.__dict__[kept] = [module for module in model.modules() if hasattr(module, what)]
    found: list[nn.Module] = model.__dict__[kept]
    return found


def auxiliary(model: nn.Module) -> torch.Tensor | None:
    """The sum of the losses that modules left in their attribute ``auxiliary`` in the last forward pass
    (means over tokens, already weighted), which is cleared; None where there are none. A module that has
    such losses has the attribute, None at first, from the beginning."""
    total: torch.Tensor | None = None
    for module in _having(model, "auxiliary"):
        loss = module.auxiliary
        if isinstance(loss, torch.Tensor):
            total = loss if total is None else total + loss
            module.auxiliary = None  # type: ignore[assignment]
    return total


def after_update(model: nn.Module) -> None:
    """Give every module that learns without gradients (a codebook) its turn, once an update."""
    for module in _having(model, "after_update"):
        learn: Callable[[], None] = module.after_update  # type: ignore[assignment]
        learn()


def skip_update(model: nn.Module) -> None:
    """Let every such module forget what an update has told it that is left out."""
    for module in _having(model, "skip_update"):
        forget: Callable[[], None] = module.skip_update  # type: ignore[assignment]
        forget()


def tell_rows(model: nn.Module, what: str, rows: Callable[[], torch.Tensor]) -> None:
    """Tell each module that asks, by having the attribute ``what``, of the rows of the next pass: their
    ``row_keys``, ``row_weights`` or ``row_places``, (batch,). Nothing is made where none asks."""
    modules = _having(model, what)
    if modules:
        given = rows()
        for module in modules:
            setattr(module, what, given)


def counting(model: nn.Module) -> list[Any]:
    """The modules that count what passes in evaluation: they have ``forget`` and ``told``."""
    return _having(model, "told")
