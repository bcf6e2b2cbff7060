"""From a specification and a model to its optimizers."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import torch
import torch.nn as nn
from pydantic import ValidationError

from danlu import spec
from danlu.optim.base import Rule
from danlu.optim.groups import change, check
from danlu.optim.mup import scaled
from danlu.optim.own import rule_for
from danlu.optim.roles import MATRICES, Named, named, over_layers, unknown
from danlu.spec.errors import SpecError, either
from danlu.spec.explain import explain
from danlu.spec.optim import Role

# --- who gets what ----------------------------------------------------------------------------------------


class Assignment(NamedTuple):
    """A parameter, the rule that updates it, and the settings of its group: ``lr`` is the peak rate."""

    of: Named
    rule: type[Rule]
    settings: dict[str, Any]


class Assignments(list[Assignment]):
    """Who gets what; printed, a table."""

    def rows(self) -> list[dict[str, Any]]:
        """Those that differ by the layer alone in one row.

        A row has ``names``, a pattern (``blocks.*.mixer.qkv.weight``), and the ``layers`` that it stands for,
        if they are not all; ``tensors``, how many; ``role``, and ``why`` it is that; ``shape``; the ``rule``;
        and in ``settings`` what it is given: ``lr``, the peak rate, ``weight_decay``, and the rule's own.
        """
        rows: dict[Any, dict[str, Any]] = {}
        layers: dict[str, set[int]] = {}
        found: dict[Any, set[int]] = {}
        for p, rule, settings in self:
            names, shape = over_layers(p.name), list(p.parameter.shape)
            key = (names, rule.__name__, str(settings), str(shape))
            empty = {"names": names, "layers": None, "tensors": 0, "role": p.role, "why": p.why}
            row = rows.setdefault(key, {**empty, "shape": shape, "rule": rule.__name__, "settings": settings})
            row["tensors"] += 1
            if names != p.name:
                layer = int(next(part for part in p.name.split(".")[1:] if part.isdigit()))
                layers.setdefault(names, set()).add(layer)
                found.setdefault(key, set()).add(layer)
        for key, row in rows.items():
            if found.get(key, set()) != layers.get(row["names"], set()):
                row["layers"] = sorted(found[key])
        return list(rows.values())

    def __repr__(self) -> str:
        cells = [("parameter", "shape", "role", "rule", "lr", "decay", "because it is")]
        for row in self.rows():
            layers = "" if row["layers"] is None else f" {row['layers']}"
            decay = row["settings"].get("weight_decay")
            cells.append((
                row["names"] + layers,
                "×".join(map(str, row["shape"])),
                row["role"],
                row["rule"],
                f"{row['settings']['lr']:.4g}",
                "" if decay is None else f"{decay:.4g}",
                row["why"],
            ))  # fmt: skip
        widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
        return "\n".join(
            "  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip()
            for line in cells
        )


_ORDER = ("kernel", "readout", "embedding", "gain", "bias")  # so that the first group is the matrices'


def decay(s: Any, p: Named) -> dict[str, float]:
    """The decay of a parameter where its rule has no other: gains and biases have none. Empty of a rule
    whose decay follows from its rate."""
    if not hasattr(s, "weight_decay"):
        return {}
    decayed = p.role in ("kernel", "readout") or (p.role == "embedding" and s.decay_embeddings)
    return {"weight_decay": s.weight_decay if decayed else 0.0}


def assign(
    s: spec.Optimizer | str,
    model: nn.Module,
    updates: int | None = None,
    *,
    roles: Mapping[str, Role] | None = None,
    **settings: Any,
) -> Assignments:
    """Who gets what: every parameter of ``model`` that learns, once; print it to see it.

    ``s``: a specification, or the kind of one, whose fields are then ``settings``: ``"lion", lr=1e-4``.
    ``model``: any module; ``roles`` says what cannot be found of its parameters (``danlu.optim.roles``).

    Settings are those of the specification, then what ``groups`` changes, then, in a model that has a
    ``width_multiplier`` (see ``danlu.optim.mup``), as they are good at its width. ``updates`` of the whole
    run give the rate where it is left out, 1/√updates (Amos).

    Raises ``SpecError`` for a parameter whose role is unknown where it makes a difference, for a rule that
    would update nothing, for a pattern of names that matches nothing, for a decay of a rule that has none,
    for a specification that is none, and where neither rate nor updates are known.
    """
    s = _with_rate(_specified(s, settings), updates)
    learning = (p for p in named(model, roles) if p.parameter.requires_grad)
    parameters = sorted(learning, key=lambda p: _ORDER.index(p.role))
    check(s.groups, parameters)
    multiplier = float(getattr(model, "width_multiplier", 1.0))
    found, open_ = Assignments(), []
    for p in parameters:
        possible = [
            _assignment(s, p._replace(role=role), multiplier) for role in ([p.role] if p.known else MATRICES)
        ]
        if any(other[1:] != possible[0][1:] for other in possible):
            open_.append(p)
        found.append(possible[0])
    if open_:
        raise unknown(open_, f"what {s.kind} does with it")
    rule = rule_for(type(s))
    if found and not any(a.rule is rule for a in found):
        raise SpecError(
            f"{s.kind} would update nothing of this model, and all {len(found)} parameters would be left to "
            f"{either(sorted({a.rule.__name__ for a in found}))}: no parameter is a matrix between its ends; "
            "choose another rule, or name such by roles={NAME: 'kernel'}"
        )
    return found


def _assignment(s: spec.Optimizer, p: Named, multiplier: float) -> Assignment:
    own = (getattr(s, "embeddings", None) if p.role == "embedding" else None) or s
    rule = rule_for(type(own))
    choice = rule.choose(own, p)
    settings = {**decay(own, p), **choice.settings}
    changed = change(s.groups, p)
    settings["lr"] *= changed.rate
    if changed.weight_decay is not None:
        if "weight_decay" not in settings:
            raise SpecError(f"optimizer.groups: {s.kind} has no weight_decay that {p.name} could have")
        settings["weight_decay"] = changed.weight_decay
    return Assignment(p, choice.rule, scaled(settings, choice.scaling, p, multiplier))


class _One(spec.Spec):
    """The root of an optimizer alone, for the sentences about its fields."""

    optimizer: spec.Optimizer


def _specified(s: spec.Optimizer | str, settings: dict[str, Any]) -> spec.Optimizer:
    if not settings and not isinstance(s, str):
        return s
    given = {"optimizer": {"kind": s, **settings} if isinstance(s, str) else {**dict(s), **settings}}
    try:
        return _One.model_validate(given).optimizer
    except ValidationError as error:
        raise SpecError("\n".join(explain(error, given, _One).values())) from None


def _with_rate(s: spec.Optimizer, updates: int | None) -> spec.Optimizer:
    if s.lr is not None:
        return s
    if updates is None:
        raise SpecError(
            f"optimizer.lr is left out, which for {s.kind} means 1/√updates, and a run that seconds bound "
            "does not know how many it makes; set optimizer.lr, or train.steps"
        )
    return s.model_copy(update={"lr": updates**-0.5})


def build(
    s: spec.Optimizer | str,
    model: nn.Module,
    updates: int | None = None,
    *,
    roles: Mapping[str, Role] | None = None,
    whole: nn.Module | None = None,
    **settings: Any,
) -> list[Rule]:
    """The optimizers that together update every parameter of ``model`` once; ``whole``: the network of which
    ``model`` is a part, whose parameters have the names that they have there, and by which roles are found.

    ``danlu.optim.build("muon", model, lr=0.02)``; who gets which rule, and why, says
    ``print(danlu.optim.assign("muon", model, lr=0.02))``. Every group carries ``peak``, the rate that a
    schedule multiplies, and ``names``, its parameters'. Arguments and what is raised: as of ``assign``.
    """
    s = _specified(s, settings)
    rules: dict[type[Rule], dict[Any, dict[str, Any]]] = {}
    assigned, here = assign(s, whole or model, updates, roles=roles), dict(model.named_parameters())
    for p, rule, own in assigned:
        if p.name not in here:
            continue
        alike = tuple(sorted(own.items()))
        empty = {"params": [], "names": [], **own, "peak": own["lr"]}
        group = rules.setdefault(rule, {}).setdefault(alike, empty)
        group["params"].append(here[p.name])
        group["names"].append(p.name)
    state_dtype = getattr(torch, s.state)
    made = [_make(rule, list(groups.values()), state_dtype) for rule, groups in rules.items()]
    for one in made:
        one.attach(model)
    return made


def _make(rule: Callable[..., Rule], groups: list[dict[str, Any]], state_dtype: torch.dtype) -> Rule:
    made = rule(groups, lr=groups[0]["lr"])
    made.state_dtype = state_dtype
    return made


# --- state in and out -------------------------------------------------------------------------------------


def state_tensors(optimizers: list[Rule]) -> dict[str, torch.Tensor]:
    """The optimizers' state as one flat mapping: ``PARAMETER/KEY`` → tensor. Raises ``SpecError`` for an own
    rule's state that is none."""
    found = {
        f"{name}/{key}": value
        for optimizer in optimizers
        for group in optimizer.param_groups
        for name, p in zip(group["names"], group["params"], strict=True)
        for key, value in optimizer.state[p].items()
    }
    for path, value in found.items():
        if not isinstance(value, torch.Tensor):
            raise SpecError(
                f"the optimizer's state {path} is of type {type(value).__name__}, and a checkpoint "
                "holds tensors; let the rule keep it as one, as in torch.tensor(0)"
            )
    return found


def load_state_tensors(optimizers: list[Rule], tensors: dict[str, torch.Tensor]) -> None:
    """Put back what ``state_tensors`` gave. Raises ``SpecError`` for the state of another model or rule."""
    by_name: dict[str, dict[str, torch.Tensor]] = {}
    for path, tensor in tensors.items():
        name, _, key = path.rpartition("/")
        by_name.setdefault(name, {})[key] = tensor
    known = {name for optimizer in optimizers for group in optimizer.param_groups for name in group["names"]}
    if foreign := sorted(by_name.keys() - known):
        raise SpecError(f"the saved optimizer has a state of {foreign[0]!r}, which this model has not")
    for optimizer in optimizers:
        for group in optimizer.param_groups:
            for name, p in zip(group["names"], group["params"], strict=True):
                if name in by_name:
                    optimizer.put_state(p, by_name[name])
