"""Amos: rates from the scale of the initial weights, a decay that follows from them, its own schedule; and
the rules of thumb that Su (2022) drew from it for other rules."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor
from torch.linalg import vector_norm

from danlu import spec
from danlu.nn.registry import builds
from danlu.optim.alike import own, settings_of, whole
from danlu.optim.base import Rule, local, precise

_TINIEST = 2.0**-125  # the smallest v̂ divided by, as in the authors' code
_VECTOR = 0.5  # how far gains and biases are expected to move (Su 2022)


@builds(spec.Amos)
class Amos(Rule):
    """Amos (Tian & Parikh 2022, algorithm 1), with c = d = ¼ as in the authors' ``jestimator``.

    Per row of a matrix (for a vector: over all of it), with ‖·‖² the mean of squares:
    v ← βv + (1 − β)‖g‖², v̂ = v/(1 − β^t); γ = ξ²‖g‖²/(v̂·√(1 + ¼√ξ·b)), D = 1/(1 + ¼√(ξη)·b);
    θ ← θ − D[ξη·g/√v̂ + (γ/2 + ℓ)θ]; b ← b + γ(1 + b).

    ξ is ``lr``, or 1/√``updates``, the updates of the whole run. b lowers rate and decay over the run, so
    that a schedule should only warm up. η, the scale that weights are expected to have, is ``scale`` of the
    group; if None it is measured when a parameter is first updated: the RMS of a matrix, or 1/√columns of
    one that is zero; ½ for vectors and scalars. It is kept in the state, since weights loaded later have
    another RMS.

    Args: ``lr`` ξ, ``updates``, ``scale`` η, ``beta`` β; ``momentum`` μ: θ moves by the moving average
    M ← μM + (1 − μ)·step; ``extra_decay`` ℓ; ``state_dtype`` of M. State: two numbers a row, in float32 at
    least, and four bytes a parameter with momentum. Sharded parameters (FSDP2): sums of rows are gathered, v
    and b are everywhere. Raises ValueError where neither ``lr`` nor ``updates`` is given.
    """

    scaling = "relative-alone"

    def __init__(
        self,
        params: Iterable[Any],
        lr: float | None = None,
        updates: int | None = None,
        scale: float | None = None,
        beta: float = 0.999,
        momentum: float | None = None,
        extra_decay: float = 0.0,
        *,
        state_dtype: torch.dtype | None = None,
    ) -> None:
        if lr is None:
            if updates is None:
                raise ValueError("Amos needs lr, or the number of updates of the run to derive it: updates=…")
            lr = updates**-0.5
        settings = {"scale": scale, "beta": beta, "momentum": momentum, "extra_decay": extra_decay}
        super().__init__(params, {"lr": lr, **settings}, state_dtype=state_dtype)

    def new_state(self, p: Tensor) -> dict[str, Tensor]:
        group = settings_of(self, p)
        if group["scale"] is not None or p.ndim < 2:
            known = _VECTOR if group["scale"] is None else group["scale"]
            scale = torch.full((), known, dtype=precise(p), device=p.device)
        else:
            rms = whole(vector_norm(p.detach(), dtype=precise(p))) / p.numel() ** 0.5
            scale = torch.where(rms > 0, rms, p.shape[-1] ** -0.5)
        state = {"scale": scale, "step": torch.zeros(())}
        shape = (*p.shape[:-1], 1) if p.ndim > 1 else ()
        state.update({key: scale.new_zeros(shape) for key in ("v", "b")})
        if group["momentum"] is not None:
            state["momentum"] = self.zeros(p)
        return state

    def update(self, group: dict[str, Any], params: list[Tensor]) -> None:
        # The numbers of all rows of all parameters in one vector: a few operations for the whole group.
        for t, same in self.count(params).items():
            for dtype in sorted({precise(p) for p in same}, key=str):
                self._update(group, [p for p in same if precise(p) == dtype], t)

    def _update(self, group: dict[str, Any], params: list[Tensor], t: int) -> None:
        xi, beta, momentum = group["lr"], group["beta"], group["momentum"]
        states = [self.state[p] for p in params]
        rows = [state["v"].numel() for state in states]

        def gathered(key: str) -> Tensor:
            return torch.cat([s[key].expand(s["v"].shape).flatten() for s in states])

        v, b, eta = (gathered(key) for key in ("v", "b", "scale"))
        square = torch.cat([_mean_square(p.grad, v.dtype) for p in params if p.grad is not None])
        v = v.lerp(square, 1 - beta)
        reciprocal = (1 - beta**t) / v.clamp(min=_TINIEST)
        gamma = xi**2 * (1 + 0.25 * xi**0.5 * b).rsqrt() * reciprocal * square
        falling = 1 / (1 + 0.25 * (xi * eta) ** 0.5 * b)
        b = b + gamma * (1 + b)
        of_gradient = -falling * xi * eta * reciprocal.sqrt()
        of_weight = -falling * (gamma / 2 + group["extra_decay"])

        torch._foreach_copy_([s["v"].view(-1) for s in states], v.split(rows))
        torch._foreach_copy_([s["b"].view(-1) for s in states], b.split(rows))
        for p, state, g_factor, w_factor in zip(
            params, states, of_gradient.split(rows), of_weight.split(rows), strict=True
        ):
            assert p.grad is not None
            weight, gradient = local(p), local(p.grad)
            g_factor, w_factor = (_rows(x.view(state["v"].shape), p) for x in (g_factor, w_factor))
            if momentum is None:
                weight.mul_(1 + w_factor).addcmul_(gradient, g_factor)
            else:
                change = (weight * w_factor).addcmul_(gradient, g_factor)
                moved = local(state["momentum"])
                weight.add_(moved.lerp_(change.to(moved.dtype), 1 - momentum))


def _mean_square(g: Tensor, dtype: torch.dtype) -> Tensor:
    """Of each row of a gradient, or of all of a vector."""
    dim, count = (-1, g.shape[-1]) if g.ndim > 1 else (None, g.numel())
    return whole(vector_norm(g, dim=dim, dtype=dtype)).flatten().square() / count


def _rows(factor: Tensor, p: Tensor) -> Tensor:
    """A factor a row (or one for all of a vector), for the rows that are here."""
    return own(factor, p) if factor.ndim else factor


def rules_of_thumb(scale: float, progress: float = 1e-3, q: float = 1.0) -> tuple[float, float]:
    """The peak rate and the decoupled weight decay of a rule whose updates have elements of about 1 (a sign,
    Adam): η = α₀σ and λ = α₀/(2qσ) (Su 2022, kexue.fm/archives/9344; 2023, kexue.fm/archives/9473).

    ``scale`` σ: the standard deviation of the initial weights, ½ for gains and biases; ``progress`` α₀: the
    share of the way that the first update goes, 1e-2 for easy tasks. λ is multiplied by the rate at each
    update, so that rate and decay fall by the same f(t), that of the schedule ``amos``.
    """
    return progress * scale, progress / (2 * q * scale)
