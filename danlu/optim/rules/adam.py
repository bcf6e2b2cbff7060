"""Adam and AdamW, on PyTorch's fused kernels."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import torch
from torch import Tensor

from danlu.optim.base import Elementwise, descend


class Adam(Elementwise):
    """Adam (Kingma & Ba 2015, algorithm 1): m ← β₁m + (1−β₁)g; v ← β₂v + (1−β₂)g²; θ ← θ − η m̂/(√v̂ + ε).

    The mathematics and the state of ``torch.optim.Adam(fused=True)``, whose kernel it calls: parameters,
    gradients and moments are read once.

    Args: ``lr`` η; ``betas``; ``eps`` ε; ``weight_decay`` λ, L2: λθ is added to the gradient. State: eight
    bytes a parameter in float32.
    """

    moments = ("exp_avg", "exp_avg_sq")
    fused: Callable[..., None] = staticmethod(torch._fused_adam_)

    def __init__(
        self,
        params: Iterable[Any],
        lr: float = 1e-3,
        betas: tuple[float, float] = (0.9, 0.95),
        eps: float = 1e-8,
        weight_decay: float = 0.0,
        *,
        state_dtype: torch.dtype | None = None,
        compiled: bool = False,
    ) -> None:
        defaults = {"lr": lr, "betas": betas, "eps": eps, "weight_decay": weight_decay}
        super().__init__(params, defaults, state_dtype=state_dtype, compiled=compiled)

    def new_state(self, p: Tensor) -> dict[str, Tensor]:
        return {**super().new_state(p), "step": torch.zeros((), dtype=torch.float32, device=p.device)}

    def update(self, group: dict[str, Any], params: list[Tensor]) -> None:
        steps = [self.state[p]["step"] for p in params]
        torch._foreach_add_(steps, 1)
        alike = {t.dtype for p in params for t in (p, self.state[p]["exp_avg"])}
        if len(alike) == 1 and params[0].device.type in ("cpu", "cuda"):
            self.fused(
                *self.columns(params),
                [],
                steps,
                lr=group["lr"],
                beta1=group["betas"][0],
                beta2=group["betas"][1],
                weight_decay=group["weight_decay"],
                eps=group["eps"],
                amsgrad=False,
                maximize=False,
            )
        else:
            self.sweep(group, params)
