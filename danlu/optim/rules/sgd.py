"""SGD with momentum, on PyTorch's fused kernel."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor

from danlu import spec
from danlu.nn.registry import builds
from danlu.optim.base import Elementwise


@builds(spec.SGD)
class SGD(Elementwise):
    """SGD with momentum (Sutskever et al. 2013, as ``torch.optim.SGD`` has it): g ← g + λθ; B ← μB + g;
    θ ← θ − ηB, or, with Nesterov's look ahead, θ ← θ − η(g + μB).

    Args: ``lr`` η; ``momentum`` μ; ``nesterov``; ``weight_decay`` λ. State: four bytes a parameter (float32).
    """

    scaling = "gradients"
    moments = ("momentum_buffer",)
    one_pass = True
    stackable = True

    def __init__(
        self,
        params: Iterable[Any],
        lr: float = 0.1,
        momentum: float = 0.9,
        nesterov: bool = False,
        weight_decay: float = 0.0,
        *,
        state_dtype: torch.dtype | None = None,
        compiled: bool = False,
    ) -> None:
        defaults = {"lr": lr, "momentum": momentum, "nesterov": nesterov, "weight_decay": weight_decay}
        super().__init__(params, defaults, state_dtype=state_dtype, compiled=compiled)

    def formula(
        self, settings: dict[str, Any], params: list[Tensor], grads: list[Tensor], *moments: list[Tensor]
    ) -> None:
        torch._fused_sgd_(
            params,
            grads,
            moments[0] if settings["momentum"] else [],
            weight_decay=settings["weight_decay"],
            momentum=settings["momentum"],
            lr=settings["lr"],
            dampening=0.0,
            nesterov=settings["nesterov"] and settings["momentum"] > 0,
            maximize=False,
            is_first_step=False,  # a buffer of zeros makes the first step the same
        )

    def coefficients(self, settings: dict[str, Any]) -> list[float | Tensor]:
        momentum = settings["momentum"]
        nesterov = float(settings["nesterov"] and momentum > 0)
        return [settings["lr"], settings["weight_decay"], momentum, float(momentum > 0), nesterov]

    @staticmethod
    def plain(c: list[Tensor], p: Tensor, g: Tensor, *moments: Tensor) -> tuple[Tensor, ...]:
        (buffer,), (lr, decay, momentum, keeps, nesterov) = moments, c
        g = g + decay * p
        new = momentum * buffer + g
        update = new + nesterov * (g + momentum * new - new)
        return p - lr * update, buffer + keeps * (new - buffer)
