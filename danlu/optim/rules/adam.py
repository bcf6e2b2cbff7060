"""Adam and AdamW, on PyTorch's fused kernels."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any, ClassVar

import torch
from torch import Tensor

from danlu import spec
from danlu.nn.registry import builds
from danlu.optim.base import Elementwise
from danlu.optim.mup import Scaling


@builds(spec.Adam)
class Adam(Elementwise):
    """Adam (Kingma & Ba 2015, algorithm 1): m ← β₁m + (1−β₁)g; v ← β₂v + (1−β₂)g²; θ ← θ − η m̂/(√v̂ + ε).

    The mathematics and the state of ``torch.optim.Adam(fused=True)``, whose kernel it calls: parameters,
    gradients and moments are read once.

    Args: ``lr`` η; ``betas``; ``eps`` ε; ``weight_decay`` λ, L2: λθ is added to the gradient. State: eight
    bytes a parameter in float32.
    """

    scaling: ClassVar[Scaling | None] = "steps-l2"
    moments = ("exp_avg", "exp_avg_sq")
    one_pass = True
    stackable = True
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
        columns = self.columns(params)
        if len({t.dtype for column in columns for t in column}) == 1:
            self.formula({**group, "steps": steps}, *columns)
        else:
            for p, step in zip(params, steps, strict=True):
                self.sweep({**group, "steps": [step]}, [p])

    def formula(
        self, settings: dict[str, Any], params: list[Tensor], grads: list[Tensor], *moments: list[Tensor]
    ) -> None:
        self.fused(
            params,
            grads,
            *moments,
            [],
            settings["steps"],
            lr=settings["lr"],
            beta1=settings["betas"][0],
            beta2=settings["betas"][1],
            weight_decay=settings["weight_decay"],
            eps=settings["eps"],
            amsgrad=False,
            maximize=False,
        )

    def coefficients(self, settings: dict[str, Any]) -> list[float | Tensor]:
        (beta1, beta2), step = settings["betas"], settings["step"]
        first, second = 1 - beta1**step, (1 - beta2**step) ** 0.5
        lr, decay = settings["lr"], settings["weight_decay"]
        return [1 - beta1, 1 - beta2, lr / first, 1 / second, settings["eps"], decay, lr]

    @staticmethod
    def plain(c: list[Tensor], p: Tensor, g: Tensor, *moments: Tensor) -> tuple[Tensor, ...]:
        return _adam(c, p, g + c[5] * p, *moments)


@builds(spec.AdamW)
class AdamW(Adam):
    """AdamW (Loshchilov & Hutter 2019, algorithm 2): θ ← (1 − ηλ)θ − η m̂/(√v̂ + ε), moments as Adam's.

    The mathematics and the state of ``torch.optim.AdamW(fused=True)``. Args: as Adam's, but ``weight_decay``
    λ is decoupled and multiplied by η.
    """

    scaling = "steps"
    stackable = True
    fused = staticmethod(torch._fused_adamw_)

    def __init__(
        self,
        params: Iterable[Any],
        lr: float = 1e-3,
        betas: tuple[float, float] = (0.9, 0.95),
        eps: float = 1e-8,
        weight_decay: float = 0.1,
        *,
        state_dtype: torch.dtype | None = None,
        compiled: bool = False,
    ) -> None:
        super().__init__(params, lr, betas, eps, weight_decay, state_dtype=state_dtype, compiled=compiled)

    @staticmethod
    def plain(c: list[Tensor], p: Tensor, g: Tensor, *moments: Tensor) -> tuple[Tensor, ...]:
        return _adam(c, p * (1 - c[6] * c[5]), g, *moments)


def _adam(c: list[Tensor], p: Tensor, g: Tensor, m: Tensor, v: Tensor) -> tuple[Tensor, ...]:
    to_m, to_v, rate, scale, eps, *_ = c
    m = m + to_m * (g - m)
    v = v + to_v * (g * g - v)
    return p - rate * m / (v.sqrt() * scale + eps), m, v
