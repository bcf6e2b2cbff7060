"""The contracts of ``--json`` are written down, and are what danlu does."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from danlu.cli.schemas import SCHEMAS, json_schema, shape
from danlu.files.json import misfit
from tests.contracts import COMMANDS, FOLDER, GOLDEN, file_of, narrowed, printed, world


def test_the_schemas_in_the_folder_are_current() -> None:
    """python -m tests.contracts writes them. Those of earlier versions stay."""
    stale = [verb for verb in SCHEMAS if json.loads(file_of(verb).read_text()) != json_schema(verb)]
    assert stale == [], "python -m tests.contracts writes them anew"
    for path in FOLDER.iterdir():
        verb, _, version = path.stem.rpartition("-")
        verb = verb if verb in SCHEMAS else verb.replace("laws-", "laws ")
        assert 1 <= int(version) <= SCHEMAS[verb].version, f"{path} is no verb's"


OR_NULL = {"anyOf": [{"type": "string"}, {"type": "null"}]}
FIELDS: dict[str, Any] = {"a": {"type": "string"}, "b": {"anyOf": [{"type": "number"}, {"type": "null"}]}}
OBJECT: dict[str, Any] = {"type": "object", "properties": FIELDS, "required": ["a"]}


def changed(**fields: Any) -> dict[str, Any]:
    """The object with other fields, or without those that are None."""
    kept = {name: one for name, one in (FIELDS | fields).items() if one is not None}
    return OBJECT | {"properties": kept, "required": [name for name in ("a", "c") if name in kept]}


@pytest.mark.parametrize(
    ("new", "said"),
    [
        (OBJECT, []),
        (changed(c={"type": "array"}), []),
        (changed(b={"type": "number"}), []),
        (changed(b={"type": "integer"}), []),
        (changed(a=None), ["it.a is gone"]),
        (changed(b=None), ["it.b is gone"]),
        (changed(a=OR_NULL), ["it.a was string, and may be null"]),
        (OBJECT | {"required": []}, ["it.a may be left out"]),
        ({"type": "array", "items": OBJECT}, ["it was object, and may be array"]),
        ({"anyOf": [OBJECT, {"type": "array"}]}, ["it was object, and may be array"]),
    ],
)
def test_a_schema_only_grows_within_a_version(new: dict[str, Any], said: list[str]) -> None:
    assert list(narrowed(OBJECT, new)) == said


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    made = tmp_path_factory.mktemp("contracts")
    world(made)
    return made


@pytest.mark.parametrize("name", COMMANDS)
def test_the_output_is_as_it_was(name: str, folder: Path) -> None:
    """Every name and value of the golden file is there; numbers to nine digits. New names may come."""
    golden = json.loads((GOLDEN / f"{name}.json").read_text(encoding="utf-8"))
    found = printed(COMMANDS[name], folder)
    verb = " ".join(COMMANDS[name].split()[: 1 + COMMANDS[name].startswith("laws")])
    assert misfit(golden, shape(verb)) == "" == misfit(found, shape(verb))
    assert list(lost(golden, found)) == []


def lost(old: Any, new: Any, place: str = "it") -> Iterator[str]:
    """What is in ``old`` and not, or otherwise, in ``new``."""
    if isinstance(old, dict) and isinstance(new, dict):
        for name, value in old.items():
            if name in new:
                yield from lost(value, new[name], f"{place}.{name}")
            else:
                yield f"{place}.{name} is gone"
    elif isinstance(old, list) and isinstance(new, list) and len(old) == len(new):
        for number, (one, other) in enumerate(zip(old, new, strict=True)):
            yield from lost(one, other, f"{place}[{number}]")
    elif isinstance(old, float) and isinstance(new, int | float):
        if new != pytest.approx(old, rel=1e-9):
            yield f"{place} was {old}, and is {new}"
    elif old != new:
        yield f"{place} was {old!r}, and is {new!r}"
