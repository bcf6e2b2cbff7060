"""Families of parts: unions by kind that a user's own parts may join while danlu runs.

``Norm = Annotated[RMSNorm | LayerNorm, NORM]``, with ``NORM = Family("norm", …)``, is what readers and type
checkers see; pydantic looks a kind up when it validates. A kind is a name. What it names is registered by
code that the user loads (``danlu.parts``) or has installed (``danlu.spec.plugins``), never by what is
validated.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any, Literal, get_args, get_origin

from pydantic import BaseModel, GetCoreSchemaHandler, GetJsonSchemaHandler
from pydantic_core import CoreSchema, PydanticCustomError, core_schema

from danlu.spec import plugins
from danlu.spec.errors import SpecError

KIND = re.compile(r"(?!(?:none|null|true|false)$)[a-z][a-z0-9_-]*", re.ASCII | re.IGNORECASE)  # of own parts
SESSION = "session.py"  # how the code of a notebook's cell is called
PARTS = "parts"  # the folder of a run that keeps the code of own parts


@dataclass(frozen=True)
class Origin:
    """Where own parts come from.

    ``name``: how a sentence calls it (``mine.py``, ``this session``, ``pkg 1.2``). ``file``: None of an
    interactive session, whose cells ``cell`` tells apart. ``texts``: the code as it was run, of the file and
    of those beside it that it imports, by path relative to ``root``; empty where it cannot be had.
    """

    name: str
    file: Path | None = None
    root: Path | None = None
    cell: str = ""
    texts: Mapping[str, bytes] = field(default_factory=dict, compare=False, repr=False)

    def again(self, now: Origin) -> bool:
        """Whether ``now`` is the same place at a later time; a session is one place, whatever the cell."""
        return self == now or (self.file is None and now.file is None)

    @property
    def main(self) -> str:
        """The name of the file itself among ``texts``."""
        if self.file is None or self.root is None:
            return SESSION
        return self.file.relative_to(self.root).as_posix()

    @cached_property
    def digest(self) -> str:
        """Of all texts: equal where the code is, whatever comments and docstrings say."""
        from danlu.code.digests import DIGITS, digest  # only where there are own parts

        said = "\n".join(f"{name} {digest(text)}" for name, text in sorted(self.texts.items()))
        return hashlib.sha256(said.encode()).hexdigest()[:DIGITS]


@dataclass(frozen=True)
class Own:
    """A part that danlu did not bring. ``makes``: the user's class or function; ``context``: which names of
    its family's context it takes; ``source``: the paper, in a few words."""

    family: str
    kind: str
    spec: type[BaseModel]
    makes: Callable[..., Any]
    context: tuple[str, ...]
    origin: Origin
    source: str = ""

    def __str__(self) -> str:
        return f"the {self.family} {self.kind} of {self.origin.name}"

    @property
    def statement(self) -> str:
        """The first paragraph of its docstring, in one line."""
        return " ".join((self.makes.__doc__ or "").split("\n\n")[0].split())

    def settings(self, spec: BaseModel) -> dict[str, Any]:
        """What ``spec`` gives its class: the fields but those that danlu sees to for the whole family."""
        base = FAMILIES[self.family].base.model_fields
        return {name: value for name, value in spec if name != "kind" and name not in base}


