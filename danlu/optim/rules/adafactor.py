"""Adafactor: second moments as an outer product, rates relative to the weights."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor
from torch.linalg import vector_norm

from danlu import spec
from danlu.nn.registry import builds
from danlu.optim.alike import alike, by_rows, sharded_like
from danlu.optim.base import Rule, local, precise
from danlu.optim.rules.signs import over_shards, squares


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
    least, whatever ``state_dtype``. Sharded parameters (FSDP2): what travels are sums over rows; state a row
    is sharded with the rows. Raises ``DanluError`` for parameters sharded in another way.
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
        if by_rows(p):
            state = {
                key: t if key == "columns" and p.ndim == 2 else sharded_like(t, p) for key, t in state.items()
            }
        return {**state, "step": torch.zeros(())}

    def update(self, group: dict[str, Any], params: list[Tensor]) -> None:
        for t, same in self.count(params).items():
            for few in alike(same):
                self._update(group, few, t)

    def _update(self, group: dict[str, Any], params: list[Tensor], t: int) -> None:
        dtype, lr, eps = precise(params[0]), group["lr"], group["eps"]
        many = (-1, *[1] * params[0].ndim)  # one number a parameter, against all its elements
        rms = squares(params).sqrt() / params[0].numel() ** 0.5
        if group["weight_decay"]:
            torch._foreach_mul_([local(p) for p in params], 1 - lr * group["weight_decay"])
        fresh = t ** -group["decay"]  # 1 − β

        g = torch.stack([local(p.grad) for p in params if p.grad is not None]).to(dtype)
        matrix = params[0] if params[0].ndim == 2 else local(params[0])  # whose rows may be elsewhere
        if params[0].ndim > 1:
            square = g.square()
            rows = self._average(params, "rows", square.mean(-1), fresh) + eps
            count = params[0].shape[-2]
            columns = self._average(params, "columns", over_shards(square.sum(-2) / count, matrix), fresh)
            mean = over_shards(rows.sum(-1, keepdim=True) / count, matrix)
            by_row = (rows / mean).rsqrt()[..., None]
            u = torch.mul(g, (columns + eps).rsqrt()[..., None, :], out=square)
            # ‖U‖ from the norms of its rows, before they are multiplied.
            size = _length(vector_norm(u, dim=-1, keepdim=True) * by_row, params[0])
        else:
            by_row = g.new_ones(1)
            u = g * (self._average(params, "square", g.square(), fresh) + eps).rsqrt()
            size = _length(u, params[0])
        clipped = (size / (params[0].numel() ** 0.5 * group["clip"])).clamp(min=1)
        rate = rms.clamp(min=group["floor"]) * min(lr, t**-0.5) / clipped
        u.mul_(by_row * -rate.view(many))
        torch._foreach_add_([local(p) for p in params], list(u.unbind()))

    def _average(self, params: list[Tensor], key: str, new: Tensor, fresh: float) -> Tensor:
        """The moving average ``key`` of each parameter after ``new`` (n, …) has come in."""
        old = [local(self.state[p][key]) for p in params]
        average = torch.stack(old).lerp_(new, fresh)
        torch._foreach_copy_(old, average.unbind())
        return average


def _length(parts: Tensor, p: Tensor) -> Tensor:
    """(n,): the Euclidean lengths of tensors sharded as ``p``, of which ``parts`` (n, …) are here."""
    here = vector_norm(parts.flatten(1), dim=1) if parts.ndim > 1 else parts.abs()
    return over_shards(here.square(), p).sqrt() if by_rows(p) else here
