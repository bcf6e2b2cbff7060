"""No two modules import each other, not even within functions: of two that do, neither is read or tested
without the other. What is imported for types alone counts for nothing: it is never carried out."""

from __future__ import annotations

import ast
from collections.abc import Mapping
from graphlib import CycleError, TopologicalSorter

from tests.conftest import ROOT


def modules() -> dict[str, str]:
    """The source of every module, by its dotted name."""
    found = {}
    for path in (ROOT / "danlu").rglob("*.py"):
        *parts, last = path.relative_to(ROOT).with_suffix("").parts
        found[".".join(parts if last == "__init__" else [*parts, last])] = path.read_text(encoding="utf-8")
    return found


def imported(source: str, known: set[str]) -> set[str]:
    """The modules that a source imports, wherever in it, but for types alone."""
    found = set()
    nodes = [ast.parse(source)]
    while nodes:
        node = nodes.pop()
        if isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING":
            nodes += node.orelse
            continue
        nodes += ast.iter_child_nodes(node)
        if isinstance(node, ast.Import):
            found |= {name.name for name in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            names = {f"{node.module}.{name.name}" for name in node.names}
            found |= names & known or {node.module}
    return found & known


def cycle(graph: Mapping[str, set[str]]) -> list[str]:
    """A cycle of the graph; empty where there is none."""
    try:
        TopologicalSorter(graph).prepare()
    except CycleError as error:
        return list(error.args[1])
    return []


def test_a_cycle_is_found() -> None:
    known = {"a", "a.b", "c"}
    assert imported("if TYPE_CHECKING:\n from a import b", known) == set()
    assert imported("from a import b", known) == {"a.b"} and imported("def f():\n import c", known) == {"c"}
    assert set(cycle({"a": {"b"}, "b": {"c"}, "c": {"a"}})) == {"a", "b", "c"}
    assert cycle({"a": {"b", "c"}, "b": {"c"}}) == []


def test_no_two_modules_import_each_other() -> None:
    sources = modules()
    graph = {name: imported(source, set(sources)) - {name} for name, source in sources.items()}
    assert cycle(graph) == []
