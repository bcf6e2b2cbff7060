"""From a specification and a model to its optimizers."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import torch
import torch.nn as nn

from danlu import spec
from danlu.optim.base import Rule
from danlu.optim.groups import Named, exceptions, named
from danlu.optim.mup import Law, scaled
from danlu.optim.rules.adafactor import Adafactor
from danlu.optim.rules.adam import Adam, AdamW
from danlu.optim.rules.amos import Amos
from danlu.optim.rules.lamb import LAMB
from danlu.optim.rules.lion import Lion
from danlu.optim.rules.muon import Muon
from danlu.optim.rules.schedule_free import ScheduleFreeAdamW
from danlu.optim.rules.sgd import SGD
from danlu.optim.rules.soap import SOAP
from danlu.optim.rules.tiger import Tiger
from danlu.spec.errors import SpecError
from danlu.spec.optim import Role


class Choice(NamedTuple):
    """What updates a parameter: the rule, the settings of its group there (the rule's keyword arguments),
    and the law by which muP scales them."""

    rule: type[Rule]
    law: Law
    settings: dict[str, Any]


# --- the table: how each specification chooses ------------------------------------------------------------
#
# A function of the specification and a parameter (``Named``: its name, role, tensor). Parameters whose
# choices are equal make a group; the groups of one rule make an optimizer. A function says ``weight_decay``
# only where it is other than ``decay`` would have it.


def _adamw(s: spec.AdamW, p: Named) -> Choice:
    return Choice(AdamW, "steps", {"lr": s.lr, "betas": (s.beta1, s.beta2), "eps": s.eps})


def _adam(s: spec.Adam, p: Named) -> Choice:
    return Choice(Adam, "steps-l2", {"lr": s.lr, "betas": (s.beta1, s.beta2), "eps": s.eps})


def _lion(s: spec.Lion, p: Named) -> Choice:
    lazy = s.lazy_rows and p.role == "embedding"
    return Choice(Lion, "steps", {"lr": s.lr, "betas": (s.beta1, s.beta2), "lazy_rows": lazy})


def _muon(s: spec.Muon, p: Named) -> Choice:
    if not p.block_matrix:
        rest = {"lr": s.adamw_lr, "betas": (s.beta1, s.beta2), "eps": s.eps, "weight_decay": 0.0}
        return Choice(AdamW, "steps", rest)
    settings = {"lr": s.lr, "momentum": s.momentum, "steps": s.steps, "scale": s.scale}
    return Choice(Muon, "spectral" if s.scale == "spectral" else "rms", settings)


def _adafactor(s: spec.Adafactor, p: Named) -> Choice:
    settings = {"lr": s.lr, "decay": s.decay, "floor": s.floor, "clip": s.clip}
    return Choice(Adafactor, "relative-apart", settings)


def _amos(s: spec.Amos, p: Named) -> Choice:
    settings = {"lr": s.lr, "beta": s.beta, "momentum": s.momentum, "extra_decay": s.extra_decay}
    return Choice(Amos, "relative-alone", settings)


def _sgd(s: spec.SGD, p: Named) -> Choice:
    return Choice(SGD, "gradients", {"lr": s.lr, "momentum": s.momentum, "nesterov": s.nesterov})


def _lamb(s: spec.LAMB, p: Named) -> Choice:
    return Choice(LAMB, "relative", {"lr": s.lr, "betas": (s.beta1, s.beta2), "eps": s.eps})


_TIGER: Mapping[Role, str] = {
    "kernel": "rms",
    "readout": "rms",
    "embedding": "rows",
    "gain": "half",
    "bias": "half",
}


def _tiger(s: spec.Tiger, p: Named) -> Choice:
    settings = {"lr": s.lr, "beta": s.beta, "floor": s.floor, "scale": _TIGER[p.role], "centre": p.centre}
    return Choice(Tiger, "relative", {**settings, "lazy_rows": s.lazy_rows and p.role == "embedding"})


def _schedule_free(s: spec.ScheduleFreeAdamW, p: Named) -> Choice:
    settings = {"lr": s.lr, "betas": (s.beta1, s.beta2), "eps": s.eps, "power": s.power}
    return Choice(ScheduleFreeAdamW, "steps", settings)


def _soap(s: spec.SOAP, p: Named) -> Choice:
    settings = {"lr": s.lr, "betas": (s.beta1, s.beta2), "eps": s.eps}
    return Choice(SOAP, "steps", {**settings, "every": s.every, "longest": s.longest})


CHOOSE: Mapping[type[spec.Rule], Callable[[Any, Named], Choice]] = {
    spec.Adafactor: _adafactor,
    spec.Adam: _adam,
    spec.AdamW: _adamw,
    spec.Amos: _amos,
    spec.LAMB: _lamb,
    spec.Lion: _lion,
    spec.Muon: _muon,
    spec.SGD: _sgd,
    spec.SOAP: _soap,
    spec.ScheduleFreeAdamW: _schedule_free,
    spec.Tiger: _tiger,
}


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
        choice = CHOOSE[type(own or s)](own or s, p)
        settings = {**decay(own or s, p), **choice.settings}
        if p.name in changed:
            settings["lr"] *= changed[p.name].rate
            if changed[p.name].weight_decay is not None:
                if "weight_decay" not in settings:
                    raise SpecError(
                        f"optimizer.groups: {s.kind} has no weight_decay that {p.name} could have"
                    )
                settings["weight_decay"] = changed[p.name].weight_decay
        found.append(Assignment(p, choice.rule, scaled(settings, choice.law, p, multiplier)))
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
