"""Tiger: the sign of a momentum, rates relative to the weights, accumulation inside the momentum."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from functools import partial
from typing import Any, Literal

import torch
from torch import Tensor

from danlu import spec
from danlu.nn.registry import builds
from danlu.optim.base import Choice, calculate, descend, has_gradient, local, precise
from danlu.optim.pieces import cut, cut_rows
from danlu.optim.roles import Named
from danlu.optim.rules.signs import Signed, alike_types, end_to_end, for_each, squares, touched
from danlu.spec.optim import Role

Scale = Literal["rms", "rows", "half"]

_SCALES: Mapping[Role, Scale] = {
    "kernel": "rms", "readout": "rms", "embedding": "rows", "gain": "half", "bias": "half"
}  # fmt: skip
SHRINK = 0.99  # what a tensor whose gradient is not finite keeps of its distance from its centre


@builds(spec.Tiger)
class Tiger(Signed):
    """Tiger (Su 2023, "Tiger: a tight-fisted optimizer"): m ← βm + (1−β)g; θ ← θ − η(sign m + λθ).

    η is ``lr`` times the root mean square of the tensor, at least ``floor`` (Adafactor's, without which a
    tensor of zeros would stay so), or times 0.5 for gains and biases, which don't decay.

    ``microsteps`` k: gradients are averaged inside the momentum, which needs no memory beside it:
    m ← [(β−1)χ + 1]m + (1−β)/k·g with χ = 1 at the first of k microsteps, else 0. Call ``step`` after each
    backward pass; parameters move at every k-th. With ``accumulate_in_backward`` gradients don't live beyond
    their making.

    A tensor whose gradient holds NaN or infinity at a microstep keeps its momentum (also undecayed, if it was
    the first; it does not move, if it was the last), and its weights go a hundredth of the way to ``centre``.
    ``skipped`` counts.

    Args: ``lr``; ``beta``; ``weight_decay`` λ; ``floor``; ``lazy_rows``: rows of matrices whose gradient is
    all zero are left alone (set it in the groups of embeddings); ``microsteps``. Groups may have ``scale``:
    "rms", "rows" (of each row: embeddings) or "half"; left out: "half" without decay for tensors of less than
    two dimensions, else "rms"; and ``centre``: 1 for gains of norms, else 0. State: four bytes a parameter in
    float32, accumulation included.
    """

    scaling = "relative"
    moments = ("exp_avg",)

    @classmethod
    def choose(cls, s: spec.Rule, p: Named) -> Choice:
        choice = super().choose(s, p)
        choice.settings.update(scale=_SCALES[p.role], centre=p.centre)
        return choice

    def __init__(
        self,
        params: Iterable[Any],
        lr: float = 2e-3,
        beta: float = 0.965,
        weight_decay: float = 0.01,
        floor: float = 1e-3,
        lazy_rows: bool = False,
        microsteps: int = 1,
        *,
        state_dtype: torch.dtype | None = None,
        compiled: bool = False,
    ) -> None:
        defaults = {
            "lr": lr, "beta": beta, "weight_decay": weight_decay, "floor": floor, "lazy_rows": lazy_rows,
            "microsteps": microsteps, "scale": None, "centre": 0.0,
        }  # fmt: skip
        super().__init__(params, defaults, state_dtype=state_dtype, compiled=compiled)

    def new_state(self, p: Tensor) -> dict[str, Tensor]:
        return {**super().new_state(p), "folded": torch.zeros(())}

    # ---------------------------------------------------------------- accumulation

    def accumulate_in_backward(self) -> list[Any]:
        """From now on each gradient is folded into the momentum as soon as it is made, and freed: call
        ``backward`` k times and ``step`` after the last. What needs all gradients at once, clipping by their
        norm or scaling of the loss, is not possible then. Returns the hooks' handles, to ``remove()``.
        """
        return [
            p.register_post_accumulate_grad_hook(partial(self._fold_now, group))
            for group in self.param_groups
            for p in group["params"]
            if p.requires_grad
        ]

    @torch.no_grad()
    def _fold_now(self, group: dict[str, Any], p: Tensor) -> None:
        if has_gradient(group, p):
            self.give_state([p])
            super().update({**group, "hold": True}, [p])
        p.grad = None

    def ready(self, group: dict[str, Any]) -> list[Tensor]:
        return [p for p in group["params"] if has_gradient(group, p) or self._full(group, p)]

    def _full(self, group: dict[str, Any], p: Tensor) -> bool:
        state = self.state.get(p)
        return state is not None and "folded" in state and int(state["folded"]) >= group["microsteps"]

    def _turn(self, settings: dict[str, Any], p: Tensor, lost: bool = False) -> tuple[bool, bool]:
        """Count a microstep of ``p``: whether it is the first of its k, and whether ``p`` moves now.
        ``lost``: it has no part in the momentum; as the last it ends the k without a move."""
        count, k = self.state[p]["folded"], settings["microsteps"]
        first, last = not count, int(count.add_(1)) >= k
        hold = settings.get("hold", False) and not lost
        if last and not hold:
            count.zero_()
        return first, last and not hold

    # ---------------------------------------------------------------- a step

    def update(self, group: dict[str, Any], params: list[Tensor]) -> None:
        if fresh := [p for p in params if p.grad is not None]:
            super().update(group, fresh)
        if full := [p for p in params if p.grad is None]:
            self._move_full(group, full)

    def sweep(self, settings: dict[str, Any], params: list[Tensor]) -> None:
        turns = [self._turn(settings, p) for p in params]
        moving = [p for p, (_, last) in zip(params, turns, strict=True) if last]
        rates = dict(zip(map(id, moving), self.rates(settings, moving), strict=True))
        for p, (first, last) in zip(params, turns, strict=True):
            rate = rates.get(id(p), 0.0)
            now = {**settings, "first": first, "last": last, "weight_decay": decay(settings, p)}
            columns = [column[0] for column in self.columns([p])]
            if self.compiled:
                self.run_compiled({**now, "rate": rate}, [[t] for t in columns])
                continue
            for piece, part in with_rate(columns, rate):
                calculate(self.formula, {**now, "rate": part}, [[t] for t in piece])

    def formula(
        self, settings: dict[str, Any], params: list[Tensor], grads: list[Tensor], *moments: list[Tensor]
    ) -> None:
        (m,), beta, k = moments, settings["beta"], settings["microsteps"]
        if k == 1:
            torch._foreach_lerp_(m, grads, 1 - beta)
        else:
            if settings["first"]:
                torch._foreach_mul_(m, beta)
            torch._foreach_add_(m, grads, alpha=(1 - beta) / k)
        if settings["last"]:
            move(settings, params, m)

    def coefficients(self, settings: dict[str, Any]) -> list[float | Tensor]:
        beta = settings["beta"]
        kept = beta if settings["first"] else 1.0
        rate = settings["rate"] if settings["last"] else 0.0
        return [kept, (1 - beta) / settings["microsteps"], rate, settings["weight_decay"]]

    @staticmethod
    def plain(c: list[Tensor], p: Tensor, g: Tensor, *moments: Tensor) -> tuple[Tensor, ...]:
        (m,), (kept, new, rate, decay) = moments, c
        m = kept * m + new * g
        return p - rate * (m.sign() + decay * p), m

    def sweep_masked(self, group: dict[str, Any], params: list[Tensor], finite: Tensor) -> None:
        alike: dict[Any, list[tuple[Tensor, Tensor]]] = {}
        for p, fine in zip(params, finite.unbind(), strict=True):
            kind = scale(group, p), decay(group, p), p.dtype, p.grad.dtype if p.grad is not None else None
            alike.setdefault((*self._turn(group, p), *kind), []).append((p, fine))
        for (first, last, kind, decayed, *_), pairs in alike.items():
            settings = {**group, "first": first, "last": last, "weight_decay": decayed}
            each = [p for p, _ in pairs], [fine for _, fine in pairs]
            if kind == "rows" or group["lazy_rows"] or group.get("hold"):
                self._sweep_alike(settings, *each)
            else:
                self._sweep_flat(settings, *each)

    def _sweep_flat(self, settings: dict[str, Any], params: list[Tensor], finite: list[Tensor]) -> None:
        """The same of tensors that are taken in whole or not at all, laid end to end."""
        columns, rates = self.columns(params), self.rates(settings, params) if settings["last"] else []
        fine = for_each(finite, columns[0])
        if rates and all(isinstance(rate, Tensor) for rate in rates):
            rates = [for_each([rate for rate in rates if isinstance(rate, Tensor)], columns[0])]
        fresh = fine if settings["first"] else torch.zeros_like(fine)
        end_to_end(self._formula([fine], [fresh], [fine], rates[:1]), settings, columns)

    def _sweep_alike(self, settings: dict[str, Any], params: list[Tensor], finite: list[Tensor]) -> None:
        columns = self.columns(params)
        rows = zip(params, columns[1], finite, strict=True)
        masks, fresh, on = zip(*(self._masks(settings, *row) for row in rows), strict=True)
        rates = self.rates(settings, params) if settings["last"] else []
        calculate(self._formula(masks, fresh, on, rates), settings, columns)

    def _formula(
        self,
        masks: Sequence[Tensor],
        fresh: Sequence[Tensor],
        on: Sequence[Tensor],
        rates: Sequence[float | Tensor],
    ) -> Callable[..., None]:
        """What ``_masks`` and ``rates`` say of each tensor, done to it."""

        def formula(
            settings: dict[str, Any], params: list[Tensor], grads: list[Tensor], m: list[Tensor]
        ) -> None:
            beta, k = settings["beta"], settings["microsteps"]
            if k == 1:  # m stays as it is, exactly, where it is masked
                grads = [torch.where(*each) for each in zip(masks, grads, m, strict=True)]
                torch._foreach_lerp_(m, grads, 1 - beta)
            else:
                torch._foreach_mul_(m, [f.to(m[0].dtype).mul_(beta - 1).add_(1) for f in fresh])
                grads = [torch.where(mask, g, 0.0) for mask, g in zip(masks, grads, strict=True)]
                torch._foreach_add_(m, grads, alpha=(1 - beta) / k)
            if settings["last"]:
                move_where(on, params, m, rates, settings["weight_decay"])

        return formula

    def _masks(
        self, settings: dict[str, Any], p: Tensor, g: Tensor, fine: Tensor
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Where the gradient of ``p`` is taken in, where m decays, and where θ moves."""
        state, mask = self.state[p], fine
        fresh, on = fine if settings["first"] else torch.zeros_like(fine), fine
        if settings["lazy_rows"] and p.ndim == 2:
            on = mask = fine & touched(g)
            if settings["microsteps"] > 1:
                before = state.get("touched", torch.zeros_like(mask))
                fresh, state["touched"] = mask & ~before, before | mask
                on = state["touched"] & fine
        if settings.get("hold"):
            state["on"] = on
        elif settings["last"]:
            state.pop("touched", None)
        return mask, fresh, on

    def _move_full(self, group: dict[str, Any], params: list[Tensor]) -> None:
        """Move parameters whose gradients are in the momentum already."""
        for p, rate in zip(params, self.rates(group, params), strict=True):
            state, decayed = self.state[p], decay(group, p)
            state["folded"].zero_()
            state.pop("touched", None)
            on = state.pop("on", None)
            columns = [local(p), local(state["exp_avg"])]
            if on is None:
                for piece, part in with_rate(columns, rate):
                    now = {"rate": part, "weight_decay": decayed}
                    calculate(move, now, [[t] for t in piece])
            else:

                def formula(
                    _: dict[str, Any], p: list[Tensor], m: list[Tensor],
                    on: Tensor = on, rate: float | Tensor = rate, decayed: float = decayed,
                ) -> None:  # fmt: skip
                    move_where([on], p, m, [rate], decayed)

                calculate(formula, group, [[t] for t in columns])

    def rates(self, group: dict[str, Any], params: list[Tensor]) -> list[float | Tensor]:
        """η of each: a number, on a GPU a tensor of one, or one number a row, (rows, 1, …)."""
        lr, floor = group["lr"], group["floor"]
        scales = [scale(group, p) for p in params]
        whole = [p for p, s in zip(params, scales, strict=True) if s == "rms"]
        roots: Any = iter(())
        if whole:
            # Sizes are numbers of Python's: a tensor of them would have to go to the device.
            means = torch._foreach_div(list(squares(whole).unbind()), [float(p.numel()) for p in whole])
            torch._foreach_sqrt_(means)
            torch._foreach_clamp_min_(means, floor)
            torch._foreach_mul_(means, lr)
            roots = iter(torch.stack(means).tolist() if self.looks(whole[0]) else means)
        rates: list[float | Tensor] = []
        for p, s in zip(params, scales, strict=True):
            if s == "half":
                rates.append(0.5 * lr)
            elif s == "rms":
                rates.append(next(roots))
            else:
                rows, inner = local(p), tuple(range(1, p.ndim))
                norms = torch.linalg.vector_norm(rows, dim=inner, keepdim=True, dtype=precise(rows))
                size = max(1, math.prod(p.shape[1:]))
                rates.append(norms.div_(size**0.5).clamp_(min=floor).mul_(lr))
        return rates

    def spare(self, group: dict[str, Any], params: list[Tensor], bad: Tensor | None = None) -> None:
        if bad is not None:
            shares = (bad.double() * (1 - SHRINK)).unbind()
            weights = [local(p) for p in params]
            for some in alike_types([weights], range(len(params))):
                here = [weights[i] for i in some]
                share = for_each([shares[i] for i in some], here).to(here[0].dtype)

                def shrink(settings: dict[str, Any], whole: list[Tensor], share: Tensor = share) -> None:
                    end = whole[0].new_full((), settings["centre"])
                    whole[0].lerp_(end, share.to(whole[0].dtype))

                end_to_end(shrink, group, [here])
            return
        for p in params:
            if self._turn(group, p, lost=True)[1]:
                self.state[p].pop("touched", None)
            local(p).lerp_(local(p).new_full((), group["centre"]), 1 - SHRINK)


