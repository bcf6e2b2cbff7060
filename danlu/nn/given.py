"""What the constructors of parts take: all that a specification takes, in its words, and modules besides.

``nn.Attention(64, heads=4, position="rotary")``, ``nn.Block(64, norm={"kind": "rms", "eps": 1e-6})``,
``nn.Block(64, norm=spec.RMSNorm())`` and ``nn.Block(64, norm=torch.nn.LayerNorm(64))`` are all allowed. What
the specification refuses is refused in the same sentence, as a ValueError.
"""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Mapping
from typing import Any, TypeVar

import torch.nn as nn
from pydantic import ValidationError

from danlu import spec
from danlu.spec.base import PositiveInt, Spec
from danlu.spec.explain import explain
from danlu.spec.schema import accepts

# A part as a user may give it; inside of a constructor, words and mappings have become specifications.
Given = Spec | nn.Module | Callable[..., Any] | str | Mapping[str, Any]
Read = TypeVar("Read", bound=Spec)


class Surroundings(Spec):
    """What only the surroundings of a part know, by the names that constructors give it."""

    width: PositiveInt = 1
    context: PositiveInt = 1
    heads: PositiveInt = 1
    size: PositiveInt = 1
    head_size: PositiveInt = 1
    position: spec.Position = spec.NoPosition()


def is_part(value: Any) -> bool:
    """Whether ``value`` is a part itself, a module or a function, and nothing that describes one."""
    return callable(value) and not isinstance(value, type)


def read(of: type[Read], given: Mapping[str, Any]) -> Read:
    """The specification of type ``of`` with the fields ``given``. Raises ValueError, a sentence for each
    field at fault."""
    try:
        return of.model_validate(dict(given))
    except ValidationError as error:
        raise ValueError("\n".join(explain(error, given, of).values())) from None


def reading(cls: type[nn.Module], of: type[Spec], check: Callable[..., None] | None = None) -> None:
    """Let the constructor of ``cls`` read what it is given by the specification ``of``, and its surroundings
    by ``Surroundings``. ``check(width, specification, position)`` raises ValueError where they do not go
    together."""
    init = cls.__init__
    names = [*inspect.signature(init).parameters][1:]
    fields_of = accepts(of)

    @functools.wraps(init)
    def constructor(self: nn.Module, *context: Any, **given: Any) -> None:
        around = dict(zip(names, context, strict=False))
        around |= {name: given.pop(name) for name in names if name in given and name not in of.model_fields}
        # None for what cannot be None is what is left out.
        given = {n: v for n, v in given.items() if v is not None or n not in fields_of or fields_of[n].none}
        parts = {name: given.pop(name) for name in [*given] if name in names and is_part(given[name])}
        fields = read(of, given)
        told = {n: v for n, v in around.items() if n in Surroundings.model_fields and v is not None}
        known = {name: value for name, value in told.items() if not is_part(value)}
        surroundings = read(Surroundings, known)
        around |= {name: getattr(surroundings, name) for name in known}
        if check is not None and "width" in known:
            check(surroundings.width, fields, surroundings.position)
        first = [around.pop(name) for name in names[: len(context)]]
        init(self, *first, **around, **parts, **{name: getattr(fields, name) for name in given})

    setattr(cls, "__init__", constructor)  # noqa: B010  (mypy takes no method for a variable)
