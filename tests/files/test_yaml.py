"""YAML within limits."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import example, given, settings
from hypothesis import strategies as st

from danlu.files import yaml as ours
from danlu.files.errors import FileError
from danlu.files.yaml import DEPTH, DIGITS, LIMIT, dump, parse, read_mapping
from danlu.spec import catalog, resolve
from tests.conftest import ROOT


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("[" * 10_000 + "]" * 10_000, "line 1: nested deeper than 50 mappings and lists"),
        ("[" * (DEPTH + 1) + "]" * (DEPTH + 1), "line 1: nested deeper"),
        ("\n".join(" " * i + "a:" for i in range(DEPTH + 2)), "nested deeper"),
        ("a: " + "1" * (DIGITS + 1), "line 1: a number of more than 100 digits"),
        ("a: " + "1" * 5_000, "line 1: a number of more than 100 digits"),
        ("a: &x [1]\nb: *x", r"line 2: aliases \(\*x\)"),
        ("a: !!python/object/apply:os.getcwd []", "not readable as YAML"),
        ("a: \x1b", "not readable as YAML"),
    ],
)
def test_what_is_refused(text: str, said: str) -> None:
    with pytest.raises(FileError, match=said):
        parse(text)


def test_the_limits_themselves_are_allowed() -> None:
    value = parse("[" * DEPTH + "]" * DEPTH)
    for _ in range(DEPTH - 1):
        (value,) = value
    assert value == []
    assert parse("9" * DIGITS) == 10**DIGITS - 1


def test_files_that_are_none(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.yaml")
    with pytest.raises(FileError, match="is a pipe"):
        read_mapping(tmp_path / "pipe.yaml", "pipe.yaml")
    with pytest.raises(FileError, match="is a device"):
        read_mapping(Path("/dev/zero"), "zero")
    (tmp_path / "large.yaml").write_bytes(b"#" * (LIMIT + 1))
    with pytest.raises(FileError, match="larger than"):
        read_mapping(tmp_path / "large.yaml", "large.yaml")


TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=20)
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | TEXT,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXT, inner, max_size=3),
    max_leaves=8,
)
SPECIAL = [
    "no", "true", "~", "1", "1e5", "0x1", "1:30", "=", "<<", "a: b", "a #b", "- a", "? x", "#", "-", "!x",
    "&a", "*a", "%", "@", "`", "[", "{", "a,b", " a", "a ", "a\nb", "'", '"', "\u2028", "\x85", "丹炉",
]  # fmt: skip
NUMBERS = st.floats() | st.sampled_from([0, 0.0, -0.0, 1, 1.0, True, False, 1e22, 1e-7])


@settings(max_examples=500)
@given(
    st.dictionaries(
        TEXT | st.sampled_from(SPECIAL), VALUES | NUMBERS | st.sampled_from(SPECIAL) | st.tuples(VALUES)
    )
)
@example({"k" * 130: 1})
@example({"": {}, "a": [], "b": [[], {}, [[1], {"c": [2, {"d": ()}]}]]})
def test_what_is_written_is_what_pyyaml_writes(value: dict[str, Any]) -> None:
    assert dump(value) == ours._write(value, flow=False)


def test_every_recipe_is_written_as_pyyaml_writes_it() -> None:
    for name in catalog.names("recipes"):
        value = resolve([name]).model_dump()
        assert ours._lines(value) is not None and dump(value) == ours._write(value, flow=False)


def by_pyyaml_alone(text: str) -> object:
    return yaml.load(text, Loader=ours._Loader)


@given(st.dictionaries(TEXT, VALUES, max_size=3))
def test_what_is_written_is_read_the_same_by_both_scanners(value: dict[str, object]) -> None:
    assert parse(dump(value)) == by_pyyaml_alone(dump(value)) == value


def test_both_scanners_read_the_catalog_alike() -> None:
    texts = [path.read_text() for path in sorted((ROOT / "danlu" / "catalog" / "ideas").glob("*.yaml"))]
    assert len(texts) > 100 and all(parse(text) == by_pyyaml_alone(text) for text in texts)
    broken = [text.replace(": ", " : : ", 1) for text in texts[:5]]
    for text in broken:
        with pytest.raises(FileError, match="mapping values are not allowed here"):
            parse(text)  # in PyYAML's words
    assert parse("a: '\ufeffb'") == {"a": "\ufeffb"}
