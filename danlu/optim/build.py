"""From a specification and a model to its optimizers."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import torch
import torch.nn as nn

from danlu import spec
from danlu.nn.registry import class_for
from danlu.optim.base import Rule
from danlu.optim.groups import Named, exceptions, named
from danlu.optim.mup import scaled
from danlu.spec.errors import SpecError

# --- who gets what ----------------------------------------------------------------------------------------


class Assignment(NamedTuple):
    """A parameter, the rule that updates it, and the settings of its group: ``lr`` is the peak rate."""

    of: Named
    rule: type[Rule]
    settings: dict[str, Any]


_ORDER = ("kernel", "readout", "embedding", "gain", "bias")  # so that the first group is the matrices'


def decay(s: Any, p: Named) -> dict[str, float]:
    """The decay of a parameter where its rule has no other: gains and biases have none. Empty of a rule
    whose decay follows from its rate."""
    if not hasattr(s, "weight_decay"):
        return {}
    decayed = p.role in ("kernel", "readout") or (p.role == "embedding" and s.decay_embeddings)
    return {"weight_decay": s.weight_decay if decayed else 0.0}


def assign(s: spec.Optimizer, model: nn.Module, updates: int | None = None) -> list[Assignment]:
    """Who gets what: every parameter of ``model`` that learns, once.

    Settings are those of the specification, then what ``groups`` changes, then, in a model that has a
    ``width_multiplier`` (see ``danlu.optim.mup``), as they are good at its width. ``updates`` of the whole
    run give the rate where it is left out, 1/√updates (Amos). Raises ``SpecError`` for a pattern of names
    that matches nothing, for a decay of a rule that has none, and where neither rate nor updates are known.
    """
    s = _with_rate(s, updates)
    parameters = sorted(named(model), key=lambda p: _ORDER.index(p.role))
    changed = exceptions(s.groups, parameters)
    multiplier = float(getattr(model, "width_multiplier", 1.0))
    found = []
    for p in parameters:
        own = getattr(s, "embeddings", None) if p.role == "embedding" else None
        rule: type[Rule] = class_for(type(own or s))
        choice = rule.choose(own or s, p)
        settings = {**decay(own or s, p), **choice.settings}
        if p.name in changed:
            settings["lr"] *= changed[p.name].rate
            if changed[p.name].weight_decay is not None:
                if "weight_decay" not in settings:
                    raise SpecError(
                        f"optimizer.groups: {s.kind} has no weight_decay that {p.name} could have"
                    )
                settings["weight_decay"] = changed[p.name].weight_decay
        found.append(Assignment(p, choice.rule, scaled(settings, choice.scaling, p, multiplier)))
    return found


def _with_rate(s: spec.Optimizer, updates: int | None) -> spec.Optimizer:
    if s.lr is not None:
        return s
    if updates is None:
        raise SpecError(
            f"optimizer.lr is left out, which for {s.kind} means 1/√updates, and a run that seconds bound "
            "does not know how many it makes; set optimizer.lr, or train.steps"
        )
    return s.model_copy(update={"lr": updates**-0.5})


def build(s: spec.Optimizer, model: nn.Module, updates: int | None = None) -> list[Rule]:
    """The optimizers that together update every parameter of ``model`` once.

    Every group carries ``peak``, the rate that a schedule multiplies, and ``names``, its parameters'.
    ``updates`` and what is raised: as of ``assign``.
    """
    rules: dict[type[Rule], dict[Any, dict[str, Any]]] = {}
    for p, rule, settings in assign(s, model, updates):
        alike = tuple(sorted(settings.items()))
        empty = {"params": [], "names": [], **settings, "peak": settings["lr"]}
        group = rules.setdefault(rule, {}).setdefault(alike, empty)
        group["params"].append(p.parameter)
        group["names"].append(p.name)
    state_dtype = getattr(torch, s.state)
    return [_make(rule, list(groups.values()), state_dtype) for rule, groups in rules.items()]


def _make(rule: Callable[..., Rule], groups: list[dict[str, Any]], state_dtype: torch.dtype) -> Rule:
    made = rule(groups, lr=groups[0]["lr"])
    made.state_dtype = state_dtype
    return made


# --- state in and out -------------------------------------------------------------------------------------


def state_tensors(optimizers: list[Rule]) -> dict[str, torch.Tensor]:
    """The optimizers' state as one flat mapping: ``PARAMETER/KEY`` → tensor."""
    return {
        f"{name}/{key}": value
        for optimizer in optimizers
        for group in optimizer.param_groups
        for name, p in zip(group["names"], group["params"], strict=True)
        for key, value in optimizer.state[p].items()
    }


def load_state_tensors(optimizers: list[Rule], tensors: dict[str, torch.Tensor]) -> None:
    """Put back what ``state_tensors`` gave."""
    by_name: dict[str, dict[str, torch.Tensor]] = {}
    for path, tensor in tensors.items():
        name, key = path.rsplit("/", 1)
        by_name.setdefault(name, {})[key] = tensor
    for optimizer in optimizers:
        for group in optimizer.param_groups:
            for name, p in zip(group["names"], group["params"], strict=True):
                if name in by_name:
                    optimizer.put_state(p, by_name[name])
