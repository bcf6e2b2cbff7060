"""One idiom for every part that can be swapped: a specification builds the class registered for it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

from danlu.spec.base import Spec

Class = TypeVar("Class", bound=type)
_CLASSES: dict[type[Spec], type] = {}


def builds(spec_type: type[Spec]) -> Callable[[Class], Class]:
    """Register the decorated class as what ``spec_type`` builds.

    The class takes the specification's fields (but ``kind``) as keyword arguments of the same names.
    """

    def register(cls: Class) -> Class:
        _CLASSES[spec_type] = cls
        return cls

    return register


def class_for(spec_type: type[Spec]) -> type:
    """The class registered for a type of specification. Raises KeyError where there is none."""
    return _CLASSES[spec_type]


def build(spec: Spec, *context: Any, **more: Any) -> Any:
    """Build the part that ``spec`` describes; ``context`` is what only its surroundings know (a width, …)."""
    return class_for(type(spec))(*context, **spec.settings(), **more)
