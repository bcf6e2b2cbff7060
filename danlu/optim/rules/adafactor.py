"""Adafactor: second moments as an outer product, rates relative to the weights."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor
from torch.linalg import vector_norm

from danlu import spec
from danlu.nn.registry import builds
from danlu.optim.alike import alike, own, stack, whole
from danlu.optim.base import Rule, local, precise


@builds(spec.Adafactor)
class Adafactor(Rule):
    """Adafactor without momentum (Shazeer & Stern 2018, algorithm 5).

    With β = 1 − t^−decay: R ← βR + (1 − β)·mean over columns of g², C the same over rows, V̂ = R Cᵀ/mean(R)
    (a vector has V itself); U = g/√V̂; θ ← θ − max(floor, RMS θ)·min(η, 1/√t)·U/max(1, RMS(U)/clip).
    Tensors of more than two dimensions are stacks of matrices with one RMS.

    The paper's ε₁ is added to g², as there; PyTorch's class takes it as a floor of V̂ and, left to its
    default, as large as the dtype's precision.

    Args: ``lr`` η; ``decay``, ``floor``, ``clip``; ``weight_decay`` λ, decoupled: θ ← (1 − ηλ)θ first;
    ``eps`` ε₁. State: one number a row, one a column (of a vector: four bytes an element), in float32 at
    least, whatever ``state_dtype``. Sharded parameters (FSDP2): gradients are gathered, one shape at a time;
    the state is everywhere.
    """

    scaling = "relative-apart"

    def __init__(
        self,
        params: Iterable[Any],
        lr: float = 1e-2,
        decay: float = 0.8,
        floor: float = 1e-3,
        clip: float = 1.0,
        weight_decay: float = 0.0,
        eps: float = 1e-30,
        *,
        state_dtype: torch.dtype | None = None,
    ) -> None:
        settings = {"decay": decay, "floor": floor, "clip": clip, "weight_decay": weight_decay, "eps": eps}
        super().__init__(params, {"lr": lr, **settings}, state_dtype=state_dtype)

    def new_state(self, p: Tensor) -> dict[str, Tensor]:
        shapes = {"rows": p.shape[:-1], "columns": (*p.shape[:-2], p.shape[-1])} if p.ndim > 1 else {}
        shapes = shapes or {"square": p.shape}
        state = {key: torch.zeros(s, dtype=precise(p), device=p.device) for key, s in shapes.items()}
        return {**state, "step": torch.zeros(())}

    def update(self, group: dict[str, Any], params: list[Tensor]) -> None:
        for t, same in self.count(params).items():
            for few in alike(same):
                self._update(group, few, t)

    def _update(self, group: dict[str, Any], params: list[Tensor], t: int) -> None:
        dtype, lr, eps = precise(params[0]), group["lr"], group["eps"]
        many = (-1, *[1] * params[0].ndim)  # one number a parameter, against all its elements
        rms = torch.stack([whole(n) for n in torch._foreach_norm(params, 2, dtype)])
        rms = rms / params[0].numel() ** 0.5
        if group["weight_decay"]:
            torch._foreach_mul_([local(p) for p in params], 1 - lr * group["weight_decay"])
        fresh = t ** -group["decay"]  # 1 − β

        g = stack([p.grad for p in params if p.grad is not None], dtype)
        if params[0].ndim > 1:
            square = g.square()
            rows = self._average(params, "rows", square.mean(-1), fresh) + eps
            columns = self._average(params, "columns", square.mean(-2), fresh)
            by_row = (rows / rows.mean(-1, keepdim=True)).rsqrt()[..., None]
            u = torch.mul(g, (columns + eps).rsqrt()[..., None, :], out=square)
            # ‖U‖ from the norms of its rows, before they are multiplied.
            size = vector_norm((vector_norm(u, dim=-1, keepdim=True) * by_row).flatten(1), dim=1)
        else:
            by_row = g.new_ones(1)
            u = g * (self._average(params, "square", g.square(), fresh) + eps).rsqrt()
            size = vector_norm(u.flatten(1), dim=1) if u.ndim > 1 else u.abs()
        clipped = (size / (params[0].numel() ** 0.5 * group["clip"])).clamp(min=1)
        rate = rms.clamp(min=group["floor"]) * min(lr, t**-0.5) / clipped
        u.mul_(by_row * -rate.view(many))
        torch._foreach_add_([local(p) for p in params], [own(x, p) for x, p in zip(u, params, strict=True)])

    def _average(self, params: list[Tensor], key: str, new: Tensor, fresh: float) -> Tensor:
        """The moving average ``key`` of each parameter after ``new`` (n, …) has come in."""
        old = [self.state[p][key] for p in params]
        average = torch.stack(old).lerp_(new, fresh)
        torch._foreach_copy_(old, average.unbind())
        return average
