"""``@danlu.part``: a class or function becomes a part."""

from __future__ import annotations

import inspect
import re
import sys
from collections.abc import Callable
from typing import Any, TypeVar

import danlu.spec  # noqa: F401  brings the families
from danlu.parts.sources import origin_of
from danlu.spec.errors import SpecError, did_you_mean, either
from danlu.spec.families import FAMILIES, Own
from danlu.spec.signature import specification

Makes = TypeVar("Makes", bound=Callable[..., Any])

KIND = re.compile(r"(?!(?:none|null|true|false)$)[A-Za-z][A-Za-z0-9_-]*")


def part(family: str, kind: str, *, source: str = "") -> Callable[[Makes], Makes]:
    """Register the decorated class, or function, as a part: ``@danlu.part("norm", "dyt")``.

    ``family``: norm, activation, mixer, feed_forward, position, residual, optimizer, schedule. ``kind``: the
    name that it has in recipes and on the command line. ``source``: the paper. Parameters of the constructor
    that the family names (``width``, …) are what its surroundings give it; all others are fields, with their
    types and defaults. See docs/own-parts.md. The class itself is returned as it is.

    Raises ``SpecError`` for an unknown family, a kind that is taken, or a parameter that cannot be a field.
    """
    origin = origin_of(sys._getframe(1))

    def register(makes: Makes) -> Makes:
        if family not in FAMILIES:
            hint = did_you_mean(family, FAMILIES)
            raise SpecError(f"{family!r} is no family of parts{hint}; there are {either(FAMILIES)}")
        if not KIND.fullmatch(kind):
            raise SpecError(
                f"kind = {kind!r} of a {family}: a kind is a word of letters, digits, - and _, a letter first"
            )
        of = FAMILIES[family]
        function = not inspect.isclass(makes)
        if function and not of.functions:
            raise SpecError(f"{kind} is a function, and a {family} is a class")
        spec, context = specification(makes, of, kind, inputs=int(function))
        of.register(Own(family, kind, spec, makes, context, origin, source))
        return makes

    return register
