"""The files that a run depends on: those whose code ran, and those whose constants it used."""

from __future__ import annotations

import importlib
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import pytest

from danlu.code import Code, Recording, recording
from danlu.code.digests import sources

FILES = {
    "mine": """
from dataclasses import dataclass

import shelf
from apart import FAR, away
from caller import call
from kept import remembered
from numbers_of import LIMIT, half, Size, Table
from pure import twice


def run():
    return LIMIT + half(2)


def through_a_module():
    return shelf.DEPTH


def cached():
    return remembered()


def deep():
    away()
    return call(twice)


def made():
    return Table(3)


def generated():
    return list(value for value in steps())


def steps():
    from late import LATER
    yield LATER
""",
    "numbers_of": """
from dataclasses import dataclass
from typing import Literal

from limits import LIMIT

Size = Literal["small"]


def half(x):
    return x // 2


@dataclass
class Table:
    legs: int
""",
    "limits": "from more import BASE\nLIMIT = BASE + 1\n",
    "more": "BASE = 4\n",
    "shelf": "DEPTH = 7\n",
    "caller": "def call(f):\n    return f(1)\n",
    "pure": "def twice(x):\n    return 2 * x\n",
    "late": "LATER = 1\n",
    "apart": "FAR = 1\n\ndef away():\n    return FAR\n",
    "kept": "from functools import cache\n@cache\ndef remembered():\n    return 1\nremembered()\n",
}


@pytest.fixture
def mine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[ModuleType]:
    """A module of a package that stands for danlu, of which all files may matter but ``apart``."""
    for name, text in FILES.items():
        (tmp_path / f"{name}.py").write_text(text)
    known = [f"{name}.py" for name in FILES if name != "apart"]
    found = sources(tmp_path / name for name in known)
    code = Code({name: source.digest for name, source in zip(known, found, strict=True) if source})
    monkeypatch.setattr(recording, "PACKAGE", tmp_path)
    monkeypatch.setattr(recording, "TABLES", ())
    monkeypatch.setattr(recording, "loaded", lambda: code)
    monkeypatch.syspath_prepend(tmp_path)
    yield importlib.import_module("mine")
    for name in FILES:
        sys.modules.pop(name, None)


def names(record: Recording) -> set[str]:
    return {Path(name).stem for name in record.files}


@pytest.mark.parametrize(
    ("function", "files"),
    [
        ("run", {"numbers_of", "mine"}),
        ("through_a_module", {"mine"}),
        ("deep", {"mine", "caller", "pure"}),
        ("made", {"mine", "numbers_of"}),
        ("cached", {"mine"}),
        ("generated", {"mine"}),
    ],
)
def test_files_count_whose_code_ran(mine: ModuleType, function: str, files: set[str]) -> None:
    record = Recording()
    with record.during("build"):
        getattr(mine, function)()
    constants = {"limits", "more", "shelf", "kept"}  # LIMIT is by way of numbers_of from limits, made of BASE
    late = {"late"} if function == "generated" else set()
    assert names(record) == files | constants | late


def test_what_did_not_run_does_not_count(mine: ModuleType) -> None:
    record = Recording()
    assert names(record) == set()
    with record.during("build"):
        sum(range(3))
    assert names(record) == set()


def test_digests_are_those_of_what_was_loaded(mine: ModuleType, tmp_path: Path) -> None:
    record = Recording()
    with record.during("build"):
        mine.run()
    before = record.files
    (tmp_path / "numbers_of.py").write_text("from limits import LIMIT\n")
    assert record.files == before == {name: recording.loaded().of(name) for name in before}


def test_only_the_first_times_of_a_phase_are_recorded(mine: ModuleType) -> None:
    record = Recording()
    for call in (lambda: None, lambda: None, mine.made):
        with record.during("update", times=2):
            call()
    assert names(record) == set()
    with record.during("evaluation"):
        mine.made()
    assert "mine" in names(record)


def test_a_phase_inside_another_belongs_to_it(mine: ModuleType) -> None:
    record = Recording()
    with record.during("update"):
        with record.during("save"):
            mine.run()
        mine.deep()
    assert "caller" in names(record)


def test_whether_something_is_not_written_yet(mine: ModuleType) -> None:
    record = Recording()
    assert not record.unwritten
    with record.during("build"):
        pass
    assert record.unwritten
    assert record.files is not None and not record.unwritten


def test_nothing_is_left_behind(mine: ModuleType) -> None:
    def other(*_: object) -> None: ...

    sys.setprofile(other)
    try:
        with pytest.raises(ZeroDivisionError), Recording().during("build"):
            mine.run() / 0
        assert sys.getprofile() is other
    finally:
        sys.setprofile(None)
    again = Recording()
    with again.during("build"):
        mine.run()
    assert "mine" in names(again)  # a second recording is told what the first was


def test_the_profiler_of_old_sees_the_same(mine: ModuleType) -> None:
    seen: set[str] = set()
    with recording._profiled(seen):
        mine.made()
    assert {Path(name).stem for name in seen} >= {"mine", "numbers_of"}


@pytest.mark.skipif(sys.version_info < (3, 12), reason="sys.setprofile sees one thread")
def test_other_threads_count(mine: ModuleType) -> None:
    record = Recording()
    with record.during("build"):
        thread = threading.Thread(target=mine.made)
        thread.start()
        thread.join()
    assert "mine" in names(record)
