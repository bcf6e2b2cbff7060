"""Muon: momentum whose update is made orthogonal."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import torch

from danlu.optim.base import Rule


def orthogonalise(matrices: torch.Tensor, steps: int = 5) -> torch.Tensor:
    """The quintic Newton–Schulz iteration that drives singular values towards 1 (Jordan 2024).

    Shapes: (n, rows, columns) → the same. Computed in bfloat16, as its author does; singular values
    land between about 0.7 and 1.2, not at 1.
    """
    a, b, c = 3.4445, -4.7750, 2.0315
    x = matrices.bfloat16()
    tall = x.shape[-2] > x.shape[-1]
    if tall:
        x = x.mT
    x = x / (torch.linalg.vector_norm(x, dim=(-2, -1), keepdim=True) + 1e-7)
    for _ in range(steps):
        gram = x @ x.mT
        polynomial = torch.baddbmm(gram, gram, gram, beta=b, alpha=c)
        x = torch.baddbmm(x, polynomial, x, beta=a)
    return (x.mT if tall else x).to(matrices.dtype)


class Muon(Rule):
    """Muon (Jordan 2024) for matrices: B ← μB + g; θ ← (1 − ηλ)θ − η √max(1, rows/columns) · NS(g + μB).

    Matrices of one shape are handled together, as one batch of products.

    Args: ``params`` of two dimensions; ``lr`` η; ``momentum`` μ; ``weight_decay`` λ; ``steps`` of the
    iteration. State: four bytes a parameter. Raises ValueError for a parameter that is no matrix.
    """

    def __init__(
        self,
        params: Iterable[Any],
        lr: float = 0.02,
        momentum: float = 0.95,
        weight_decay: float = 0.0,
        steps: int = 5,
    ) -> None:
        super().__init__(
            params, {"lr": lr, "momentum": momentum, "weight_decay": weight_decay, "steps": steps}
        )
        for group in self.param_groups:
            for p in group["params"]:
                if p.ndim != 2:
                    raise ValueError(f"Muon is for matrices; a parameter has the shape {tuple(p.shape)}")

    def new_state(self, p: torch.Tensor) -> dict[str, torch.Tensor]:
        return {"momentum": torch.zeros_like(p)}

    def update(self, group: dict[str, Any], params: list[torch.Tensor]) -> None:
        # A matrix and the transpose of another of its shape are orthogonalised in one batch.
        shapes: dict[tuple[int, ...], list[torch.Tensor]] = {}
        for p in params:
            shapes.setdefault(tuple(sorted(p.shape)), []).append(p)
        for alike in shapes.values():
            self._update(group, alike)

    def _update(self, group: dict[str, Any], params: list[torch.Tensor]) -> None:
        momentum, lr = group["momentum"], group["lr"]
        buffers = [self.state[p]["momentum"] for p in params]
        grads = [p.grad for p in params if p.grad is not None]
        torch._foreach_mul_(buffers, momentum)
        torch._foreach_add_(buffers, grads)
        nesterov = torch._foreach_add(grads, buffers, alpha=momentum)
        update = self._orthogonal(list(nesterov), group["steps"])
        if group["weight_decay"]:
            torch._foreach_mul_(params, 1 - lr * group["weight_decay"])
        scales = [-lr * max(1.0, p.shape[0] / p.shape[1]) ** 0.5 for p in params]
        torch._foreach_mul_(update, scales)
        torch._foreach_add_(params, update)

    @staticmethod
    def _orthogonal(matrices: list[torch.Tensor], steps: int) -> list[torch.Tensor]:
        if not hasattr(matrices[0], "full_tensor"):
            wide = [m if m.shape[0] <= m.shape[1] else m.mT for m in matrices]
            updates = orthogonalise(torch.stack(wide), steps).unbind(0)
            return [u if u.shape == m.shape else u.mT for u, m in zip(updates, matrices, strict=True)]
        # Sharded (FSDP2): the iteration needs whole matrices, so all gather them and keep their rows.
        from torch.distributed.tensor import DTensor, distribute_tensor

        sharded = [m for m in matrices if isinstance(m, DTensor)]
        whole = Muon._orthogonal([m.full_tensor() for m in sharded], steps)
        return [
            distribute_tensor(w.contiguous(), m.device_mesh, m.placements, src_data_rank=None)
            for w, m in zip(whole, sharded, strict=True)
        ]
