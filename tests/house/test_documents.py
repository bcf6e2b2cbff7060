"""What the documents promise exists: targets, verbs, pages, entries."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

import danlu
from danlu.cli.main import main
from tests.conftest import ROOT

DOCUMENTS = [
    ROOT / "README.md",
    ROOT / "README.zh-CN.md",
    ROOT / "CHANGELOG.md",
    ROOT / "bench" / "README.md",
    *(ROOT / "docs").glob("**/*.md"),
    ROOT / "docs" / "llms.txt",
    ROOT / "danlu" / "catalog" / "SKILL.md",
]


def code(path: Path) -> str:
    """The document's code: fenced blocks and `spans`, a line each."""
    text = path.read_text(encoding="utf-8")
    blocks = re.findall(r"^```[^\n]*\n(.*?)^```", text, flags=re.MULTILINE | re.DOTALL)
    spans = re.findall(r"`([^`\n]+)`", re.sub(r"^```.*?^```", "", text, flags=re.MULTILINE | re.DOTALL))
    return "\n".join([*blocks, *spans])


def test_make_targets_exist() -> None:
    targets = set(re.findall(r"^([a-z]+):", (ROOT / "Makefile").read_text(), flags=re.MULTILINE))
    wanted = {
        t for path in DOCUMENTS for t in re.findall(r"^\$? ?make ([a-z]+)", code(path), flags=re.MULTILINE)
    }
    assert {"run", "test", "install"} <= wanted <= targets


def verbs() -> list[str]:
    found = {
        v for path in DOCUMENTS for v in re.findall(r"^\$? ?danlu ([a-z]+)\b", code(path), flags=re.MULTILINE)
    }
    return sorted(found)


@pytest.mark.parametrize("verb", verbs())
def test_verbs_in_the_documents_exist(verb: str) -> None:
    with pytest.raises(SystemExit) as end:
        main([verb, "--help"])
    assert end.value.code == 0


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: str(path.relative_to(ROOT)))
def test_links_lead_somewhere(document: Path) -> None:
    links = re.findall(r"\]\(([^)#\s]+)[^)]*\)", document.read_text(encoding="utf-8"))
    local = [link for link in links if "://" not in link]
    assert [link for link in local if not (document.parent / link).exists()] == []


def test_changelog_knows_this_version() -> None:
    headings = re.findall(r"^## \[?([\w.]+)\]?", (ROOT / "CHANGELOG.md").read_text(), flags=re.MULTILINE)
    assert headings and headings[0] == danlu.__version__


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: str(path.relative_to(ROOT)))
def test_anchors_are_headings(document: Path) -> None:
    """``page.md#a-heading``: as GitHub makes anchors of headings."""
    missing = []
    for page, anchor in re.findall(r"\]\(([^)#\s:]*)#([^)\s]+)\)", document.read_text(encoding="utf-8")):
        target = document.parent / page if page else document
        headings = re.findall(r"^#+ (.*)$", target.read_text(encoding="utf-8"), flags=re.MULTILINE)
        if anchor not in {re.sub(r"[^\w\- ]", "", h.lower()).replace(" ", "-") for h in headings}:
            missing.append(f"{page}#{anchor}")
    assert missing == []


def test_llms_txt_names_every_page_once() -> None:
    """https://llmstxt.org: a title, a summary, lists of links with a line on each. A new page gets a line."""
    text = (ROOT / "docs" / "llms.txt").read_text(encoding="utf-8")
    title, summary = re.match(r"# (.+)\n\n> (.+)\n", text).groups()  # type: ignore[union-attr]
    assert title == "danlu" and len(summary) > 100
    lines = [line for line in text.splitlines() if line.startswith("- ")]
    pages = [re.fullmatch(r"- \[[^\]]+\]\(([^)]+)\): \S.*", line) for line in lines]
    assert [line for line, page in zip(lines, pages, strict=True) if page is None] == []
    there = {path.relative_to(ROOT / "docs").as_posix() for path in (ROOT / "docs").glob("**/*.md")}
    assert sorted(page[1] for page in pages if page) == sorted(there | {"../README.md"})
