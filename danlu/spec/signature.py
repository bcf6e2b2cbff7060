"""The specification of an own part, read off the signature of its class or function."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from types import UnionType
from typing import Annotated, Any, Literal, Union, get_args, get_origin, get_type_hints

from pydantic import BaseModel, PydanticUserError, ValidationError, create_model

from danlu.spec.errors import SpecError, either
from danlu.spec.explain import explain
from danlu.spec.families import Family
from danlu.spec.schema import Accepts, read

ALLOWED = (
    "int, float, bool, str, Literal[…], tuple[…, ...] of these, with | None or not, with bounds as in "
    "Annotated[float, Field(gt=0)], or a specification of danlu's"
)


def specification(
    makes: Callable[..., Any], family: Family, kind: str, inputs: int = 0
) -> tuple[type[BaseModel], tuple[str, ...]]:
    """The specification of kind ``kind``, and the names of the family's context that ``makes`` takes.

    Parameters that are not of the context are fields; without a default they are required. The first
    ``inputs`` are neither: a function's input. Raises ``SpecError`` for what cannot be a field.
    """
    name = makes.__qualname__
    parameters = _parameters(makes)[inputs:]
    context = tuple(p.name for p in parameters if p.name in family.names)
    hints = _hints(makes)
    fields: dict[str, Any] = {
        p.name: _field(name, p, hints, family) for p in parameters if p.name not in context
    }
    try:
        made: type[BaseModel] = create_model(
            name.rpartition(".")[2],
            __base__=family.base,
            __module__=makes.__module__,
            __doc__=inspect.getdoc(makes),
            **{"kind": (Literal[kind], kind), **fields},
        )
    except PydanticUserError as error:
        raise SpecError(f"{name}: {str(error).splitlines()[0]}; a field's type is {ALLOWED}") from None
    for attribute in family.base.__class_vars__:
        if getattr(makes, attribute, ()) != ():
            setattr(made, attribute, getattr(makes, attribute))
        elif not hasattr(made, attribute):
            hint = get_args(get_type_hints(family.base)[attribute])[0]
            allowed = f", {either(map(repr, get_args(hint)))}" if get_origin(hint) is Literal else ""
            raise SpecError(f"{name} does not say {attribute}: write {attribute} = … in the class{allowed}")
    if lacking := [need for need in family.needs if not hasattr(makes, need) and need not in fields]:
        raise SpecError(f"{name} has no {either(lacking)}, which its {family.name} needs")
    if strange := set(context) - set(family.around(made)):
        raise SpecError(
            f"{name}: a {family.name} that acts there gets {either(family.around(made))} from the model; "
            f"leave {either(sorted(strange))} out"
        )
    try:
        made()
    except ValidationError as error:
        wrong = {field for e in error.errors() if e["type"] != "missing" for field in e["loc"][:1]}
        said = [text for field, text in explain(error, {}, made).items() if field.split(".")[0] in wrong]
        if said:
            raise SpecError(f"the default of {name}: {said[0]}") from None
    return made, context


def _parameters(makes: Callable[..., Any]) -> list[inspect.Parameter]:
    parameters = list(inspect.signature(makes).parameters.values())
    if [p.kind for p in parameters] == [inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD]:
        return []  # no constructor of its own: torch.nn.Module's
    return parameters


def _hints(makes: Callable[..., Any]) -> dict[str, Any]:
    try:
        return get_type_hints(makes.__init__ if inspect.isclass(makes) else makes, include_extras=True)
    except NameError as error:
        raise SpecError(f"{makes.__qualname__}: a type in its signature is unknown ({error})") from None
    except TypeError:  # written in C: nothing is said
        return {}


def _field(name: str, p: inspect.Parameter, hints: dict[str, Any], family: Family) -> tuple[Any, Any]:
    if p.kind in (p.VAR_POSITIONAL, p.VAR_KEYWORD, p.POSITIONAL_ONLY):
        stars = "*" * {p.VAR_POSITIONAL: 1, p.VAR_KEYWORD: 2, p.POSITIONAL_ONLY: 0}[p.kind]
        raise SpecError(f"{name}: {stars}{p.name} cannot be a field; name each one, as in alpha: float = 0.5")
    if p.name.startswith("_") or p.name == "kind" or hasattr(family.base, p.name):
        raise SpecError(f"{name}: a field cannot be called {p.name}; choose another name")
    if p.name in family.base.model_fields:
        raise SpecError(
            f"{name}: every {family.name} has the field {p.name} already, and danlu sees to it; leave it out"
        )
    if p.name not in hints:
        raise SpecError(
            f"{name}: {p.name} has no type; write one, as in {p.name}: float; a type is {ALLOWED}"
        )
    hint = hints[p.name]
    if not _can_be_field(hint):
        raise SpecError(f"{name}: the type of {p.name} cannot be that of a field; allowed: {ALLOWED}")
    return hint, ... if p.default is p.empty else p.default


def _can_be_field(hint: Any) -> bool:
    if get_origin(hint) is Annotated:
        return _can_be_field(get_args(hint)[0])
    if get_origin(hint) in (Union, UnionType):
        return all(map(_can_be_field, get_args(hint)))
    if get_origin(hint) is tuple:
        return all(_can_be_field(item) for item in get_args(hint) if item is not ...)
    return get_origin(hint) not in (list, dict) and read(hint) != Accepts()
