"""SOAP: Adam in the eigenbasis of Shampoo's statistics."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor

from danlu import spec
from danlu.nn.registry import builds
from danlu.optim.alike import alike, dealt, returned, settings_of, sharded_like
from danlu.optim.base import Rule, local, precise


@builds(spec.SOAP)
class SOAP(Rule):
    """SOAP (Vyas et al. 2024, algorithm 3), as its authors' code has it.

    L ← β₂L + (1 − β₂)ggᵀ, R the same of gᵀg, with eigenvectors Q_L, Q_R; m ← β₁m + (1 − β₁)g,
    v ← β₂v + (1 − β₂)(Q_Lᵀ g Q_R)²; θ ← (1 − ηλ)(θ − η Q_L[Q_Lᵀ m Q_R/(√v + ε)]Q_Rᵀ), with Adam's
    corrections of m and v. The first gradient of a parameter only gives the first basis, by eigh; every
    ``every`` updates one power iteration and QR turn it. A side longer than ``longest`` keeps its own basis,
    as do both sides of what is no matrix.

    Args: ``lr`` η; ``betas``; ``eps`` ε; ``weight_decay`` λ; ``state_dtype`` of m and v. State: 8 +
    8(rows² + columns²)/(rows·columns) bytes a parameter in float32. Sharded parameters (FSDP2): so is all
    state, and the matrices of one shape are divided among the processes (``danlu.optim.alike``).
    """

    scaling = "steps"

    def __init__(
        self,
        params: Iterable[Any],
        lr: float = 3e-3,
        betas: tuple[float, float] = (0.95, 0.95),
        eps: float = 1e-8,
        weight_decay: float = 0.01,
        every: int = 10,
        longest: int = 10_000,
        *,
        state_dtype: torch.dtype | None = None,
    ) -> None:
        settings = {"betas": betas, "eps": eps, "weight_decay": weight_decay, "every": every}
        super().__init__(params, {"lr": lr, **settings, "longest": longest}, state_dtype=state_dtype)

    def _sides(self, p: Tensor) -> list[str]:
        """The sides that have a basis."""
        return [name for name in ("left", "right") if name in self.state[p]]

    def new_state(self, p: Tensor) -> dict[str, Tensor]:
        state = {"exp_avg": self.zeros(p), "exp_avg_sq": self.zeros(p), "step": torch.zeros(())}
        longest = settings_of(self, p)["longest"]
        for name, n in zip(("left", "right"), p.shape if p.ndim == 2 else (), strict=False):
            if n <= longest:
                place: dict[str, Any] = {"dtype": precise(p), "device": p.device}
                state[name] = sharded_like(torch.zeros(n, n, **place), p)
                state[f"{name}_basis"] = sharded_like(torch.eye(n, **place), p)
        return state

    def update(self, group: dict[str, Any], params: list[Tensor]) -> None:
        for t, same in self.count(params).items():
            for few in alike(same):
                g = dealt([p.grad for p in few if p.grad is not None], precise(few[0]))
                if t > 1:
                    self._move(group, few, g, t - 1)
                self._observe(group, few, g)
                if t == 1:
                    self._first_basis(few)
                elif (t - 1) % group["every"] == 0:
                    self._turn(few)

    def _all(self, params: list[Tensor], key: str) -> list[Tensor]:
        return [self.state[p][key] for p in params]

    def _dealt(self, params: list[Tensor], key: str, dtype: torch.dtype | None = None) -> Tensor:
        return dealt(self._all(params, key), dtype)

    def _observe(self, group: dict[str, Any], params: list[Tensor], g: Tensor) -> None:
        for name in self._sides(params[0]):
            products = g @ g.mT if name == "left" else g.mT @ g
            self._keep(params, name, self._dealt(params, name).lerp(products, 1 - group["betas"][1]))

    def _first_basis(self, params: list[Tensor]) -> None:
        for name in self._sides(params[0]):
            vectors = torch.linalg.eigh(self._dealt(params, name))[1].flip(-1)
            self._keep(params, f"{name}_basis", vectors)

    def _move(self, group: dict[str, Any], params: list[Tensor], g: Tensor, steps: int) -> None:
        (beta1, beta2), lr = group["betas"], group["lr"]
        bases = {name: self._dealt(params, f"{name}_basis") for name in self._sides(params[0])}
        m = self._dealt(params, "exp_avg", g.dtype).lerp(g, 1 - beta1)
        v = self._dealt(params, "exp_avg_sq", g.dtype).lerp(_into(g, bases).square(), 1 - beta2)
        self._keep(params, "exp_avg", m)
        self._keep(params, "exp_avg_sq", v)
        update = _back(_into(m, bases) / v.sqrt().add_(group["eps"]), bases)
        size = lr * (1 - beta2**steps) ** 0.5 / (1 - beta1**steps)
        weights = [local(p) for p in params]
        torch._foreach_add_(weights, returned(update, params), alpha=-size)
        if group["weight_decay"]:
            torch._foreach_mul_(weights, 1 - lr * group["weight_decay"])

    def _turn(self, params: list[Tensor]) -> None:
        """A new basis from one power iteration, its vectors and v in the order of falling eigenvalues."""
        v = self._dealt(params, "exp_avg_sq")
        for name in self._sides(params[0]):
            basis = self._dealt(params, f"{name}_basis")
            image = self._dealt(params, name) @ basis
            order = (basis * image).sum(-2).argsort(dim=-1, descending=True)
            rows = order[:, :, None] if name == "left" else order[:, None, :]
            v = v.take_along_dim(rows, -2 if name == "left" else -1)
            turned = torch.linalg.qr(image.take_along_dim(order[:, None, :], -1))[0]
            self._keep(params, f"{name}_basis", turned)
        self._keep(params, "exp_avg_sq", v)

    def _keep(self, params: list[Tensor], key: str, new: Tensor) -> None:
        held = self._all(params, key)
        torch._foreach_copy_([local(t) for t in held], returned(new, held))


def _into(x: Tensor, bases: dict[str, Tensor]) -> Tensor:
    """Q_Lᵀ x Q_R."""
    if "left" in bases:
        x = bases["left"].mT @ x
    return x @ bases["right"] if "right" in bases else x


def _back(x: Tensor, bases: dict[str, Tensor]) -> Tensor:
    """Q_L x Q_Rᵀ."""
    if "left" in bases:
        x = bases["left"] @ x
    return x @ bases["right"].mT if "right" in bases else x
