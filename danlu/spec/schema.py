"""What a field of a specification accepts, read off its type.

One reading of the type serves four users: words such as ``none`` and ``64k`` become values,
mappings merge by ``kind``, errors say what is allowed, and no list of fields is kept by hand.
"""

from __future__ import annotations

import re
import types
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cache
from typing import Annotated, Any, Literal, Union, get_args, get_origin

import annotated_types
from pydantic import BaseModel
from pydantic.fields import FieldInfo

from danlu.files.numbers import SUFFIXES
from danlu.spec.families import Family

NAMES = {int: "a whole number", float: "a number", str: "text", bool: "true, false"}
COUNT = re.compile(r"([0-9][0-9_]*)(?:\.([0-9]+))?([kKmMbBgGtT])")


@dataclass(frozen=True)
class Accepts:
    """The values that a field takes. ``bounds`` are sentences: ``greater than 0``."""

    specs: tuple[type[BaseModel], ...] = ()
    words: tuple[str, ...] = ()
    scalars: tuple[type, ...] = ()
    none: bool = False
    items: Accepts | None = None
    entries: tuple[Accepts, Accepts] | None = None  # of a mapping: what its names and its values are
    bounds: tuple[str, ...] = ()
    family: Family | None = None  # that own parts may join: ``specs`` are danlu's

    @property
    def kinds(self) -> dict[str, type[BaseModel]]:
        found = {kind: spec for spec in self.specs for kind in kinds_of(spec)}
        return found if self.family is None else found | self.family.specs()

    def find(self, kind: str) -> type[BaseModel] | None:
        """The specification of a kind; of an open family also one that an installed package offers."""
        found = self.kinds.get(kind)
        return self.family.find(kind) if found is None and self.family is not None else found

    @property
    def only_text(self) -> bool:
        """True where nothing but text can stand, so that text needs no quotes."""
        return bool(self.words or str in self.scalars) and not (
            self.specs or self.family or self.items or set(self.scalars) - {str}
        )

    def spec_of(self, mapping: Any, default: Any = None) -> type[BaseModel] | None:
        """The specification that a mapping means: by its kind, or the only one there is."""
        kind = mapping.get("kind", default) if isinstance(mapping, Mapping) else None
        if isinstance(kind, str) and (found := self.find(kind)) is not None:
            return found
        return self.specs[0] if kind is None and len(self.specs) == 1 else None

    def describe(self) -> str:
        """What is allowed, in words: ``a whole number greater than 0, or none``."""
        choices = [*self.words]
        for scalar in self.scalars:
            bounds = " and ".join(self.bounds) if scalar in (int, float) else ""
            choices += f"{NAMES[scalar]} {bounds}".strip().split(", ")
        choices += self.kinds or [f"a mapping of {', '.join(s.model_fields)}" for s in self.specs]
        if self.items is not None:
            choices.append(f"a list, each {self.items.describe()}")
        if self.entries is not None:
            names, values = self.entries
            choices.append(f"a mapping of {names.describe()}, each {values.describe()}")
        if self.none:
            choices.append("none")
        *rest, last = choices or ["anything"]
        joiner = ", or " if any(" " in choice for choice in rest) or (rest and "," in last) else " or "
        return f"{', '.join(rest)}{joiner}{last}" if rest else last


def kinds_of(spec: type[BaseModel]) -> tuple[str, ...]:
    """The literal ``kind`` of a member of a union; several where ``kind`` is an ordinary field."""
    field = spec.model_fields.get("kind")
    return get_args(field.annotation) if field and get_origin(field.annotation) is Literal else ()


@cache
def accepts(spec: type[BaseModel]) -> dict[str, Accepts]:
    """What every field of a specification takes, by name."""
    return {name: read(field.annotation, field.metadata) for name, field in spec.model_fields.items()}


