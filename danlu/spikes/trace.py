"""What is written down of every update that is repeated."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import torch

from danlu.inspection.weighing import part
from danlu.optim import SOAP
from danlu.optim.base import local
from danlu.train.callbacks import Callback
from danlu.train.precision import first_non_finite

if TYPE_CHECKING:
    from danlu.train.trainer import Trainer


@dataclass
class Moment:
    """One update: ``step``, counted as metrics do, after it. ``gradients``: norms by part of the model,
    before clipping. ``surprise``, by tensor: √mean(g²/max(v̂, ε²)), the root mean square of what Adam would
    step by without momentum (Wortsman et al. 2023, arXiv:2304.13013, RMS_t); ``root``: √mean v̂, the usual
    size of a gradient as the rule knows it; ``eps``: what is added to it. ``bad``: the first tensor that is
    not finite, in words. ``scale``: the loss scale; ``applied``: whether weights were updated."""

    step: int
    loss: float
    norm: float
    gradients: dict[str, float] = field(default_factory=dict)
    surprise: dict[str, float] = field(default_factory=dict)
    root: dict[str, float] = field(default_factory=dict)
    eps: dict[str, float] = field(default_factory=dict)
    bad: str | None = None
    scale: float = 1.0
    applied: bool = False


class Trace(Callback):
    """Gathers ``moments``."""

    def __init__(self) -> None:
        self.moments: list[Moment] = []

    def after_gradients(self, run: Trainer) -> None:
        named = [(name, p.grad) for name, p in run.update.named if p.grad is not None]
        scale = run.update.scale.scale
        now = Moment(run.state.step + 1, run.loss, run.update.norm, scale=scale)
        squares: dict[str, float] = {}
        lengths = torch.stack([g.float().norm() for _, g in named]).tolist() if named else []
        for (name, _), length in zip(named, lengths, strict=True):
            squares[part(name)] = squares.get(part(name), 0.0) + (length / scale) ** 2
        now.gradients = {name: square**0.5 for name, square in squares.items()}
        now.bad = first_non_finite((name, p.detach()) for name, p in run.update.named)
        if now.bad is not None:
            now.bad = f"the weight {now.bad}"
        elif gradient := first_non_finite(named):
            now.bad = f"the gradient of {gradient}"
        self.moments.append(now)

    def after_update(self, run: Trainer) -> None:
        now = self.moments[-1]
        now.applied = run.applied
        if not run.applied:
            return
        for rule in run.made.rules:
            if isinstance(rule, SOAP):  # its second moment is of gradients in another basis
                continue
            for group in rule.param_groups:
                for name, p in zip(group["names"], group["params"], strict=True):
                    state = rule.state.get(p, {})
                    if p.grad is None or "exp_avg_sq" not in state or "betas" not in group:
                        continue
                    usual = second_moment(state, group)
                    gradient, eps = local(p.grad).float(), group["eps"]
                    ratio = gradient.square() / usual.clamp(min=eps**2)
                    now.surprise[name] = float(ratio.mean().sqrt())
                    now.root[name], now.eps[name] = float(usual.mean().sqrt()), eps


def second_moment(state: dict[str, Any], group: dict[str, Any]) -> torch.Tensor:
    """v̂ of a parameter: the mean of g² that its rule keeps, without its bias towards 0 (Kingma & Ba 2015,
    algorithm 1)."""
    v = local(state["exp_avg_sq"]).float()
    beta2 = group["betas"][1]
    return v / (1 - beta2 ** float(state["step"])) if "step" in state and beta2 < 1 else v
