"""Roles of parameters, found by the type of the module that has them and by its place in the model.

For any ``nn.Module``: a table of vectors (``nn.Embedding``), the readout, hidden matrices, biases, and other
vectors (gains). No name of a module is looked at; what cannot be found is left open, and said.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from fnmatch import fnmatchcase
from typing import NamedTuple

import torch
import torch.nn as nn

from danlu.spec.errors import SpecError, did_you_mean, either
from danlu.spec.optim import Role

MATRICES: tuple[Role, ...] = ("kernel", "embedding", "readout")
ROLES: tuple[Role, ...] = (*MATRICES, "gain", "bias")

_TABLES = (nn.Embedding, nn.EmbeddingBag)
_CONVOLUTIONS = (
    nn.Conv1d, nn.Conv2d, nn.Conv3d, nn.ConvTranspose1d, nn.ConvTranspose2d, nn.ConvTranspose3d
)  # fmt: skip
_WEIGHTED = (nn.MultiheadAttention, nn.RNNBase, nn.RNNCellBase, nn.Bilinear)
_CONTAINERS = (nn.Sequential, nn.ModuleList, nn.ModuleDict)


class Named(NamedTuple):
    """A parameter.

    ``why``: what its role was found by; ``known``: whether it was found (if not, ``role`` is "kernel").
    ``hidden``: whether it lies in the model's repeated blocks, or the model has none. ``centre``: what it is
    when it does nothing, 1 for the gain of a norm, 0 otherwise. ``alone``: whether it has as many numbers in
    a wider model.
    """

    name: str
    role: Role
    parameter: torch.Tensor
    why: str = ""
    known: bool = True
    hidden: bool = True
    centre: float = 0.0
    alone: bool = False

    @property
    def hidden_matrix(self) -> bool:
        """Whether it is a matrix between the ends of the model, as Muon wants them."""
        return self.role == "kernel" and self.hidden and self.parameter.ndim == 2


class _Owner(NamedTuple):
    """A module that has a parameter, and under what name: of the module, and there."""

    path: str
    module: nn.Module
    own: str


def named(model: nn.Module, roles: Mapping[str, Role] | None = None) -> list[Named]:
    """The parameters with their roles, frozen ones too.

    ``roles``: name, or pattern of names (``*`` and ``?``), to role, before all that is found here; a later
    one counts more. A module may also say the roles of parameters inside of it, by their names there, in an
    attribute ``parameter_roles``: ``{"table": "embedding"}``. Otherwise:

    * the weight of an ``nn.Embedding``, also where it is tied to a readout, is an embedding;
    * what has one dimension longer than 1 is a bias, if it is called so, or a gain;
    * linear maps, convolutions, leaf modules with a matrix ``weight`` and a vector ``bias``, and PyTorch's
      attention and recurrent modules have kernels; but of the maps outside of repeated blocks the last is the
      readout (unless an embedding is tied to it), and the first, if no embedding feeds it, takes the input
      and counts as an embedding;
    * other tensors, made by a module itself, and maps that may or may not be at an end, have no known role.

    Repeated blocks are an ``nn.ModuleList`` of modules that have modules, and an ``nn.Sequential`` of several
    such of one class. Raises ``SpecError`` for a role that there is not, and a pattern that matches nothing.
    """
    return list(_Finder(model, roles or {}).found())


class _Finder:
    """The search for roles in one model."""

    def __init__(self, model: nn.Module, roles: Mapping[str, Role]) -> None:
        self.model, self.roles = model, roles
        self.modules = dict(model.named_modules())
        self.owners: dict[int, list[_Owner]] = {}
        for path, module in self.modules.items():
            for own, p in module.named_parameters(recurse=False):
                self.owners.setdefault(id(p), []).append(_Owner(path, module, own))
        self.blocks = tuple(_blocks(self.modules))
        # The maps at the ends, and those of which it cannot be said whether they are.
        self.first: nn.Module | None = None
        self.last: nn.Module | None = None
        self.open: list[nn.Module] = []
        self._find_ends()
        for pattern, role in roles.items():
            self._check(pattern, role)

    def found(self) -> Iterator[Named]:
        for name, p in self.model.named_parameters():
            owners = self.owners[id(p)]
            found, why = self._role(name, p, owners)
            role = found or "kernel"
            centred = [o.module for o in owners if _is_norm(o.module)]
            around_one = any(getattr(module, "around_one", False) for module in centred)
            of_readout = role == "bias" and any(self._is_readout(o.module) for o in owners)
            yield Named(
                name,
                role,
                p,
                why,
                known=found is not None,
                hidden=self._in_blocks(name) or not self.blocks,
                centre=float(role == "gain" and bool(centred) and not around_one),
                alone=of_readout or p.numel() == 1,
            )

    def _role(self, name: str, p: torch.Tensor, owners: list[_Owner]) -> tuple[Role | None, str]:
        for pattern in reversed(list(self.roles)):
            if fnmatchcase(name, pattern):
                return self.roles[pattern], f"roles[{pattern!r}]"
        for owner in owners:
            if declared := self._declared(owner):
                return declared
        first, modules = owners[0], [o.module for o in owners]
        kind = _kind(first.module)
        if any(isinstance(o.module, _TABLES) and o.own == "weight" for o in owners):
            tied = next((f", tied to {o.path}" for o in owners if _is_map(o.module)), "")
            return "embedding", f"{kind}{tied}"
        bias = "bias" in (first.own, first.own.split("_")[0], first.own.split("_")[-1])
        if p.ndim < 2:
            return ("bias" if bias else "gain"), f"a vector of {kind}"
        if any(map(_is_map, modules)):
            if self.last in modules:
                return "readout", f"{kind}, the last outside of blocks" if self.blocks else f"the last {kind}"
            if self.first in modules:
                return "embedding", f"the first {kind}, which takes the input"
            if any(module in self.open for module in modules):
                return None, f"{kind}, hidden or an end of the model"
            inside = not self.blocks or self._in_blocks(name)
            return "kernel", f"{kind}{'' if inside else ', outside of blocks'}"
        if sum(n > 1 for n in p.shape) < 2:
            return ("bias" if bias else "gain"), f"a vector of {kind}"
        if isinstance(first.module, _WEIGHTED) and "weight" in first.own:
            return "kernel", kind
        return None, f"made by {kind} itself"

    def _declared(self, owner: _Owner) -> tuple[Role, str] | None:
        """What a module says of a parameter inside of it, the innermost module first."""
        parts = owner.path.split(".") if owner.path else []
        for depth in range(len(parts), -1, -1):
            module = self.modules[".".join(parts[:depth])]
            inside = ".".join((*parts[depth:], owner.own))
            said: Mapping[str, Role] = getattr(module, "parameter_roles", {})
            for pattern, role in said.items():
                if fnmatchcase(inside, pattern):
                    where = f"{_kind(module)}.parameter_roles"
                    if role not in ROLES:
                        raise SpecError(f"{where}[{pattern!r}] = {role!r} is not {either(ROLES)}")
                    return role, where
        return None

    def _find_ends(self) -> None:
        tables = [m for m in self.modules.values() if isinstance(m, _TABLES)]
        places = {name: place for place, name in enumerate(self.modules)}
        maps = [
            (path, m)
            for path, m in self.modules.items()
            if _is_map(m)
            and not self._in_blocks(f"{path}.")
            and self._declared(_Owner(path, m, "weight")) is None  # of which a module says what they are
        ]
        if not maps or any(self._is_tied(m) for _, m in maps):
            return
        (path, first), (_, last) = maps[0], maps[-1]
        fed = any(t.embedding_dim in _inputs(first) for t in tables)
        in_blocks = [places[name] for name in self.modules if self._in_blocks(f"{name}.")]
        if len(maps) == 1 and not fed and in_blocks and places[path] < min(in_blocks):
            self.open = [last]
            return
        self.last = last
        if len(maps) > 1 and not fed:
            self.first = first
        if not self.blocks:  # a linear map whose output no later one takes may be a second readout
            linear = [m for _, m in maps if isinstance(m, nn.Linear)]
            self.open = [
                m
                for place, m in enumerate(linear)
                if m not in (self.first, last)
                and not any(m.out_features == later.in_features for later in linear[place + 1 :])
            ]

    def _in_blocks(self, name: str) -> bool:
        return name.startswith(self.blocks) if self.blocks else False

    def _is_tied(self, module: nn.Module) -> bool:
        owners = self.owners.get(id(module.weight), [])
        return any(isinstance(o.module, _TABLES) for o in owners)

    def _is_readout(self, module: nn.Module) -> bool:
        return module is self.last or (_is_map(module) and self._is_tied(module))

    def _check(self, pattern: str, role: str) -> None:
        if role not in ROLES:
            raise SpecError(
                f"roles[{pattern!r}] = {role!r} is not {either(ROLES)}{did_you_mean(role, ROLES)}"
            )
        names = [name for name, _ in self.model.named_parameters()]
        if not any(fnmatchcase(name, pattern) for name in names):
            raise SpecError(f"roles[{pattern!r}] matches no parameter{did_you_mean(pattern, names)}")


def _blocks(modules: Mapping[str, nn.Module]) -> Iterator[str]:
    """How the names of what is in repeated blocks begin."""
    for path, module in modules.items():
        whole = [c for c in module.children() if _has_children(c) and not isinstance(c, _CONTAINERS)]
        alike = len(whole) > 1 and len({type(c) for c in module.children()}) == 1
        if (isinstance(module, nn.ModuleList) and whole) or (isinstance(module, nn.Sequential) and alike):
            yield f"{path}." if path else ""


def _has_children(module: nn.Module) -> bool:
    return next(module.children(), None) is not None


def _is_map(module: nn.Module) -> bool:
    """Whether it multiplies by its weight: a linear map, a convolution, a module of just such parameters."""
    if isinstance(module, (nn.Linear, *_CONVOLUTIONS)):
        return True
    own = {name: p.ndim for name, p in module.named_parameters(recurse=False)}
    return own == {"weight": 2, "bias": 1} and not _has_children(module)


def _inputs(module: nn.Module) -> tuple[int, ...]:
    """How many numbers a map may take."""
    if isinstance(module, nn.Linear):
        return (module.in_features,)
    if isinstance(module, _CONVOLUTIONS):
        return (module.in_channels,)
    return tuple(module.weight.shape)  # type: ignore[arg-type]


def _is_norm(module: nn.Module) -> bool:
    return "norm" in type(module).__name__.lower()


def _kind(module: nn.Module) -> str:
    cls = type(module)
    return f"nn.{cls.__name__}" if cls.__module__.startswith("torch.nn.") else cls.__name__


def unknown(found: list[Named], because: str) -> SpecError:
    """The error of parameters whose role must be known, and is not: a line each."""
    lines = {}
    for p in found:
        pattern, shape = over_layers(p.name), "×".join(map(str, p.parameter.shape))
        lines[pattern] = (
            f"the role of {pattern} ({shape}; {p.why}) cannot be known, and {because} depends on it; "
            f"say it: roles={{{pattern!r}: 'kernel'}}, or {either(ROLES[1:])}, or set an attribute "
            "parameter_roles = {NAME: ROLE} of the module's class"
        )
    return SpecError("\n".join(lines.values()))


def over_layers(name: str) -> str:
    """``blocks.3.mixer.out.weight`` → ``blocks.*.mixer.out.weight``, a pattern for every layer."""
    return re.sub(r"(?<=\.)\d+(?=\.)", "*", name)
