"""The code of own parts: what runs is what was read, once, and again where it changed."""

from __future__ import annotations

from pathlib import Path

import pytest

import danlu
from danlu.parts import sources
from danlu.spec import SpecError, catalog, resolve
from danlu.spec.families import FAMILIES

PART = """
import danlu
@danlu.part("schedule", "{kind}")
def shape(now, *, {field}: float = {value}) -> float:
    return {value}
"""


def write(path: Path, kind: str = "mine", field: str = "top", value: float = 1.0, more: str = "") -> Path:
    path.write_text(more + PART.format(kind=kind, field=field, value=value))
    return path


def own(kind: str = "mine"):  # type: ignore[no-untyped-def]
    return FAMILIES["schedule"].own[kind]


def test_a_file_is_run_once_and_again_where_it_changed(tmp_path: Path) -> None:
    file = write(tmp_path / "mine.py")
    danlu.load(file)
    first = own().makes
    danlu.load(file)
    assert own().makes is first
    before = resolve("nano schedule=mine")
    write(file, field="other")
    danlu.load(file)
    assert own().makes is not first
    assert set(own().spec.model_fields) == {"kind", "other", "warmup"}
    assert before.schedule.top == 1.0  # type: ignore[union-attr]  what was made before stays
    digest = own().origin.digest
    file.write_text("# a comment\n" + file.read_text())
    danlu.load(file)
    assert own().origin.digest == digest


def test_what_a_file_no_longer_registers_is_gone(tmp_path: Path) -> None:
    file = write(tmp_path / "mine.py", "one")
    file.write_text(file.read_text() + "danlu.idea('bold', {'schedule': {'kind': 'one', 'top': 2.0}})\n")
    danlu.load(file)
    assert {"one", "bold"} <= set(catalog.names("ideas"))
    assert resolve("nano +bold").schedule.top == 2.0  # type: ignore[union-attr]
    write(file, "two")
    danlu.load(file)
    assert "one" not in FAMILIES["schedule"].own and "two" in FAMILIES["schedule"].own
    assert not {"one", "bold"} & set(catalog.names("ideas")) and "two" in catalog.names("ideas")


@pytest.mark.parametrize(
    ("more", "sentence"),
    [
        ("x = (", r"mine\.py, line 6: '\(' was never closed"),
        ("\nx = nowhere", r"mine\.py, line 7: NameError: name 'nowhere' is not defined"),
        ("import no_such_module", r"mine\.py, line 6: ModuleNotFoundError: No module named 'no_such_module'"),
        (PART.format(kind="cosine", field="a", value=1), r"mine\.py, line 8: .* cosine is danlu's own"),
        ("danlu.idea('swiglu', {'train.seed': 1})", r"mine\.py, line 6: .*the catalog has an idea of this"),
    ],
)  # fmt: skip
def test_what_fails_is_told_with_its_line_and_changes_nothing(
    tmp_path: Path, more: str, sentence: str
) -> None:
    file = write(tmp_path / "mine.py")
    danlu.load(file)
    first = own()
    file.write_text(PART.format(kind="new", field="a", value=1) + more)
    with pytest.raises(SpecError, match=sentence):
        danlu.load(file)
    assert own() is first
    assert "new" not in FAMILIES["schedule"].own
    assert "mine" in catalog.names("ideas") and "new" not in catalog.names("ideas")


@pytest.mark.parametrize("more", ["raise SystemExit", "import sys\nsys.exit(3)", "quit()"])
def test_a_file_that_ends_the_program_does_not(tmp_path: Path, more: str) -> None:
    file = write(tmp_path / "mine.py")
    file.write_text(f"{file.read_text()}{more}\n")
    with pytest.raises(SpecError, match=r"^mine\.py, line [67]: it ends the program; put that under if"):
        danlu.load(file)
    assert sources.loaded() == [] and "mine" not in FAMILIES["schedule"].own


