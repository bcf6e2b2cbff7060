"""The documentation site: its pages come from docs/llms.txt, and what is wrong with one ends its making."""

from __future__ import annotations

import importlib.util
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import pytest

from tests.conftest import ROOT

SITE = ROOT / "docs" / "site"


def load(name: str) -> ModuleType:
    spec = importlib.util.spec_from_file_location(f"site_{name}", SITE / f"{name}.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_its_navigation_is_llms_txt() -> None:
    """Each page once, below its heading and in its order; what is Chinese below a heading of its own."""
    text = (ROOT / "docs" / "llms.txt").read_text(encoding="utf-8")
    found = load("sources").sections(text)
    order = re.findall(r"^- \[[^\]]+\]\(([^)]+)\)", text, flags=re.MULTILINE)
    pages = [page for pages in found.values() for page in pages]
    assert pages == [os.path.normpath(f"docs/{page}") for page in order]
    headings = re.findall(r"^## (.+)$", text, flags=re.MULTILINE)
    assert [one for one in found if one != "中文"] == [one for one in headings if one in found]
    assert found["Start"]["docs/agents.md"] == "For agents"
    assert set(found["中文"]) == {page for page in pages if page.startswith("docs/zh/")} != set()


def test_what_pages_link_to_comes_along(tmp_path: Path) -> None:
    """Every local link of a page leads to what is laid out; the schemas are listed in their folder."""
    there = load("sources").lay_out(tmp_path / "source")
    assert {"CHANGELOG.md", "bench/README.md", "docs/claims.md", "docs/schemas/try-1.json"} <= set(there)
    assert len(there) == len(set(there))
    assert '<a href="schemas/index.html">schemas</a>' in (tmp_path / "source/docs/json.md").read_text()
    readme = (tmp_path / "source" / "README.md").read_text(encoding="utf-8")
    listed = re.findall(r"^(?:.+ <)?((?:docs|api|bench|README|CHANGELOG)\S*?)>?$", readme, flags=re.MULTILINE)
    pages = [path.removesuffix(".md") for path in there if path.endswith(".md") and path != "README.md"]
    assert sorted(page for page in listed if not page.startswith("api/")) == sorted({*pages, "README.zh-CN"})
    assert "api/danlu.lab" in listed


def test_links_of_llms_txt_hold_at_the_root() -> None:
    served = load("sources").served("- [A](a.md): x\n- [B](zh/b.md): y\n- [R](../README.md): z", "docs")
    assert served == "- [A](docs/a.md): x\n- [B](docs/zh/b.md): y\n- [R](README.md): z"


@pytest.mark.parametrize(
    ("docstring", "read"),
    [
        ("x* is |x|, name_ and `code*`", r"x\* is \|x\|, name\_ and `code*`"),
        ("``prepare``d, σ²``prior``", r"``prepare``\ d, σ²\ ``prior``"),
        ("**Where.** a ** b", r"**Where.** a \*\* b"),
        ("Thus:\n\n    x = 1\n    y = 2\n\nEnd", "Thus:\n\n::\n\n    x = 1\n    y = 2\n\nEnd"),
        ("- one\n  more of it", "- one\n  more of it"),
        ("snake_case stays", "snake_case stays"),
    ],
)
def test_docstrings_are_what_they_look_like(docstring: str, read: str) -> None:
    assert "\n".join(load("conf").readable(docstring.split("\n"))) == read


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ('<script src="https://cdn.example/x.js"></script>', 1),
        ("<link rel='stylesheet' href='//fonts.example/a.css'>", 1),
        ("@import url(https://fonts.example/b.css)", 1),
        ('<a href="https://arxiv.org/abs/1">a link to follow</a> <img src="_images/a.svg">', 0),
    ],
)
def test_what_would_be_loaded_from_outside_is_found(tmp_path: Path, text: str, found: int) -> None:
    (tmp_path / "a.html").write_text(text, encoding="utf-8")
    assert len(load("build").outside(tmp_path)) == found


@pytest.mark.slow
def test_a_broken_page_ends_it(tmp_path: Path) -> None:
    """A link that leads nowhere, an anchor that is no heading, a name that danlu does not have, an orphan."""
    pytest.importorskip("sphinx")
    pytest.importorskip("myst_parser")
    pytest.importorskip("furo")
    shutil.copytree(SITE, tmp_path / "docs" / "site", ignore=shutil.ignore_patterns("__pycache__"))
    (tmp_path / "README.md").write_text("# R\n\n[a](docs/a.md)\n", encoding="utf-8")
    (tmp_path / "README.zh-CN.md").write_text("# R\n", encoding="utf-8")
    (tmp_path / "docs" / "llms.txt").write_text("# d\n\n## Start\n\n- [A](a.md): a\n", encoding="utf-8")
    (tmp_path / "docs" / "a.md").write_text(
        "# A\n\n[x](nowhere.md) [y](#no-heading)\n\n```{eval-rst}\n.. autofunction:: danlu.nothing\n```\n",
        encoding="utf-8",
    )
    run = subprocess.run(
        [sys.executable, "docs/site/build.py"], cwd=tmp_path, capture_output=True, text=True,
        env={**os.environ, "PYTHONPATH": str(ROOT)}, stdin=subprocess.DEVNULL,
    )  # fmt: skip
    assert run.returncode == 1
    for wrong in ("'nowhere.md'", "'no-heading'", "'nothing'"):
        assert wrong in run.stderr