def read(annotation: Any, metadata: Sequence[Any] = ()) -> Accepts:
    """What a field of this type takes; ``Accepts()`` of a type that no field here has."""
    if get_origin(annotation) is Annotated:
        inner, *more = get_args(annotation)
        return read(inner, [*more, *metadata])
    family = next((item for item in metadata if isinstance(item, Family)), None)
    said = _read(annotation, metadata)
    return said if family is None else replace(said, family=family)


def _read(annotation: Any, metadata: Sequence[Any]) -> Accepts:
    origin = get_origin(annotation)
    if origin in (Union, types.UnionType):
        members = [read(member, metadata) for member in get_args(annotation)]
        return Accepts(
            specs=tuple(s for m in members for s in m.specs),
            words=tuple(w for m in members for w in m.words),
            scalars=tuple(dict.fromkeys(s for m in members for s in m.scalars)),
            none=any(m.none for m in members),
            items=next((m.items for m in members if m.items is not None), None),
            entries=next((m.entries for m in members if m.entries is not None), None),
            bounds=tuple(dict.fromkeys(b for m in members for b in m.bounds)),
            family=next((m.family for m in members if m.family is not None), None),
        )
    if annotation is type(None):
        return Accepts(none=True)
    if origin is Literal:
        return Accepts(words=tuple(str(word) for word in get_args(annotation)))
    if origin in (tuple, list):
        return Accepts(items=read(get_args(annotation)[0]))
    if origin is dict:
        name, value = map(read, get_args(annotation))
        return Accepts(entries=(name, value))
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return Accepts(specs=(annotation,))
    if annotation not in NAMES:
        return Accepts()
    return Accepts(scalars=(annotation,), bounds=tuple(_bounds(metadata)))


def _bounds(metadata: Sequence[Any]) -> list[str]:
    said: list[str] = []
    for item in metadata:
        for part in item.metadata if isinstance(item, FieldInfo) else [item]:
            match part:
                case annotated_types.Gt(gt=bound):
                    said.append(f"greater than {bound}")
                case annotated_types.Ge(ge=bound):
                    said.append(f"at least {bound}")
                case annotated_types.Lt(lt=bound):
                    said.append(f"less than {bound}")
                case annotated_types.Le(le=bound):
                    said.append(f"at most {bound}")
    return said


def adapt(value: Any, to: Accepts) -> Any:
    """A value as it is written → the value that is meant, where the field leaves no doubt.

    ``none`` is None where None is allowed; a kind alone is its mapping; ``64k`` and ``1e6`` are
    whole numbers where one is wanted; a list is a tuple. Anything else is left for validation.
    """
    if value == "none" and to.none and "none" not in (*to.words, *to.kinds):
        return None
    if value is None and not to.none and "none" in (*to.words, *to.kinds):
        value = "none"
    if (
        isinstance(value, str)
        and value not in to.words
        and (
            to.find(value) or (to.kinds and not to.words)  # a wrong word is told as a word
        )
    ):
        return {"kind": value}
    if isinstance(value, list | tuple) and to.items is not None:
        return tuple(adapt(item, to.items) for item in value)
    if int in to.scalars and float not in to.scalars:
        return _whole(value)
    return value


def _whole(value: Any) -> Any:
    if isinstance(value, float) and value.is_integer():
        return int(value)
    match = COUNT.fullmatch(value) if isinstance(value, str) else None
    if match is None:
        return value
    whole, decimals, suffix = match.groups(default="")
    scale = SUFFIXES[suffix.lower()]
    if 10 ** len(decimals) > scale:
        return value
    return (int(whole) * 10 ** len(decimals) + int(decimals or 0)) * scale // 10 ** len(decimals)


def defaults(spec: type[BaseModel]) -> dict[str, Any]:
    """The defaults of a specification as a nested mapping (required fields left out)."""
    values: dict[str, Any] = {}
    for name, field in spec.model_fields.items():
        if not field.is_required():
            value = field.get_default(call_default_factory=True)
            values[name] = value.model_dump() if isinstance(value, BaseModel) else value
    return values
