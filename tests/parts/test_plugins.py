"""Packages that offer parts: imported when a kind is unknown or parts are listed, and not before."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

PARTS = """
import danlu, sys
print("imported", file=sys.stderr)
@danlu.part("schedule", "steep", source="Nobody 2026")
def steep(now, *, power: float = 2.0) -> float:
    '''(1 − progress) to a power.'''
    return (1 - now.progress) ** power
"""


@pytest.fixture
def installed(tmp_path: Path) -> Path:
    """A folder of packages with one that offers a part, as an installer leaves it."""
    package, info = tmp_path / "steep_parts", tmp_path / "steep_parts-1.2.dist-info"
    for folder in (package, info):
        folder.mkdir()
    (package / "__init__.py").write_text("")
    (package / "schedules.py").write_text(PARTS)
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: steep-parts\nVersion: 1.2\n")
    (info / "entry_points.txt").write_text("[danlu.parts]\nschedules = steep_parts.schedules\n")
    return tmp_path


def danlu(installed: Path, *words: str, **variables: str) -> subprocess.CompletedProcess[str]:
    path = os.pathsep.join([os.fspath(installed), *sys.path])
    return subprocess.run(
        [sys.executable, "-m", "danlu", *words],
        capture_output=True,
        text=True,
        env=os.environ | {"PYTHONPATH": path} | variables,
    )


def test_a_part_of_a_package(installed: Path) -> None:
    done = danlu(installed, "show", "nano", "schedule=steep", "schedule.power=3")
    assert (done.returncode, done.stderr) == (0, "imported\n")
    assert "schedule:\n  warmup: 0.05\n  kind: steep\n  power: 3.0\n" in done.stdout


def test_nothing_is_imported_before_it_is_wanted(installed: Path) -> None:
    for words in (["show", "nano", "+swiglu"], ["--help"], ["show", "--help"]):
        done = danlu(installed, *words)
        assert (done.returncode, done.stderr) == (0, "")


def test_the_version_names_packages(installed: Path) -> None:
    done = danlu(installed, "--version")
    assert done.stderr == ""
    assert done.stdout.splitlines()[1:] == ["parts of steep-parts 1.2: steep_parts.schedules"]
    assert danlu(installed, "--version", DANLU_PLUGINS="0").stdout.count("\n") == 1


def test_they_are_listed_and_tried_as_ideas(installed: Path) -> None:
    assert "+steep" in danlu(installed, "ideas").stdout
    assert "kind: steep" in danlu(installed, "show", "nano", "+steep").stdout


def test_they_can_be_turned_off(installed: Path) -> None:
    done = danlu(installed, "show", "nano", "schedule=steep", DANLU_PLUGINS="0")
    assert done.returncode == 2
    assert done.stderr.startswith("danlu: schedule.kind = 'steep' is not constant, linear")


def test_one_that_fails_is_named(installed: Path) -> None:
    (installed / "steep_parts" / "schedules.py").write_text("raise ImportError('no')\n")
    done = danlu(installed, "show", "nano", "schedule=steep")
    assert done.returncode == 2
    assert done.stderr == (
        "danlu: the package steep-parts 1.2 offers parts, and importing steep_parts.schedules failed "
        "(ImportError: no); correct it, uninstall it, or set DANLU_PLUGINS=0\n"
    )


def test_a_package_and_a_file_with_one_kind(installed: Path) -> None:
    file = installed / "mine.py"
    file.write_text(PARTS.replace("def steep", "def other"))
    done = danlu(installed, "show", "nano", "schedule=nope", "--with", str(file))
    assert done.returncode == 2
    assert (
        "schedule steep is registered twice: by other of mine.py and by steep of steep-parts 1.2"
        in done.stderr
    )
