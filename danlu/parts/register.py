"""``@danlu.part``: a class or function becomes a part; ``danlu.idea``: a patch becomes an idea."""

from __future__ import annotations

import inspect
import sys
from collections.abc import Callable, Mapping
from typing import Any, TypeVar

import danlu.spec  # noqa: F401  brings the families
from danlu.parts import measures
from danlu.parts.sources import IDEAS, origin_of
from danlu.spec import catalog
from danlu.spec.errors import SpecError, did_you_mean, either
from danlu.spec.families import FAMILIES, KIND, Origin, Own
from danlu.spec.signature import specification

Makes = TypeVar("Makes", bound=Callable[..., Any])


def part(family: str, kind: str, *, source: str = "") -> Callable[[Makes], Makes]:
    """Register the decorated class, or function, as a part: ``@danlu.part("norm", "dyt")``.

    ``family``: norm, activation, mixer, feed_forward, position, residual, optimizer, schedule, objective,
    data or measure. ``kind``: the name that it has in recipes and on the command line. ``source``: the paper.
    Parameters of the constructor that the family names (``width``, …) are what its surroundings give it; all
    others are fields, with their types and defaults. See docs/own-parts.md. The class is returned as it is.

    Raises ``SpecError`` for an unknown family, a kind that is taken, or a parameter that cannot be a field.
    """
    origin = origin_of(sys._getframe(1))

    def register(makes: Makes) -> Makes:
        if family not in FAMILIES:
            hint = did_you_mean(family, FAMILIES)
            raise SpecError(f"{family!r} is not a family of parts{hint}; there are {either(FAMILIES)}")
        if not KIND.fullmatch(kind):
            raise SpecError(
                f"kind = {kind!r} of a {family}: a kind is a word of letters, digits, - and _, a letter first"
            )
        of = FAMILIES[family]
        function = not inspect.isclass(makes)
        if function and not of.functions:
            raise SpecError(f"{kind} is a function, and a {family} must be a class; write a class")
        spec, context = specification(makes, of, kind, inputs=int(function))
        if of is measures.MEASURE:
            measures.reads(makes)
        required = [field for field in spec.model_fields if spec.model_fields[field].is_required()]
        if family == "optimizer" and required:  # PyTorch makes one of groups, which hold the settings
            raise SpecError(
                f"{makes.__qualname__}: {required[0]} of an optimizer has no default; give it one"
            )
        own = Own(family, kind, spec, makes, context, origin, source)
        kept = dict(of.own)
        of.register(own)
        if of.place is not None and family not in ("objective", "data"):  # what is tried is scored alike
            patch = {of.place: kind}
            if family == "mixer" and "position" not in context:
                patch["model.position"] = "none"
            try:
                _register_idea(kind, patch, origin, statement=own.statement, source=source, family=family)
            except SpecError:
                of.own = kept
                raise
        return makes

    return register


def idea(
    name: str,
    patch: Mapping[str, Any],
    *,
    statement: str = "",
    source: str = "",
    expect: str = "",
    needs: Mapping[str, str] | None = None,
) -> None:
    """Make ``+name`` an idea: ``danlu.idea("dyt-sharp", {"model.norm": {"kind": "dyt", "alpha": 2.0}})``.

    A part of a family with one place in an experiment is by itself an idea of its kind.

    ``patch``: fields and values, names with dots or nested; ``statement``: what it claims; ``expect``: what
    should change; ``needs``: comparisons that must hold for an experiment, each with a reason. Raises
    ``SpecError`` for a name that is taken or cannot stand after a ``+``, and for a patch that is none.
    """
    texts = {"statement": statement, "source": source, "family": "own", "expect": expect}
    _register_idea(name, patch, origin_of(sys._getframe(1)), needs=needs, **texts)


def _register_idea(name: str, patch: Mapping[str, Any], origin: Origin, **about: Any) -> None:
    before = IDEAS.get(name)
    if before is not None and (not before[0].again(origin) or before[1] != about["family"]):
        raise SpecError(f"+{name} is an idea of {before[0].name} already; choose another name")
    catalog.register_idea(name, patch, **about)
    IDEAS[name] = origin, about["family"]