def scale(group: dict[str, Any], p: Tensor) -> Scale:
    """How the rate of ``p`` depends on it."""
    if group["scale"] is not None:
        return "rms" if group["scale"] == "rows" and p.ndim < 2 else group["scale"]
    return "half" if p.ndim < 2 else "rms"


def decay(group: dict[str, Any], p: Tensor) -> float:
    """λ of ``p``: none for gains and biases that no group speaks of."""
    return 0.0 if group["scale"] is None and p.ndim < 2 else group["weight_decay"]


def move(settings: dict[str, Any], params: list[Tensor], m: list[Tensor]) -> None:
    """θ ← θ − η(sign m + λθ), η a number or one a row."""
    rate, weight_decay = settings["rate"], settings["weight_decay"]
    updates = list(torch._foreach_sign(m))
    if isinstance(rate, float):
        descend(params, updates, rate, weight_decay)
    else:
        torch._foreach_add_(updates, params, alpha=weight_decay)
        for p, update in zip(params, updates, strict=True):
            p.addcmul_(update, rate.to(p.dtype), value=-1)


def move_where(
    on: Sequence[Tensor],
    params: list[Tensor],
    m: list[Tensor],
    rates: Sequence[float | Tensor],
    weight_decay: float,
) -> None:
    """The same, each tensor at its rate, where its ``on``, which broadcasts, is true."""
    updates = list(torch._foreach_sign(m))
    torch._foreach_add_(updates, params, alpha=weight_decay)
    for update, where, rate in zip(updates, on, rates, strict=True):
        update.mul_(where).mul_(rate)
    torch._foreach_sub_(params, updates)


def with_rate(
    columns: list[Tensor], rate: float | Tensor
) -> Iterator[tuple[tuple[Tensor, ...], float | Tensor]]:
    """Pieces of the tensors, each with its rate; by rows where each row has its own."""
    if isinstance(rate, float) or rate.ndim == 0:
        return ((piece, rate) for piece in cut(tuple(columns)))
    return ((tuple(piece), part) for *piece, part in cut_rows((*columns, rate)))
