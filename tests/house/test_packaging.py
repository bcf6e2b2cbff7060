"""Versions are bounded on both sides, agree with the tested set, and are written the same everywhere."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterator

import pytest
from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet
from packaging.utils import canonicalize_name

from tests.conftest import ROOT

TORCH = SpecifierSet(">=2.11,<2.14")
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
CONSTRAINTS = [
    Requirement(line)
    for line in (ROOT / "constraints.txt").read_text().splitlines()
    if line and not line.startswith("#")
]


def requirements() -> list[Requirement]:
    extras = PROJECT["optional-dependencies"].values()
    lines = PROJECT["dependencies"] + [line for extra in extras for line in extra]
    return [r for r in map(Requirement, lines) if r.name != PROJECT["name"]]


def written_files() -> Iterator[str]:
    """Every file where a version of torch could be written, relative to the root."""
    for pattern in (
        "*.toml",
        "*.txt",
        "*.md",
        "Makefile",
        "Dockerfile",
        ".ci/run",
        "docs/**/*.md",
        "bench/**/*",
        "danlu/**/*",
    ):
        for path in sorted(ROOT.glob(pattern)):
            if path.suffix in {".toml", ".txt", ".md", ".py", ".yaml", ""} and path.is_file():
                yield str(path.relative_to(ROOT))


@pytest.mark.parametrize("requirement", requirements(), ids=str)
def test_dependency_has_both_bounds_and_a_tested_version(requirement: Requirement) -> None:
    operators = {bound.operator for bound in requirement.specifier}
    assert {">=", "<"} <= operators, f"{requirement} lacks a bound"
    (tested,) = [c for c in CONSTRAINTS if canonicalize_name(c.name) == canonicalize_name(requirement.name)]
    for bound in tested.specifier:
        if bound.operator == "==":
            assert bound.version in requirement.specifier, (
                f"constraints.txt pins {tested} outside {requirement}"
            )


def test_torch_is_written_with_both_bounds_everywhere() -> None:
    """Wherever a version of torch is named, or pip is told to install it, both bounds are there."""
    bare = re.compile(r"pip install\b[^\n`]*?(?<![\w-])torch(?![\w.-])(?!\s*[<>=~!])")
    named = re.compile(r"(?<![\w.-])torch\s*((?:[<>=~!]=?\s*[\d.*]+\s*,?\s*)+)")
    wrong, found = [], set()
    for name in written_files():
        text = (ROOT / name).read_text(encoding="utf-8")
        for match in named.finditer(text):
            found.add(name)
            if SpecifierSet(match[1].strip().rstrip(",")) != TORCH:
                wrong.append(f"{name}: {match[0].strip()}")
        wrong += [f"{name}: {match[0]}" for match in bare.finditer(text)]
    assert not wrong
    assert {"pyproject.toml", "constraints.txt", "README.md"} <= found


def test_constraints_name_no_build() -> None:
    """A local tag such as +cpu exists on one index only: a stranger's pip would find nothing."""
    assert [str(c) for c in CONSTRAINTS if "+" in str(c.specifier)] == []
