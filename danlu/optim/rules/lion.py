"""Lion: the sign of an interpolated momentum."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor

from danlu import spec
from danlu.nn.registry import builds
from danlu.optim.base import descend
from danlu.optim.rules.signs import Signed, touched


@builds(spec.Lion)
class Lion(Signed):
    """Lion (Chen et al. 2023, algorithm 2): u = sign(β₁m + (1−β₁)g); θ ← (1−ηλ)θ − ηu; m ← β₂m + (1−β₂)g.

    A tensor whose gradient holds NaN or infinity is left alone, with its momentum, and counted in
    ``skipped``. ``lazy_rows`` leaves alone the rows of matrices whose gradient is all zero (set it in the
    groups of embeddings). State: four bytes a parameter in float32.
    """

    scaling = "steps"
    moments = ("exp_avg",)
    stackable = True

    def __init__(
        self,
        params: Iterable[Any],
        lr: float = 3e-4,
        betas: tuple[float, float] = (0.95, 0.98),
        weight_decay: float = 0.3,
        lazy_rows: bool = False,
        *,
        state_dtype: torch.dtype | None = None,
        compiled: bool = False,
    ) -> None:
        defaults = {"lr": lr, "betas": betas, "weight_decay": weight_decay, "lazy_rows": lazy_rows}
        super().__init__(params, defaults, state_dtype=state_dtype, compiled=compiled)

    def formula(
        self, settings: dict[str, Any], params: list[Tensor], grads: list[Tensor], *moments: list[Tensor]
    ) -> None:
        (m,) = moments
        (beta1, beta2), decay = settings["betas"], settings["weight_decay"]
        update = torch._foreach_lerp(m, grads, 1 - beta1)
        torch._foreach_sign_(update)
        torch._foreach_lerp_(m, grads, 1 - beta2)
        descend(params, list(update), settings["lr"], decay)

    def coefficients(self, settings: dict[str, Any]) -> list[float | Tensor]:
        beta1, beta2 = settings["betas"]
        return [1 - beta1, 1 - beta2, settings["lr"], settings["weight_decay"]]

    @staticmethod
    def plain(c: list[Tensor], p: Tensor, g: Tensor, *moments: Tensor) -> tuple[Tensor, ...]:
        (m,), (to_update, to_keep, lr, decay) = moments, c
        update = (m + to_update * (g - m)).sign()
        return p - lr * (update + decay * p), m + to_keep * (g - m)

    @classmethod
    def advance(
        cls, settings: dict[str, Any], c: list[Tensor], rows: list[tuple[Tensor, ...]]
    ) -> list[tuple[Tensor, ...]]:
        new = super().advance(settings, c, rows)
        if not settings["lazy_rows"]:
            return new
        for place, (p, g, m) in enumerate(rows):
            if p.ndim == 3:  # a table
                moved, pairs = touched(g), zip(new[place], (p, m), strict=True)
                new[place] = tuple(torch.where(moved, after, before) for after, before in pairs)
        return new

    def masked(
        self, settings: dict[str, Any], masks: list[Tensor], params: list[Tensor], grads: list[Tensor],
        *moments: list[Tensor],
    ) -> None:  # fmt: skip
        (m,), (beta1, beta2) = moments, settings["betas"]
        grads = [torch.where(*each) for each in zip(masks, grads, m, strict=True)]  # m then stays, exactly
        update = list(torch._foreach_lerp(m, grads, 1 - beta1))
        torch._foreach_sign_(update)
        torch._foreach_lerp_(m, grads, 1 - beta2)
        torch._foreach_add_(update, params, alpha=settings["weight_decay"])
        torch._foreach_mul_(update, masks)
        torch._foreach_sub_(params, update, alpha=settings["lr"])