def test_an_interrupt_stays_an_interrupt(tmp_path: Path) -> None:
    file = write(tmp_path / "mine.py", more="raise KeyboardInterrupt\n")
    with pytest.raises(KeyboardInterrupt):
        danlu.load(file)
    assert sources.loaded() == []


def test_files_that_cannot_be(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("x")
    for name, sentence in (
        ("nine.py", "is not there"),
        ("notes.txt", "not a Python file"),
        (".", "not a Py"),
    ):
        with pytest.raises(SpecError, match=sentence):
            danlu.load(tmp_path / name)


def test_what_lies_beside_belongs_to_it(tmp_path: Path) -> None:
    """A file that it imports is part of it: of its digest, and run again with it."""
    (tmp_path / "beside.py").write_text("from far import TOP\n")
    (tmp_path / "far.py").write_text("TOP = 2.0\n")
    (tmp_path / "unused.py").write_text("raise SystemExit")
    file = write(
        tmp_path / "mine.py", more="from beside import TOP\nimport math, json, danlu.spec\n", value=1.0
    )
    file.write_text(file.read_text().replace("float = 1.0", "float = TOP"))
    danlu.load(file)
    assert set(own().origin.texts) == {"mine.py", "beside.py", "far.py"}
    assert resolve("nano schedule=mine").schedule.top == 2.0  # type: ignore[union-attr]
    digest = own().origin.digest
    (tmp_path / "far.py").write_text("TOP = 3.0\n")
    danlu.load(file)
    assert resolve("nano schedule=mine").schedule.top == 3.0  # type: ignore[union-attr]
    assert own().origin.digest != digest


def test_names_of_files_do_not_meet(tmp_path: Path) -> None:
    """Two files of one name, each with a neighbour of one name; none hides a module of Python's."""
    for folder, value in (("a", 1.0), ("b", 2.0)):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "beside.py").write_text(f"TOP = {value}\n")
        (tmp_path / folder / "json.py").write_text("raise SystemExit('hidden')")
        file = write(tmp_path / folder / "random.py", folder, more="import json\nfrom beside import TOP\n")
        file.write_text(file.read_text().replace("float = 1.0", "float = TOP"))
        danlu.load(file)
    assert resolve("nano schedule=a").schedule.top == 1.0  # type: ignore[union-attr]
    assert resolve("nano schedule=b").schedule.top == 2.0  # type: ignore[union-attr]
    import random

    assert hasattr(random, "gauss")


def test_a_module_of_a_package(tmp_path: Path) -> None:
    """Relative imports work; the package's files that it imports belong to it."""
    inner = tmp_path / "own_package" / "inner"
    inner.mkdir(parents=True)
    (tmp_path / "own_package" / "__init__.py").write_text("")
    (inner / "__init__.py").write_text("from .values import TOP\n")
    (inner / "values.py").write_text("TOP = 4.0\n")
    (inner / "unused.py").write_text("raise SystemExit")
    file = write(inner / "mine.py", more="from . import TOP\nfrom ..inner import values\n")
    file.write_text(file.read_text().replace("float = 1.0", "float = TOP"))
    danlu.load(file)
    assert set(own().origin.texts) == {
        "own_package/__init__.py", "own_package/inner/__init__.py", "own_package/inner/values.py",
        "own_package/inner/mine.py",
    }  # fmt: skip
    assert resolve("nano schedule=mine").schedule.top == 4.0  # type: ignore[union-attr]
    assert own().makes.__module__ == "own_package.inner.mine"


def test_a_script_that_trains_does_not_train_when_it_is_loaded(tmp_path: Path) -> None:
    file = write(tmp_path / "mine.py")
    file.write_text(file.read_text() + "from danlu.lab.queue import Queue\nQueue('studies')\n")
    with pytest.raises(SpecError, match=r'mine.py trains while it is loaded .* if __name__ == "__main__":'):
        danlu.load(file)
    assert sources.loaded() == []
