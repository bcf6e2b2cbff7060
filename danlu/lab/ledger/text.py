"""How entries stand in the ledger's text: read from it, appended to it, changed in it.

What a person wrote stays: a new entry goes to the end, and a change rewrites only the lines of its fields, so
that comments and order stay.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from textwrap import indent
from typing import Any

import yaml
from pydantic import ValidationError

from danlu.files.errors import FileError
from danlu.files.yaml import brief, dump, parse
from danlu.lab.errors import LabError
from danlu.lab.ledger.entry import Entry
from danlu.spec.errors import did_you_mean

HEADING = """\
# The ledger of danlu: verdicts, decisions, when to look again. `danlu ledger` lists it; edit it freely.

"""


def entries(text: str, file: Path) -> list[Entry]:
    """What the text of ``file`` holds, in its order. Raises LabError: the line and what is wrong there."""
    try:
        values = parse(text)
    except FileError as error:
        raise LabError(f"{file}, {error}; correct that line; nothing was changed") from None
    nodes = _nodes(text)
    if values is None and not nodes:
        return []
    if not isinstance(values, list):
        raise LabError(f"{file} holds {brief(values)}, not a list of entries, each beginning with `- id:`")
    found: dict[str, Entry] = {}
    for node, value in zip(nodes, values, strict=True):
        if not isinstance(value, dict):
            where = f"{file}, line {_line(node)}"
            raise LabError(f"{where}: {brief(value)} is not an entry, which begins with `- id:`")
        try:
            new = entry(value)
        except Wrong as error:
            raise LabError(f"{file}, line {_line(node, *error.place)}: {error}") from None
        if new.id in found:
            where = f"{file}, line {_line(node, 'id')}"
            raise LabError(f"{where}: a second entry is called {new.id}; give one of the two another id")
        found[new.id] = new
    return list(found.values())


class Wrong(LabError):
    """A field of an entry that is wrong; ``place``: its name, and what leads to it inside of that."""

    def __init__(self, text: str, place: tuple[str | int, ...]) -> None:
        super().__init__(text)
        self.place = place


def entry(values: Mapping[str, Any]) -> Entry:
    """The entry of these fields. Raises Wrong for the first that is wrong."""
    try:
        return Entry.model_validate(values)
    except ValidationError as error:
        problems = error.errors(include_url=False)
    # A field that is unknown is told before the one that is missing: it is mostly that one, misspelt.
    problem = min(problems, key=lambda problem: problem["type"] != "extra_forbidden")
    place = problem["loc"]
    name = ".".join(map(str, place))
    if problem["type"] == "extra_forbidden":
        fields = list(Entry.model_fields)
        hint = did_you_mean(name, fields) or (": " + ", ".join(fields) if len(place) == 1 else "")
        raise Wrong(f"{name} is not a field of an entry{hint}", place)
    if problem["type"] == "missing":
        raise Wrong(f"{name} is missing", place)
    said = str(problem["msg"]).removeprefix("Value error, ")
    raise Wrong(f"{name} = {brief(problem['input'])}: {said[:1].lower()}{said[1:]}", place)


def _line(node: yaml.Node, *place: str | int) -> int:
    """The line, from 1, in which what ``place`` leads to begins; of what is missing, where it would stand."""
    line = node.start_mark.line + 1
    for step in place:
        if isinstance(node, yaml.MappingNode):
            found = next(((key, value) for key, value in node.value if key.value == step), None)
            if found is None:
                break
            line, node = found[0].start_mark.line + 1, found[1]
        elif isinstance(node, yaml.SequenceNode) and isinstance(step, int) and step < len(node.value):
            node = node.value[step]
            line = node.start_mark.line + 1
        else:
            break
    return line


def _nodes(text: str) -> list[yaml.Node]:
    """Where each entry stands in a text that ``parse`` has read: composed, nothing is made of it."""
    loader = yaml.SafeLoader if "\ufeff" in text else getattr(yaml, "CSafeLoader", yaml.SafeLoader)
    node = yaml.compose(text, Loader=loader)
    return [] if node is None else list(node.value) if isinstance(node, yaml.SequenceNode) else [node]


def appended(text: str, new: Entry) -> str:
    """The text with one more entry, indented as the others are."""
    nodes = _nodes(text)
    if not nodes:
        lines = text.splitlines(keepends=True)
        empty = "".join(line for line in lines if line.lstrip().startswith("#"))
        if any(line.strip() not in ("", "[]", "---") for line in lines if not line.lstrip().startswith("#")):
            raise LabError("the ledger holds something else than entries; name another file")
        text = f"{empty.rstrip()}\n\n" if empty else HEADING
    margin = " " * max(0, nodes[0].start_mark.column - 2) if nodes else ""
    if not text.endswith("\n"):
        text += "\n"
    block = indent(dump(new.written()), "  ")
    return text + "\n" * bool(nodes) + indent(f"- {block[2:]}", margin)


def changed(text: str, position: int, change: Mapping[str, Any]) -> str:
    """The text with some fields of one entry replaced where they stand, new ones after its last line."""
    node = _nodes(text)[position]
    assert isinstance(node, yaml.MappingNode)
    margin = " " * node.start_mark.column
    if node.flow_style:
        whole = {**parse(text)[position], **change}
        block = indent(dump(whole), margin).lstrip(" ").removesuffix("\n")
        return text[: node.start_mark.index] + block + text[node.end_mark.index :]
    spans = {key.value: (key.start_mark.index, _end(text, value)) for key, value in node.value}
    last = max(end for _, end in spans.values())
    line_end = text.find("\n", last)
    last = len(text) if line_end < 0 else line_end
    pieces = {name: indent(dump({name: value}), margin).rstrip("\n") for name, value in change.items()}
    more = "".join(f"\n{piece}" for name, piece in pieces.items() if name not in spans)
    edits = [(last, last, more)]
    edits += [(*spans[name], piece.lstrip(" ")) for name, piece in pieces.items() if name in spans]
    for begin, end, piece in sorted(edits, reverse=True):
        text = text[:begin] + piece + text[end:]
    return text


def _end(text: str, node: yaml.Node) -> int:
    """Where a value ends: that of its last leaf, since a block's own mark stands after the comments below."""
    if isinstance(node, yaml.CollectionNode) and not node.flow_style and node.value:
        last = node.value[-1]
        return _end(text, last[1] if isinstance(last, tuple) else last)
    return node.start_mark.index + len(text[node.start_mark.index : node.end_mark.index].rstrip())
