"""The Dockerfile, read: no docker is needed. What it names exists, it keeps no caches, it is not root."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from packaging.specifiers import SpecifierSet

from tests.conftest import LIMIT, ROOT
from tests.house.test_packaging import PROJECT

TEXT = (ROOT / "Dockerfile").read_text(encoding="utf-8")
STEPS = [tuple(line.split(" ", 1)) for line in re.findall(r"^[A-Z]+ .+$", TEXT, flags=re.MULTILINE)]


def args(word: str) -> list[str]:
    return [rest for step, rest in STEPS if step == word]


def copied() -> list[str]:
    """What it takes from the tree."""
    return [name for rest in args("COPY") if not rest.startswith("--from") for name in rest.split()[:-1]]


def test_its_python_is_one_that_danlu_is_tested_with() -> None:
    (tag,) = {rest.split(" AS ")[0] for rest in args("FROM")}
    python = re.fullmatch(r"python:(3\.\d+)-slim-bookworm", tag)
    assert python is not None and python[1] in SpecifierSet(PROJECT["requires-python"])
    assert f"Programming Language :: Python :: {python[1]}" in PROJECT["classifiers"]


def test_it_is_not_root_and_keeps_no_caches() -> None:
    last = max(i for i, (word, _) in enumerate(STEPS) if word == "FROM")
    assert [rest for word, rest in STEPS[last:] if word == "USER"] == ["danlu"]
    assert "PIP_NO_CACHE_DIR=1" in args("ENV")[0]
    assert not any("pip install" in rest for word, rest in STEPS[last:])  # the last stage only copies
    assert not args("ADD") and "apt-get" not in TEXT and "sudo" not in TEXT and ":latest" not in TEXT
    assert args("ENTRYPOINT") == ['["danlu"]']  # no shell, so that signals reach danlu


def test_what_it_names_exists() -> None:
    assert copied() and [name for name in copied() if not (ROOT / name).exists()] == []
    kept = re.findall(r"^!(.+)$", (ROOT / ".dockerignore").read_text(encoding="utf-8"), flags=re.MULTILINE)
    assert sorted(kept) == sorted(copied())
    (extras,) = re.findall(r'"\.\[([\w,]+)\]"', TEXT)
    assert set(extras.split(",")) <= set(PROJECT["optional-dependencies"])
    (torch,) = re.findall(r'"(torch[^"]+)"', TEXT)
    assert torch in PROJECT["dependencies"]


@pytest.mark.slow
def test_a_wheel_can_be_built_of_what_it_copies(tmp_path: Path) -> None:
    pytest.importorskip("hatchling")
    for name in copied():
        there, to = ROOT / name, tmp_path / name
        shutil.copytree(there, to) if there.is_dir() else shutil.copyfile(there, to)
    command = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", "dist"]
    subprocess.run(command, cwd=tmp_path, check=True, capture_output=True, timeout=LIMIT)
    assert len(list((tmp_path / "dist").glob("*.whl"))) == 1
