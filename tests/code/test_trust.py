"""Digests that are as good as others: both ways, over several edits, and no further."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from danlu import code
from danlu.code.trust import TRUSTED, renewed, trusted

FILE = "nn/block.py"
NEW = code.now().of(FILE)


def listed(folder: Path, *pairs: tuple[str, str], file: str = FILE) -> Path:
    entries = [
        {"file": file, "old": old, "new": new, "run": "a", "again": "b", "date": "2026-01-01"}
        for old, new in pairs
    ]
    (folder / TRUSTED).write_text(json.dumps(entries))
    return folder


def record(digest: str) -> dict[str, Any]:
    return {"tier_a": "another", "files": {FILE: digest, "nn/norms.py": "other"}}


@pytest.mark.parametrize(
    ("pairs", "good"),
    [
        ([("old", NEW)], True),
        ([(NEW, "old")], True),  # the edit was taken back
        ([("older", NEW), ("old", "older")], True),
        ([("old", "older")], False),
        ([("older", NEW)], False),
        ([], False),
    ],
)
def test_what_is_as_good_as_what_is_here(tmp_path: Path, pairs: list[tuple[str, str]], good: bool) -> None:
    files = renewed(record("old"), listed(tmp_path, *pairs))["files"]
    assert files == {FILE: NEW if good else "old", "nn/norms.py": "other"}


def test_it_is_of_one_file_and_one_folder(tmp_path: Path) -> None:
    listed(tmp_path, ("old", NEW), file="nn/norms.py")
    assert renewed(record("old"), tmp_path) == record("old")
    assert renewed(record("old"), tmp_path / "elsewhere") == record("old")
    assert renewed(None, tmp_path) is None


def test_the_verdict_follows(tmp_path: Path) -> None:
    made = {"tier_a": "another", "files": {FILE: "old"}}
    assert code.judge(made, code.now()) == "other"
    assert code.judge(renewed(made, listed(tmp_path, ("old", NEW))), code.now()) == "untouched"
    made["edited"] = [FILE]
    assert code.judge(renewed(made, tmp_path), code.now()) == "tainted"


@pytest.mark.parametrize("text", ["", "{}", "[3]", '[{"file": "nn/block.py"}]', "[" * 300])
def test_a_damaged_list_is_none(tmp_path: Path, text: str) -> None:
    (tmp_path / TRUSTED).write_text(text)
    assert trusted(tmp_path) == [] and renewed(record("old"), tmp_path) == record("old")
