"""Every part and every rule on the device, against float64 on the CPU.

The cases are the ideas of the catalog on recipe nano, width 64, so that a new part is a new case. Weights get
some noise, so that what starts as zero is looked at too; dropout, which no two devices draw alike, is off.
"""

from __future__ import annotations

import copy
from collections.abc import Iterator
from importlib.util import find_spec
from typing import Any

import numpy as np
import torch
import torch.nn as nn

from bench.gpu.place import Place, Row
from danlu import optim, spec
from danlu.models import build
from danlu.objectives import Draw, Example, Language, Objective, training_keys
from danlu.spec import catalog, resolve
from danlu.spec.errors import DanluError
from danlu.train.assemble import initial, objective_of, outlined
from danlu.train.update import to_device

VOCABULARY, ROWS = 257, 2
# ‖found − exact‖/‖exact‖ of the loss and of the gradient of all weights together, by the precision of the
# activations; in bfloat16 twice the CPU's own, where that is more: a ReLU, for one, is that sensitive.
WITHIN = {torch.float32: 1e-4, torch.bfloat16: 2e-2}
# The same of a step. Muon computes in bfloat16 on every device.
STEPS, OF_A_STEP = 3, {"Muon": 3e-2, "SOAP": 1e-3}
# What meets in a kernel of attention, beside the ideas alone.
TOGETHER = (
    "data.documents=separate",
    "+gqa data.documents=separate",
    "+mla data.documents=separate",
    "+gqa +window",
    "+gqa +alibi",
    "+gqa +t5-bias",
    "+gqa +relative data.documents=separate",
    "model.position.scaling={kind: interpolation}",
    "model.position.scaling={kind: llama3}",
)


def rows(at: Place) -> Iterator[Row]:
    experiments = dict(cases())
    networks = unique({name: (e.objective, e.model, e.data) for name, e in experiments.items()})
    rules = unique({name: e.optimizer for name, e in experiments.items()})
    if at.tiny:
        networks, rules = networks[::12], rules[::4]
    worst: dict[torch.dtype, tuple[float, str]] = {dtype: (0.0, "") for dtype in WITHIN}
    wrong = 0
    for name in networks:
        try:
            for dtype, off, bound in network(experiments[name], at):
                worst[dtype] = max(worst[dtype], (off, name))
                if not off <= bound:  # NaN is not
                    wrong += 1
                    sentence = f"loss or gradient off by {off:.2g}, more than {bound:.2g}"
                    yield {"what": f"{name}, {short(dtype)}", "wrong": sentence}
        except Exception as error:
            wrong += 1
            yield failure(name, error)
    for name in rules:
        try:
            for kind, off in rule(experiments[name].optimizer, at):
                if not off <= OF_A_STEP.get(kind, 1e-4):
                    wrong += 1
                    yield {"what": f"rule {kind}, of {name}", "wrong": f"a step off by {off:.2g}"}
        except Exception as error:
            wrong += 1
            yield failure(name, error)
    said = {f"worst in {short(dtype)}": f"{off:.2g} ({name})" for dtype, (off, name) in worst.items()}
    yield {"what": f"{len(networks)} networks, {len(rules)} rules", "not right": wrong, **said}


def short(dtype: torch.dtype) -> str:
    return str(dtype).removeprefix("torch.")


def failure(name: str, error: Exception) -> Row:
    lines = str(error).strip().splitlines() or [""]
    return {"what": name, "wrong": f"{type(error).__name__}: {lines[0]}"}


def cases() -> Iterator[tuple[str, spec.Experiment]]:
    """Nano with each idea that it can take and with some of them together, and images, by the words."""
    for words in (*(f"+{idea.name}" for idea in catalog.ideas()), *TOGETHER):
        try:
            yield words, resolve(f"nano {words}")
        except DanluError:
            continue
    if "digits" in catalog.names("recipes") and find_spec("sklearn") is not None:  # whose wheel holds them
        yield "digits", resolve("digits")


def unique(named: dict[str, Any]) -> list[str]:
    """The first name of each value."""
    found: dict[str, str] = {}
    for name, value in named.items():
        found.setdefault(repr(value), name)
    return list(found.values())


# --- networks ----------------------------------------------------------------------------------------------


