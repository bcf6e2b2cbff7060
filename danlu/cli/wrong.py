"""What is told of words that are no command: the option, the value, what is allowed. In place of typer's own
sentences, which name neither the value nor, mostly, what is allowed."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from typing import Any

WHOLE, ANY = "a whole number", "a number"
NUMBERS = {int: WHOLE, float: ANY, "integer": WHOLE, "integer range": WHOLE, "float": ANY, "float range": ANY}
_QUOTED = re.compile(r"'(.*?)' is |^(\S+) is not in the range")  # the value, as older typer says it


def sentence(error: Exception) -> str:
    """Of an error of typer's (one that has ``format_message``)."""
    param: Any = getattr(error, "param", None)
    kind = type(error).__name__
    if kind == "NoSuchOption":
        return _no_such(error)
    if kind == "MissingParameter" and param is not None:
        return f"{_name(param)} is missing{_to_write(param)}"
    if kind == "BadParameter":
        value, allowed = _value(error), _allowed(param)
        if value is not None and allowed:
            return f"{_name(param)} = {value}; allowed: {allowed}"
        said = str(error.message)  # type: ignore[attr-defined]
        if param is None:
            return said
        return f"{_name(param)}{' = ' if '; allowed: ' in said else ': '}{said}"
    said = str(error.format_message())  # type: ignore[attr-defined]
    if kind == "BadOptionUsage" and "requires an argument" in said:
        name = getattr(error, "option_name", "")
        return f"{name} has no value; write {name} VALUE"
    return said


def _no_such(error: Any) -> str:
    near = sorted(getattr(error, "possibilities", None) or ())
    hint = f"; did you mean {' or '.join(near)}?" if near else ""
    return f"No such option: {error.option_name}{hint}"


def _name(param: Any) -> str:
    """As it is typed: ``--seeds``; of an argument what the help calls it."""
    options = [name for name in param.opts if name.startswith("-")]
    if options:
        return str(max(options, key=len))
    return str(param.metavar or param.name.upper())


def _to_write(param: Any) -> str:
    return f"; allowed: {allowed}" if (allowed := _allowed(param)) else ""


def _value(error: Exception) -> str | None:
    """What was typed; none where the sentence is danlu's own, which says it."""
    said = getattr(error.__cause__, "errors", None)
    typed = [one["input"] for one in said()] if said is not None else []
    if not typed:  # typer before it read numbers by pydantic
        found = _QUOTED.search(str(getattr(error, "message", "")))
        typed = [] if found is None else [found[1] or found[2]]
    if not typed:
        return None
    value = str(typed[0])
    return value if re.fullmatch(r"[-+]?[0-9.]+(e[-+]?[0-9]+)?", value) else repr(value)


def _allowed(param: Any) -> str:
    """Of a number, in words; empty where it is none."""
    own = getattr(param, "type_descriptor", None)
    kind = getattr(own, "annotation", None) if own is not None else getattr(param, "type", None)
    said = NUMBERS.get(kind) if isinstance(kind, type) else NUMBERS.get(getattr(kind, "name", ""))
    if said is None:
        return ""
    low, high = _bound(param, "min"), _bound(param, "max")
    if low is None and high is None:
        return said
    if high is None:
        return f"{said}, {_number(low)} or more"
    return f"{said}, {_number(high)} at most" if low is None else f"{said}, {_number(low)} to {_number(high)}"


def _number(value: float) -> str:
    return f"{value:,}" if float(value).is_integer() else f"{value:g}"


def _bound(param: Any, end: str) -> Any:
    return (
        getattr(param, end, None) if hasattr(param, end) else getattr(getattr(param, "type", None), end, None)
    )


def verb_of(words: Sequence[str]) -> Iterator[str]:
    """The verb that the words begin with, as far as it is told: one word, of laws two."""
    for word in words[:2]:
        if word.startswith("-"):
            return
        yield word
        if word != "laws":
            return
