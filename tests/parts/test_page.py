"""docs/own-parts.md as it is written: its files, commands and sessions run."""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

from danlu.spec.plugins import GROUP
from tests.conftest import ROOT

PAGE = (ROOT / "docs" / "own-parts.md").read_text(encoding="utf-8")


def blocks(*languages: str) -> list[str]:
    found = re.findall(r"^```(\w*)\n(.*?)^```$", PAGE, flags=re.MULTILINE | re.DOTALL)
    return [text for language, text in found if language in languages]


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the files of the page."""
    folder = tmp_path_factory.mktemp("page")
    for text in blocks("python"):
        if name := re.match(r"# (\w+\.py)\n", text):
            (folder / name[1]).write_text(text)
    return folder


def run(place: Path, *command: str) -> subprocess.CompletedProcess[str]:
    path = os.pathsep.join(sys.path)
    return subprocess.run(
        [sys.executable, *command],
        cwd=place,
        capture_output=True,
        text=True,
        env=os.environ | {"PYTHONPATH": path},
    )


def test_the_files_are_there(place: Path) -> None:
    assert {"mine.py", "more.py"} == {file.name for file in place.iterdir()}
    assert len((place / "mine.py").read_text().splitlines()) <= 30


@pytest.mark.slow
def test_commands_and_sessions(place: Path) -> None:
    """In the order of the page; sessions answer what it says, but for the folder of the file."""
    for text in blocks("sh", ""):
        session = re.findall(r"^\$ danlu (.*)\n((?:(?!\$ ).*\n)+)", text, flags=re.MULTILINE)
        for line, answer in session:
            done = run(place, "-m", "danlu", *shlex.split(line))
            assert (done.returncode, done.stderr.replace(f"{place}/", "")) == (2, answer)
        for line in [] if session else text.splitlines():
            assert line.startswith("danlu ")
            done = run(place, "-m", "danlu", *shlex.split(line)[1:])
            assert done.returncode == 0, f"{line}\n{done.stderr}"


@pytest.mark.slow
def test_python(place: Path) -> None:
    others = [text for text in blocks("python") if not text.startswith("# ")]
    assert len(others) == 2
    for text in others:
        done = run(place, "-c", text)
        assert done.returncode == 0, done.stderr
    assert "a run, resumed" in done.stdout


@pytest.mark.slow
def test_every_part_of_the_page_is_right(place: Path) -> None:
    parts = re.findall(r'part\("([a-z_]+)", "([a-z-]+)"', (place / "more.py").read_text())
    checks = "\n".join(f"check_part('{f} {k}')" for f, k in parts if f != "measure")
    done = run(
        place, "-c", f"import danlu\nfrom danlu.testing import check_part\ndanlu.load('more.py')\n{checks}"
    )
    assert done.returncode == 0, done.stderr


def test_the_entry_point() -> None:
    (text,) = blocks("toml")
    assert list(tomllib.loads(text)["project"]["entry-points"]) == [GROUP]


def test_the_table_has_every_family(place: Path) -> None:
    """That danlu.part knows; a family that no experiment has yet is there for who imports its module."""
    done = run(
        place, "-c", "from danlu import parts\nfrom danlu.spec.families import FAMILIES\nprint(*FAMILIES)"
    )
    assert set(re.findall(r"^\| `([a-z_]+)` \|", PAGE, flags=re.MULTILINE)) == set(done.stdout.split())
