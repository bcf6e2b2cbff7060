"""The edge of stability of a run: how its rates and the curvature of its loss stand to each other."""

from __future__ import annotations

from typing import Any, NamedTuple

import torch
from torch import Tensor

from danlu import curvature, optim
from danlu.train import checkpoint
from danlu.train.curvature.loss import Curved
from danlu.train.plan import Plan, updates_of
from danlu.train.state import TrainerState


class Rates(NamedTuple):
    """``each`` (size,): what the last update multiplied the averaged gradient of each parameter by; ``lr``:
    of the first group; ``threshold`` of an eigenvalue times the rate, beyond which the rule diverges on a
    quadratic, and its ``formula``."""

    rule: str
    lr: float
    each: Tensor
    threshold: float
    formula: str


class Edge(NamedTuple):
    """``value``: the largest eigenvalue of √D H √D, D the rate of each parameter at the last update, H the
    Hessian. Beyond ``threshold`` gradient descent on a quadratic model oscillates with growing size."""

    rule: str
    lr: float
    value: float
    threshold: float
    formula: str

    @property
    def lr_at_edge(self) -> float | None:
        """The rate at which the value would be the threshold, in a loss of this curvature; None where that
        curves nowhere upwards."""
        return self.lr * self.threshold / self.value if self.value > 0 else None


def edge(loss: Curved, *, tolerance: float = 1e-2, most: int = 60) -> Edge | None:
    """The edge of stability at the update that led to the checkpoint: of SGD by Cohen et al. 2021
    (arXiv:2103.00065, section 2: 2, with momentum 2 + 2μ, with Nesterov's (2 + 2μ)/(1 + 2μ)), of Adam by
    Cohen et al. 2022 (arXiv:2207.14484, eq. 2: (2 + 2β₁)/(1 − β₁), which is 38 for β₁ = .9). Training hovers
    there where batches are so large that gradients have little noise. None of other rules, of which no
    threshold is known, and at step 0."""
    rates = rates_of(loss)
    if rates is None:
        return None
    root = rates.each.sqrt()
    top = curvature.top(
        lambda v: root * loss.hessian(root * v),
        loss.like,
        tolerance=tolerance,
        most=most,
        generator=torch.Generator().manual_seed(3),
    )
    return Edge(rates.rule, rates.lr, top.values[0], rates.threshold, rates.formula)


def rates_of(loss: Curved) -> Rates | None:
    """The rates of the update that led to the checkpoint; None of rules other than SGD, Adam and AdamW, and
    of initial weights."""
    experiment, step = loss.experiment, loss.step
    rules = optim.build(experiment.optimizer, loss.run.model, updates_of(experiment))
    if step == 0 or not all(isinstance(rule, optim.SGD | optim.Adam) for rule in rules):
        return None
    tensors, state = checkpoint.load(loss.path, step, only={"optimizer"})
    optim.load_state_tensors(rules, tensors["optimizer"])
    now = TrainerState.read(state["position"])
    plan = Plan(experiment.train, loss.objective.size)
    before = max(0, now.units - experiment.train.batch * loss.objective.size)
    moment = plan.at(step - 1, before, plan.progress(step - 1, before, now.seconds))
    optim.Settings(rules, experiment.optimizer, experiment.schedule, experiment.vary).set(moment)
    found = {
        p: _rate(rule.state[p], group, p)
        for rule in rules
        for group in rule.param_groups
        for p in group["params"]
    }
    each = curvature.flatten([found[p].to(loss.like) for p in loss.parameters])
    group = rules[0].param_groups[0]
    return Rates(type(rules[0]).__name__, float(group["lr"]), each, *threshold(group))


def threshold(group: dict[str, Any]) -> tuple[float, str]:
    """Of the settings of a rule: eigenvalue times rate beyond which it diverges on a quadratic, and the
    formula."""
    if "betas" in group:
        b = group["betas"][0]
        return (2 + 2 * b) / (1 - b), "(2 + 2β₁)/(1 − β₁)"
    m = group["momentum"]
    if group["nesterov"] and m > 0:
        return (2 + 2 * m) / (1 + 2 * m), "(2 + 2μ)/(1 + 2μ)"
    return 2 + 2 * m, "2 + 2μ" if m else "2"


def _rate(state: dict[str, Tensor], group: dict[str, Any], p: Tensor) -> Tensor:
    """What a rule multiplies the averaged gradient of each number by: η, or Adam's η/((1 − β₁^t)(√v̂ + ε))."""
    if "betas" not in group:
        return torch.full_like(p, group["lr"], requires_grad=False)
    b1, b2 = group["betas"]
    t = float(state["step"])
    root = (state["exp_avg_sq"].double() / (1 - b2**t)).sqrt()
    return group["lr"] / (1 - b1**t) / (root + group["eps"])
