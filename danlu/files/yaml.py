"""YAML in and out, without YAML 1.1's surprises.

PyYAML reads ``3e-4`` as text, ``no`` as false, ``1:30`` as ninety, and lets a key be given
twice. Here numbers are numbers, only ``true`` and ``false`` are booleans, and a repeated key is
an error with its line. What is written is read the same by this reader and by any other.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Mapping
from contextlib import suppress
from functools import lru_cache
from pathlib import Path
from typing import Any, Protocol

import yaml
from yaml.composer import Composer

from danlu.files.errors import FileError
from danlu.files.read import MIB, decode, read_bytes

LIMIT = MIB  # bytes; PyYAML reads some 100 KB a second
DEPTH = 50  # mappings and lists within one another
DIGITS = 100  # of an integer: it fits into a float

SCALARS = {
    "tag:yaml.org,2002:null": (re.compile(r"~|null|Null|NULL|"), ["~", "n", "N", ""]),
    "tag:yaml.org,2002:bool": (re.compile(r"true|True|TRUE|false|False|FALSE"), list("tTfF")),
    "tag:yaml.org,2002:int": (re.compile(r"[-+]?[0-9][0-9_]*"), list("-+0123456789")),
    "tag:yaml.org,2002:float": (
        re.compile(r"[-+]?(?:[0-9][0-9_]*\.[0-9_]*|\.[0-9]+|[0-9][0-9_]*(?=[eE]))(?:[eE][-+]?[0-9]+)?"),
        list("-+.0123456789"),
    ),
}


class Readable(Protocol):
    """A file on disk or inside the package."""

    def read_bytes(self) -> bytes: ...


class _Rules:
    """What is refused, and why, whoever scans the text."""

    depth = 0

    def compose_node(self: Any, parent: yaml.Node | None, index: int) -> yaml.Node | None:
        """An alias may stand for the mapping that it is in, or for a billion others: none here."""
        event = self.peek_event()
        line = event.start_mark.line + 1
        if isinstance(event, yaml.AliasEvent):
            raise _Refused(f"line {line}: aliases (*{event.anchor}) are not read here")
        if self.depth >= DEPTH and isinstance(event, yaml.CollectionStartEvent):
            raise _Refused(f"line {line}: nested deeper than {DEPTH} mappings and lists")
        self.depth += 1
        node: yaml.Node | None = Composer.compose_node(self, parent, index)
        self.depth -= 1
        return node

    def construct_mapping(self: Any, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        seen: dict[Any, Any] = {}
        for key_node, value_node in node.value:
            key = self.construct_object(key_node, deep=True)
            where = f"line {key_node.start_mark.line + 1}"
            if not isinstance(key, str):
                raise _Refused(f"{where}: the key {key!r} is not text")
            if key in seen:
                raise _Refused(f"{where}: {key} is given twice")
            seen[key] = self.construct_object(value_node, deep=deep)
        return seen


class _Loader(_Rules, yaml.SafeLoader):
    pass


_Libyaml: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


class _Fast(_Rules, Composer, _Libyaml):
    """By libyaml's scanner, where PyYAML has it: five times as fast, but it tells less of what is wrong."""

    def __init__(self, text: str) -> None:
        _Libyaml.__init__(self, text)
        Composer.__init__(self)


class _Dumper(yaml.SafeDumper):
    def ignore_aliases(self, data: Any) -> bool:
        return True  # a value that occurs twice is written twice


class _Refused(yaml.YAMLError):
    pass


def _decimal(kind: Callable[[str], Any]) -> Callable[[Any, yaml.ScalarNode], Any]:
    def read(loader: Any, node: yaml.ScalarNode) -> Any:
        digits = node.value.replace("_", "")
        if len(digits) > DIGITS:
            raise _Refused(f"line {node.start_mark.line + 1}: a number of more than {DIGITS} digits")
        return kind(digits)

    return read


# PyYAML's own would take 010 for octal and 1:30 for sexagesimal.
_Loader.add_constructor("tag:yaml.org,2002:int", _decimal(int))
_Loader.add_constructor("tag:yaml.org,2002:float", _decimal(float))
_Loader.yaml_implicit_resolvers = {}  # none of PyYAML's
for _tag, (_pattern, _first) in SCALARS.items():
    _anchored = re.compile(rf"(?:{_pattern.pattern})\Z")
    _Loader.add_implicit_resolver(_tag, _anchored, _first)
    _Dumper.add_implicit_resolver(_tag, _anchored, _first)  # so that such text is quoted
