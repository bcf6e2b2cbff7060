"""LAMB: Adam's direction at a length relative to the weights'."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor

from danlu import spec
from danlu.nn.registry import builds
from danlu.optim.base import Elementwise, calculate, precise
from danlu.optim.pieces import batches, pieces
from danlu.optim.rules.signs import squares


@builds(spec.LAMB)
class LAMB(Elementwise):
    """LAMB (You et al. 2020, algorithm 2): r = m̂/(√v̂ + ε) + λθ; θ ← θ − η (‖θ‖/‖r‖) r for each tensor, the
    ratio 1 if one of the norms is 0.

    As optax's; neither the norm of θ nor the gradient is clipped, and the ratio does not depend on λ > 0.

    Args: ``lr`` η; ``betas``; ``eps`` ε; ``weight_decay`` λ. State: eight bytes a parameter in float32; r
    exists for some tensors at a time on a CPU, for all on other devices.
    """

    scaling = "relative"
    moments = ("exp_avg", "exp_avg_sq")

    def __init__(
        self,
        params: Iterable[Any],
        lr: float = 1e-2,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-6,
        weight_decay: float = 0.01,
        *,
        state_dtype: torch.dtype | None = None,
        compiled: bool = False,
    ) -> None:
        defaults = {"lr": lr, "betas": betas, "eps": eps, "weight_decay": weight_decay}
        super().__init__(params, defaults, state_dtype=state_dtype, compiled=compiled)

    def new_state(self, p: Tensor) -> dict[str, Tensor]:
        return {**super().new_state(p), "step": torch.zeros(())}

    def update(self, group: dict[str, Any], params: list[Tensor]) -> None:
        for step, alike in self.count(params).items():
            for some in batches(alike):
                self._update({**group, "step": step}, some)

    def _update(self, settings: dict[str, Any], params: list[Tensor]) -> None:
        columns = self.columns(params)
        directions = [torch.empty_like(p, dtype=precise(p)) for p in columns[0]]
        if self.compiled:
            self.run_compiled(settings, [*columns, directions])
        else:
            for piece in pieces([*columns, directions]):
                calculate(self.formula, settings, piece)
        weights = squares(params).sqrt_()
        lengths = squares(directions, like=params[0]).sqrt_().to(weights)
        ratios = torch.where((weights > 0) & (lengths > 0), weights / lengths, 1.0)
        for p, r, ratio in zip(columns[0], directions, ratios.unbind(), strict=True):
            p.addcmul_(r.to(p.dtype), ratio.to(p.dtype), value=-settings["lr"])

    def formula(
        self, settings: dict[str, Any], params: list[Tensor], grads: list[Tensor], *moments: list[Tensor]
    ) -> None:
        """The moments, and r into the last column."""
        (m, v, r), (beta1, beta2), step = moments, settings["betas"], settings["step"]
        torch._foreach_lerp_(m, grads, 1 - beta1)
        torch._foreach_mul_(v, beta2)
        torch._foreach_addcmul_(v, grads, grads, value=1 - beta2)
        a, b = corrections(beta1, beta2, settings["eps"], step)
        torch._foreach_copy_(r, v)
        torch._foreach_sqrt_(r)
        torch._foreach_mul_(r, a)
        torch._foreach_add_(r, b)
        torch._foreach_reciprocal_(r)
        torch._foreach_mul_(r, m)
        if settings["weight_decay"]:
            torch._foreach_add_(r, params, alpha=settings["weight_decay"])

    def coefficients(self, settings: dict[str, Any]) -> list[float | Tensor]:
        (beta1, beta2), step = settings["betas"], settings["step"]
        a, b = corrections(beta1, beta2, settings["eps"], step)
        return [1 - beta1, 1 - beta2, a, b, settings["weight_decay"]]

    @staticmethod
    def plain(c: list[Tensor], p: Tensor, g: Tensor, *moments: Tensor) -> tuple[Tensor, ...]:
        (m, v, _), (new, new_square, a, b, decay) = moments, c
        m = m + new * (g - m)
        v = v + new_square * (g * g - v)
        return p, m, v, m / (v.sqrt() * a + b) + decay * p


def corrections(beta1: float, beta2: float, eps: float, step: int) -> tuple[float, float]:
    """a and b with m̂/(√v̂ + ε) = m/(a√v + b)."""
    one, two = 1 - beta1**step, 1 - beta2**step
    return one / two**0.5, one * eps
