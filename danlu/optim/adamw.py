"""AdamW, on PyTorch's fused kernel."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import torch

from danlu.optim.base import Rule


class AdamW(Rule):
    """AdamW (Loshchilov & Hutter 2019, algorithm 2): θ ← (1 − ηλ)θ − η m̂/(√v̂ + ε).

    The mathematics and the state of ``torch.optim.AdamW(fused=True)``, whose kernel it calls: parameters,
    gradients and moments are read once.

    Args: ``lr`` η; ``betas``; ``eps`` ε; ``weight_decay`` λ, decoupled and multiplied by η. State: eight
    bytes a parameter.
    """

    def __init__(
        self,
        params: Iterable[Any],
        lr: float = 1e-3,
        betas: tuple[float, float] = (0.9, 0.95),
        eps: float = 1e-8,
        weight_decay: float = 0.1,
    ) -> None:
        super().__init__(params, {"lr": lr, "betas": betas, "eps": eps, "weight_decay": weight_decay})

    def new_state(self, p: torch.Tensor) -> dict[str, torch.Tensor]:
        step = torch.zeros((), dtype=torch.float32, device=p.device)
        return {"exp_avg": torch.zeros_like(p), "exp_avg_sq": torch.zeros_like(p), "step": step}

    def update(self, group: dict[str, Any], params: list[torch.Tensor]) -> None:
        states = [self.state[p] for p in params]
        steps = [state["step"] for state in states]
        torch._foreach_add_(steps, 1)
        torch._fused_adamw_(
            params,
            [p.grad for p in params if p.grad is not None],
            [state["exp_avg"] for state in states],
            [state["exp_avg_sq"] for state in states],
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