_Fast.yaml_constructors = _Loader.yaml_constructors
_Fast.yaml_implicit_resolvers = _Loader.yaml_implicit_resolvers
_Dumper.add_representer(tuple, yaml.SafeDumper.represent_list)
# Plain, PyYAML would write line breaks such as U+0085 in a form that it reads back as others.
_Dumper.add_representer(
    str,
    lambda dumper, text: dumper.represent_scalar(
        "tag:yaml.org,2002:str", text, style=None if text.isprintable() else '"'
    ),
)


def parse(text: str) -> Any:
    """The value of a YAML text. Raises ``FileError`` with the line and what is wrong there."""
    if "\ufeff" not in text:  # which libyaml drops
        with suppress(yaml.YAMLError, ValueError, RecursionError):  # what is wrong, the other says better
            return yaml.load(text, Loader=_Fast)
    try:
        return yaml.load(text, Loader=_Loader)  # a SafeLoader with fewer types
    except _Refused as error:
        raise FileError(str(error)) from None
    except yaml.MarkedYAMLError as error:
        line = f"line {error.problem_mark.line + 1}: " if error.problem_mark else ""
        raise FileError(f"{line}not readable as YAML: {error.problem or error.context}") from None
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        raise FileError(f"not readable as YAML: {str(error).splitlines()[0]}") from None


def read_mapping(file: Readable, name: str) -> dict[str, Any]:
    """The mapping in a YAML file. ``name`` is what errors call it. An empty file is empty.

    Raises ``FileError`` for what is no file of at most ``LIMIT`` bytes, no UTF-8, no YAML or no mapping.
    """
    data = read_bytes(file, LIMIT) if isinstance(file, os.PathLike) else file.read_bytes()
    text = decode(data, name)
    try:
        value = parse(text)
    except FileError as error:
        raise FileError(f"{name}, {error}") from None
    if value is None:
        return {}
    if not isinstance(value, Mapping):
        raise FileError(f"{name}: holds {brief(value)}, not a mapping of fields such as `train:`")
    return dict(value)


def dump(value: Mapping[str, Any]) -> str:
    """YAML of a nested mapping, in its own order, that reads back as the same values."""
    whole = dict(value)
    lines = _lines(whole) if whole else None
    return _write(whole, flow=False) if lines is None else "".join(f"{line}\n" for line in lines)


def brief(value: Any) -> str:
    """A value as an error shows it: as it would be written, short; text in quotes."""
    if isinstance(value, str):
        shown = repr(value)
    else:
        try:
            shown = _write(value, flow=True).removesuffix("\n").removesuffix("\n...")
        except yaml.representer.RepresenterError:  # from Python, where any object may be given
            shown = repr(value)
    shown = "none" if shown == "null" else shown
    return shown if len(shown) <= 80 else f"{shown[:77]}..."


def _lines(value: Any) -> list[str] | None:
    """The lines that PyYAML writes of a mapping or list that is not empty, twenty times as fast: scalars
    alone are left to it, and once each. None where the value holds what is not laid out here."""
    mapping, found = type(value) is dict, list[str]()
    for key, item in value.items() if mapping else enumerate(value):
        if mapping and not (type(key) is str and 0 < len(key) < 100 and key.isprintable()):
            return None
        start, kind = f"{_scalar('str', key, key)}:" if mapping else "-", type(item)
        if kind in (str, int, float, bool, type(None)):
            found.append(f"{start} {_scalar(kind.__name__, item, repr(item))}")
        elif kind not in (dict, list, tuple):
            return None
        elif not item:
            found.append(f"{start} {{}}" if kind is dict else f"{start} []")
        elif (lines := _lines(item)) is None:
            return None
        elif mapping:
            inset = "  " if kind is dict else ""
            found += [start, *(inset + line for line in lines)]
        else:
            found += [f"- {lines[0]}", *(f"  {line}" for line in lines[1:])]
    return found


@lru_cache(maxsize=4096)
def _scalar(kind: str, value: Any, shown: str) -> str:
    """As PyYAML writes it in a block; ``kind`` and ``shown`` tell 1, 1.0, True and −0.0 apart."""
    return _write([value], flow=False).removeprefix("- ").removesuffix("\n")


def _write(value: Any, flow: bool) -> str:
    return yaml.dump(
        value, Dumper=_Dumper, sort_keys=False, allow_unicode=True, width=10**9, default_flow_style=flow
    )


def is_file_name(word: str) -> bool:
    """Whether a word names a YAML file."""
    return Path(word).suffix.lower() in (".yaml", ".yml")
