"""What is installed is what stands in the tree: the wheel and the source archive, built and looked into."""

from __future__ import annotations

import subprocess
import sys
import tarfile
import zipfile
from collections.abc import Iterator
from email import message_from_bytes
from pathlib import Path

import pytest

import danlu
from tests.conftest import LIMIT, ROOT
from tests.house.test_packaging import PROJECT

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A folder with the wheel and the source archive, as ``python -m build`` makes them."""
    pytest.importorskip("hatchling")
    folder = tmp_path_factory.mktemp("dist")
    command = [sys.executable, "-m", "hatchling", "build", "-t", "sdist", "-t", "wheel", "-d", str(folder)]
    subprocess.run(command, cwd=ROOT, check=True, capture_output=True, timeout=LIMIT)
    yield folder


def tree() -> dict[str, bytes]:
    """Every file of the package, by its path from the root."""
    return {
        path.relative_to(ROOT).as_posix(): path.read_bytes()
        for path in (ROOT / "danlu").rglob("*")
        if path.is_file() and "__pycache__" not in path.parts
    }


def test_the_wheel_is_the_package(built: Path) -> None:
    """No file more or less, byte for byte: code, catalog, templates, scripts, fonts, ``py.typed``."""
    (wheel,) = built.glob("*.whl")
    with zipfile.ZipFile(wheel) as archive:
        info = f"danlu-{danlu.__version__}.dist-info/"
        found = {name: archive.read(name) for name in archive.namelist() if not name.startswith(info)}
        about = {
            name.removeprefix(info): archive.read(name) for name in archive.namelist() if name not in found
        }
    assert found == tree()
    kinds = {Path(name).suffix for name in found}
    assert {".py", ".yaml", ".json", ".safetensors", ".html", ".js", ".css", ".ttf", ".typed", ".md"} <= kinds
    assert b"danlu = danlu.cli.main:main" in about["entry_points.txt"]
    said = message_from_bytes(about["METADATA"])
    licences = said.get_all("License-File") or []
    assert all(about[f"licenses/{name}"] == (ROOT / name).read_bytes() for name in licences)
    assert {name for name in tree() if "LICENSE" in name} | {"LICENSE"} == set(licences)
    assert said["Description-Content-Type"] == "text/markdown"
    assert set(said.get_all("Provides-Extra") or []) == set(PROJECT["optional-dependencies"])


def test_the_source_archive_builds_and_tests(built: Path) -> None:
    """It has the package and all that ``make`` and the tests read."""
    (archive,) = built.glob("*.tar.gz")
    with tarfile.open(archive) as files:
        top = f"danlu-{danlu.__version__}/"
        found = {name.removeprefix(top) for name in files.getnames()}
    assert set(tree()) <= found
    assert {"pyproject.toml", "Makefile", "constraints.txt", "README.md", "LICENSE"} <= found
    assert {"tests/conftest.py", "docs/llms.txt", "docs/site/conf.py", "bench/README.md"} <= found
