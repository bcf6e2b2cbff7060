"""One idiom for every part that can be swapped: a specification builds the class registered for it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

import torch.nn as nn

from danlu.nn.given import Given, reading
from danlu.nn.own import make
from danlu.spec.base import Spec
from danlu.spec.families import own_of

Class = TypeVar("Class", bound=type)
_CLASSES: dict[type[Spec], type] = {}


def builds(spec_type: type[Spec], check: Callable[..., None] | None = None) -> Callable[[Class], Class]:
    """Register the decorated class as what ``spec_type`` builds.

    The class takes the specification's fields (but ``kind``) as keyword arguments of the same names; those of
    an ``nn.Module`` are read by the specification, and ``check``ed with its surroundings
    (``danlu.nn.given.reading``). Raises ValueError where another class is registered for it.
    """

    def register(cls: Class) -> Class:
        before = _CLASSES.setdefault(spec_type, cls)
        if (before.__module__, before.__qualname__) != (cls.__module__, cls.__qualname__):
            raise ValueError(
                f"{spec_type.__name__} builds {before.__qualname__}, and now {cls.__qualname__} too"
            )
        _CLASSES[spec_type] = cls
        if issubclass(cls, nn.Module):
            reading(cls, spec_type, check)
        return cls

    return register


def class_for(spec_type: type[Spec]) -> type:
    """The class registered for a type of specification, an own part's as its user wrote it. Raises TypeError
    where there is none."""
    if (own := own_of(spec_type)) is not None:
        return own.makes  # type: ignore[return-value]
    if spec_type not in _CLASSES:
        raise TypeError(f"{spec_type.__qualname__} is not the specification of a part that danlu can build")
    return _CLASSES[spec_type]


def build(spec: Given, *context: Any, **more: Any) -> Any:
    """Build the part that ``spec`` describes; ``context`` is what only its surroundings know (a width, …). A
    module, or a function in place of one, is the part already."""
    if not isinstance(spec, Spec):
        return spec
    own = own_of(type(spec))
    if own is not None:
        return make(own, spec, *context, **more)
    return class_for(type(spec))(*context, **spec.settings(), **more)
