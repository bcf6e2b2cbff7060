"""Schedule-Free AdamW: an average of the weights takes the place of a falling rate."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor

from danlu import spec
from danlu.nn.registry import builds
from danlu.optim.base import Elementwise, local


@builds(spec.ScheduleFreeAdamW)
class ScheduleFreeAdamW(Elementwise):
    """Schedule-Free AdamW (Defazio et al. 2024, algorithm 1): y = (1−β₁)z + β₁x;
    z ← z − η(g(y)/(√v̂ + ε) + λy); x ← (1−c)x + cz with c = w/Σw and w = tʳη², η the largest rate so far.

    While training the parameters are y. To evaluate and to save is x: within ``averaged()``, or between
    ``eval()`` and ``train()``, the parameters are x, and the state has y besides, so that training goes on
    bit for bit. Running averages of activations (BatchNorm) are those at y.

    Args: ``lr`` η, which should rise at first and then stay; ``betas``; ``eps`` ε; ``weight_decay`` λ;
    ``power`` r. State: eight bytes a parameter in float32 (twelve while the parameters are x); z has the
    parameters' dtype. Raises ValueError for β₁ = 0, which keeps no average.
    """

    scaling = "steps"
    moments = ("z", "exp_avg_sq")

    def __init__(
        self,
        params: Iterable[Any],
        lr: float = 2.5e-3,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
        weight_decay: float = 0.1,
        power: float = 0.0,
        *,
        state_dtype: torch.dtype | None = None,
        compiled: bool = False,
    ) -> None:
        if not betas[0]:
            raise ValueError("beta1 = 0 keeps no average; it must be above 0")
        defaults = {"lr": lr, "betas": betas, "eps": eps, "weight_decay": weight_decay, "power": power}
        super().__init__(params, defaults, state_dtype=state_dtype, compiled=compiled)

    def new_state(self, p: Tensor) -> dict[str, Tensor]:
        return {
            "z": p.detach().clone(memory_format=torch.preserve_format),
            "exp_avg_sq": self.zeros(p),
            "step": torch.zeros(()),
            "weights": torch.zeros(2, dtype=torch.float64),  # their sum, and the largest rate
        }

    def update(self, group: dict[str, Any], params: list[Tensor]) -> None:
        if "y" in self.state[params[0]]:
            raise RuntimeError("the parameters are the averages: call train() before step()")
        shares: dict[tuple[int, float], list[Tensor]] = {}
        for step, alike in self.count(params).items():
            for p in alike:
                weights = self.state[p]["weights"]
                total, peak = weights.tolist()
                peak = max(peak, group["lr"])
                weight = step ** group["power"] * peak**2
                total += weight
                weights[0], weights[1] = total, peak
                shares.setdefault((step, weight / total if total else 0.0), []).append(p)
        for (step, share), alike in shares.items():
            self.sweep({**group, "step": step, "share": share}, alike)

    def formula(
        self, settings: dict[str, Any], params: list[Tensor], grads: list[Tensor], *moments: list[Tensor]
    ) -> None:
        (z, v), (beta1, beta2) = moments, settings["betas"]
        lr, share = settings["lr"], settings["share"]
        torch._foreach_mul_(v, beta2)
        torch._foreach_addcmul_(v, grads, grads, value=1 - beta2)
        update = torch._foreach_sqrt(v)
        torch._foreach_mul_(update, (1 - beta2 ** settings["step"]) ** -0.5)
        torch._foreach_add_(update, settings["eps"])
        torch._foreach_reciprocal_(update)
        torch._foreach_mul_(update, grads)
        if settings["weight_decay"]:
            torch._foreach_add_(update, params, alpha=settings["weight_decay"])
        # y of the new x and z, without x: x ← (1−c)x + cz and z ← z − ηu in y = (1−β₁)z + β₁x.
        torch._foreach_lerp_(params, z, share)
        torch._foreach_add_(params, update, alpha=lr * (beta1 * (1 - share) - 1))
        torch._foreach_add_(z, update, alpha=-lr)

    def coefficients(self, settings: dict[str, Any]) -> list[float | Tensor]:
        beta1, beta2 = settings["betas"]
        lr, share = settings["lr"], settings["share"]
        correction = (1 - beta2 ** settings["step"]) ** -0.5
        of_y = lr * (beta1 * (1 - share) - 1)
        return [1 - beta2, correction, settings["eps"], settings["weight_decay"], share, of_y, lr]

    @staticmethod
    def plain(c: list[Tensor], p: Tensor, g: Tensor, *moments: Tensor) -> tuple[Tensor, ...]:
        (z, v), (new, correction, eps, decay, share, of_y, lr) = moments, c
        v = v + new * (g * g - v)
        update = g / (v.sqrt() * correction + eps) + decay * p
        return p + share * (z - p) + of_y * update, z - lr * update, v

    # ---------------------------------------------------------------- the average

    @torch.no_grad()
    def eval(self) -> None:
        """Make the parameters x."""
        for group in self.param_groups:
            for p in group["params"]:
                state = self.state.get(p)
                if state and "y" not in state:
                    state["y"] = p.detach().clone(memory_format=torch.preserve_format)
                    y, z = local(p), local(state["z"])
                    y.copy_(torch.lerp(y.to(z.dtype), z, 1 - 1 / group["betas"][0]))

    @torch.no_grad()
    def train(self) -> None:
        """Make the parameters y again, exactly."""
        for group in self.param_groups:
            for p in group["params"]:
                if (state := self.state.get(p)) and "y" in state:
                    local(p).copy_(local(state.pop("y")))

    @contextmanager
    def averaged(self) -> Iterator[None]:
        self.eval()
        try:
            yield
        finally:
            self.train()
