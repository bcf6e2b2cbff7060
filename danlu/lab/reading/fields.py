"""The fields of an ``experiment.yaml``, fast: thousands of them are read before the first answer.

``danlu.spec.to_yaml`` writes one field a line; those lines are taken apart here. Whatever else a file holds
is left to the YAML reader of ``danlu.spec``, which costs more to import than a thousand files to read.
"""

from __future__ import annotations

import re
from functools import cache
from typing import Any

Fields = dict[str, Any]  # value by dotted name

_LINE = re.compile(r"( *)([A-Za-z_][\w-]*):(?: (\S.*))?")
_INT = re.compile(r"-?[0-9]+")
_FLOAT = re.compile(r"-?[0-9]+(?:\.[0-9]*)?(?:e[-+]?[0-9]+)?")
_TEXT = re.compile(r"[A-Za-z/](?:[\w ./+-]*[\w./+-])?", re.ASCII)
_WORDS: dict[str, Any] = {"null": None, "true": True, "false": False, "[]": [], "{}": {}}


_NOTHING = object()  # stands after the colon


class _Unusual(Exception):
    """A line that only the YAML reader may judge."""


def read_fields(text: str) -> Fields:
    """Every value of an experiment by its dotted name. Raises ``SpecError`` where ``text`` is not YAML."""
    try:
        return _lines(text.split("\n"))
    except _Unusual:
        from danlu.spec.overrides import leaves

        value = _yaml(text)
        return leaves(value) if isinstance(value, dict) else {}


def _lines(lines: list[str]) -> Fields:
    fields: Fields = {}
    within = [""]  # what the names of a line begin with, by its depth
    i = 0
    while i < len(lines):
        line = lines[i]
        i += 1
        if not line:
            continue
        depth, key, written = _line(line)
        if depth >= len(within):
            raise _Unusual
        del within[depth + 1 :]
        name = within[depth] + key
        if name in fields:
            raise _Unusual
        if written is not _NOTHING:
            fields[name] = written
            continue
        indent = "  " * depth
        if i < len(lines) and lines[i].startswith(f"{indent}- "):
            start = i
            while i < len(lines) and lines[i].startswith((f"{indent}- ", f"{indent}  ")):
                i += 1
            fields[name] = _yaml("\n".join(line[len(indent) :] for line in lines[start:i]))
        elif i < len(lines) and lines[i].startswith(f"{indent}  "):
            within.append(f"{name}.")
        else:
            raise _Unusual
    return fields


@cache
def _line(line: str) -> tuple[int, str, Any]:
    """Its depth, its name and its value, or ``_NOTHING``. Runs share most of their lines."""
    match = _LINE.fullmatch(line)
    if match is None or len(match[1]) % 2:
        raise _Unusual
    return len(match[1]) // 2, match[2], _NOTHING if match[3] is None else _scalar(match[3])


def _scalar(written: str) -> Any:
    if written in _WORDS:
        return _WORDS[written]
    if _INT.fullmatch(written):
        return int(written)
    if _FLOAT.fullmatch(written):
        return float(written)
    if _TEXT.fullmatch(written) and written.lower() not in _WORDS:
        return written
    raise _Unusual


@cache
def _yaml(text: str) -> Any:
    """By ``danlu.files.yaml``; most runs share what is written in these ways."""
    from danlu.files.yaml import parse

    return parse(text)
