"""The rule of a specification; a user's ordinary ``torch.optim.Optimizer`` becomes one."""

from __future__ import annotations

from torch.optim import Optimizer

from danlu import spec
from danlu.nn.registry import class_for
from danlu.optim.base import Rule
from danlu.spec.errors import SpecError
from danlu.spec.families import own_of


def rule_for(spec_type: type[spec.Rule]) -> type[Rule]:
    """The class that updates parameters as ``spec_type`` says. Raises ``SpecError`` for an own one that is no
    optimizer."""
    cls = class_for(spec_type)
    if issubclass(cls, Rule):
        return cls
    if not issubclass(cls, Optimizer):
        raise SpecError(
            f"{own_of(spec_type)} is not a torch.optim.Optimizer; make it one, or a danlu.optim.Rule"
        )
    if cls not in _RULES:
        # Its own step, and of a rule all that it lacks: who gets which setting, its state in and out.
        named = {"__module__": cls.__module__, "__doc__": cls.__doc__}
        _RULES[cls] = type(cls.__name__, (cls, Rule), named)
    return _RULES[cls]


_RULES: dict[type[Optimizer], type[Rule]] = {}