def network(experiment: spec.Experiment, at: Place) -> Iterator[tuple[torch.dtype, float, float]]:
    """How far the gradient is from that in float64 on the CPU, and how far it may be, by precision."""
    torch.manual_seed(0)
    objective = objective_of(experiment, outlined(experiment, VOCABULARY))
    model: Any = initial(experiment, objective, "float32")
    draw = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for p in model.parameters():
            p.add_(0.02 * torch.randn(p.shape, generator=draw))
    for module in model.modules():
        if isinstance(module, nn.Dropout):
            module.p = 0.0
    example, cpu = drawn(objective), torch.device("cpu")
    exact = gradient(objective, copy.deepcopy(model).double(), torch.float64, example, cpu)

    def off(dtype: torch.dtype, device: torch.device) -> float:
        found = gradient(objective, copy.deepcopy(model).to(device), dtype, example, device)
        return max(float((a - b).norm() / b.norm()) for a, b in zip(found, exact, strict=True))

    yield torch.float32, off(torch.float32, at.device), WITHIN[torch.float32]
    bound = max(WITHIN[torch.bfloat16], 2 * off(torch.bfloat16, cpu))
    yield torch.bfloat16, off(torch.bfloat16, at.device), bound


def drawn(objective: Objective) -> Example:
    """A training example: of random ids with two ends of documents, or of what is not text the first."""
    if not isinstance(objective, Language):
        return objective.example(Draw(0, 0, 0, 0, ROWS))
    ids = np.random.default_rng(0).integers(objective.text_ids, size=(ROWS, objective.context + 1))
    ids[:, [objective.context // 3, objective.context // 2]] = objective.separator
    return objective.make(ids[:, :-1], ids[:, 1:], training_keys(0, 0, 0, ROWS))


def gradient(
    objective: Objective, model: Any, dtype: torch.dtype, example: Example, device: torch.device
) -> tuple[torch.Tensor, torch.Tensor]:
    """Loss and gradient of all weights, one vector, with activations in ``dtype``; in float64 on the CPU."""
    model.compute = dtype
    loss = objective.loss(model, to_device(example, device)).minimised
    (loss / (ROWS * objective.count)).backward()
    grads = [p.grad.flatten() for p in model.parameters() if p.grad is not None]
    return loss.detach().double().cpu(), torch.cat(grads).double().cpu()


# --- rules -------------------------------------------------------------------------------------------------


def rule(s: spec.Optimizer, at: Place) -> Iterator[tuple[str, float]]:
    """How far a step is from the same step in float64 on the CPU, as a share of its length, by rule: the
    worst of some. Each step starts from the exact weights and state, since a basis of SOAP's may be any where
    eigenvalues are equal."""
    torch.manual_seed(0)
    start: Any = build(resolve("nano model.layers=1").model, VOCABULARY, 64)
    draw = torch.Generator().manual_seed(1)
    exact, found = copy.deepcopy(start).double(), copy.deepcopy(start).to(at.device)
    exact_rules, rules = (optim.build(s, net, updates=100) for net in (exact, found))
    worst: dict[str, float] = {type(one).__name__: 0.0 for one in rules}
    for _ in range(STEPS):
        before = [p.detach().clone() for p in exact.parameters()]
        hand_over(exact, exact_rules, found, rules)
        grads = [torch.randn(p.shape, generator=draw) for p in start.parameters()]
        for net, of in ((exact, exact_rules), (found, rules)):
            for p, g in zip(net.parameters(), grads, strict=True):
                p.grad = g.to(p)
            for one in of:
                one.step()
        owner = {
            id(p): type(one).__name__ for one in exact_rules for g in one.param_groups for p in g["params"]
        }
        for kind in worst:
            off, way = [], []
            for old, p, q in zip(before, exact.parameters(), found.parameters(), strict=True):
                if owner[id(p)] == kind:
                    off.append((q.detach().double().cpu() - p.detach()).flatten())
                    way.append((p.detach() - old).flatten())
            # Of a rule that does not move, as SOAP at first, there is the rounding of the weights alone.
            length = torch.cat(way).norm().clamp(min=1e-3)
            worst[kind] = max(worst[kind], float(torch.cat(off).norm() / length))
    yield from worst.items()


def hand_over(exact: nn.Module, exact_rules: list[Any], found: nn.Module, rules: list[Any]) -> None:
    """Give ``found`` and its rules the weights and the state of ``exact``, in their own types."""
    with torch.no_grad():
        for p, q in zip(exact.parameters(), found.parameters(), strict=True):
            q.copy_(p)
    for one in rules:
        one.prepare()
    like, held = optim.state_tensors(rules), optim.state_tensors(exact_rules)
    optim.load_state_tensors(
        rules, {key: tensor.to(like[key].dtype, copy=True) for key, tensor in held.items()}
    )