class Family:
    """The kinds that may stand in one place.

    Args:
        name: what ``danlu.part`` calls it.
        context: names of what only the surroundings know, in the order in which ``danlu.nn.build`` is given
            it; by the specification's ``acts_on`` where that decides.
        base: what the specifications of own parts are made on. Its class variables are read off the user's
            class; its fields are theirs too.
        place: the field of an experiment that a part of the family takes, where there is just one.
        functions: whether a function will do: its first parameter is its input, the others are fields.
        needs: methods or fields that the class must have.
    """

    def __init__(
        self,
        name: str,
        context: tuple[str, ...] | Mapping[str, tuple[str, ...]] = (),
        *,
        base: type[BaseModel],
        place: str | None = None,
        functions: bool = False,
        needs: tuple[str, ...] = (),
    ) -> None:
        self.name, self.base, self.place = name, base, place
        self.functions, self.needs = functions, needs
        self._context = context
        self.builtin: dict[str, type[BaseModel] | None] = {}  # None: a word without a specification
        self.own: dict[str, Own] = {}
        FAMILIES[name] = self

    @property
    def names(self) -> tuple[str, ...]:
        """Every name of the context."""
        groups = self._context.values() if isinstance(self._context, Mapping) else [self._context]
        return tuple(dict.fromkeys(name for group in groups for name in group))

    def around(self, spec: Any) -> tuple[str, ...]:
        """The names of the positional context of ``spec``."""
        return self._context[spec.acts_on] if isinstance(self._context, Mapping) else self._context

    def specs(self) -> dict[str, type[BaseModel]]:
        """The specifications of own parts, by kind."""
        return {kind: own.spec for kind, own in self.own.items()}

    def find(self, kind: str) -> type[BaseModel] | None:
        """The specification of a kind. One that is unknown is sought among the packages that offer parts."""
        found = self.builtin.get(kind)
        if found is None and kind not in self.builtin:
            if kind not in self.own:
                plugins.load()
            found = self.own[kind].spec if kind in self.own else None
        return found

    def register(self, own: Own) -> None:
        """Let ``own`` join. Raises ``SpecError`` where its kind is taken; the same part from the same place,
        a file or a notebook's cell that ran again, takes its own place."""
        if own.kind in self.builtin:
            raise SpecError(f"{own.origin.name}: {self.name} {own.kind} is danlu's own; choose another name")
        before = self.own.get(own.kind)
        if before is not None and not _again(before, own):
            raise SpecError(
                f"{self.name} {own.kind} is registered twice: by {_called(before)} and by {_called(own)}; "
                "give one of them another name"
            )
        self.own[own.kind] = own
        _OF_SPEC[own.spec] = own

    # ---- what pydantic asks

    def __get_pydantic_core_schema__(self, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        words = get_args(source) if get_origin(source) is Literal else ()
        members = () if words else get_args(source) or (source,)
        for member in members:
            self.builtin[member.model_fields["kind"].default] = member
        self.builtin.update(dict.fromkeys(words))

        def validate(value: Any) -> Any:
            if isinstance(value, members) or (isinstance(value, str) and value in words):
                return value
            if isinstance(value, BaseModel):
                value = value.model_dump() if type(value) in _OF_SPEC else dict(value)
            elif isinstance(value, str):
                value = {"kind": value}
            kind = value.get("kind") if isinstance(value, Mapping) else None
            spec = self.find(kind) if isinstance(kind, str) else None
            if spec is None:
                raise PydanticCustomError("kind", "not a kind of {family}", {"family": self.name})
            return spec.model_validate(value)

        return core_schema.no_info_plain_validator_function(
            validate, metadata={"danlu_members": members, "danlu_words": words}
        )

    def __get_pydantic_json_schema__(self, schema: Any, handler: GetJsonSchemaHandler) -> dict[str, Any]:
        plugins.load()
        said = schema.get("metadata", {})
        specs = [*said.get("danlu_members", ()), *self.specs().values()]
        choices: list[Any] = [handler(spec.__pydantic_core_schema__) for spec in specs]
        if words := said.get("danlu_words", ()):
            choices.insert(0, {"enum": list(words), "type": "string"})
        return {"oneOf": choices}


FAMILIES: dict[str, Family] = {}
_OF_SPEC: dict[type[BaseModel], Own] = {}


def own_of(spec: type[BaseModel]) -> Own | None:
    """The own part that has this specification; None for danlu's."""
    return _OF_SPEC.get(spec)


def _again(before: Own, now: Own) -> bool:
    same = before.makes.__qualname__ == now.makes.__qualname__ or now.origin.file is None
    return before.origin.again(now.origin) and same


def _called(own: Own) -> str:
    return f"{own.makes.__qualname__} of {own.origin.name}"
