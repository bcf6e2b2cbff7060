"""A Chinese page has the code and the shape of the English page that it was made from."""

from __future__ import annotations

import re
import warnings
from pathlib import Path

import pytest

from tests.conftest import ROOT
from tests.house import translations

each = pytest.mark.parametrize("page", translations.PAGES, ids=lambda path: str(path.relative_to(ROOT)))


def test_there_are_pages() -> None:
    assert len(translations.PAGES) >= 8


@each
def test_it_has_one_source_and_links_to_it(page: Path) -> None:
    """Its first line leads to the English page; a README's first line leads back."""
    english = translations.source(page)
    first = page.read_text(encoding="utf-8").splitlines()[0]
    (link,) = re.findall(r"^\[English\]\((\S+)\) \| 简体中文$", first)
    assert (page.parent / link).resolve() == english
    if page.parent == ROOT:
        assert english.read_text(encoding="utf-8").startswith(f"English | [简体中文]({page.name})\n")


@each
def test_its_code_is_that_of_the_english_page(page: Path) -> None:
    """Only the English code is run by tests. Who edits it copies the block into the translation."""
    english = translations.source(page)
    told = f"copy the code blocks of {english.relative_to(ROOT)} into {page.relative_to(ROOT)} as they are"
    assert translations.blocks(page) == translations.blocks(english), told


@each
def test_it_leaves_nothing_out(page: Path) -> None:
    """As long as its source is what it was made from: the same names in `code`, headings, items and rows."""
    english = translations.source(page)
    if translations.is_behind(page):
        behind, ahead = page.relative_to(ROOT), english.relative_to(ROOT)
        command = f"python -m tests.house.translations {behind}"
        told = f"{behind} is behind {ahead}: translate what changed, then {command}"
        warnings.warn(told, stacklevel=1)
        return
    assert translations.shape(page) == translations.shape(english)
    assert translations.spans(page) == translations.spans(english)


@each
def test_it_links_to_chinese_pages_where_there_are_any(page: Path) -> None:
    """But for its first line. That links lead somewhere is a test of all documents."""
    translated = {translations.source(other): other for other in translations.PAGES}
    text = page.read_text(encoding="utf-8").split("\n", 1)[1]
    links = [link for link in re.findall(r"\]\(([^)#\s]+)[^)]*\)", text) if "://" not in link]
    assert [link for link in links if (page.parent / link).resolve() in translated] == []


@each
def test_chinese_and_latin_are_apart(page: Path) -> None:
    """A space stands between a Chinese character and a Latin letter or a digit, code and links aside."""
    text = re.sub(r"`[^`]*`|\]\([^)]*\)", "]", translations.FENCED.sub("", page.read_text(encoding="utf-8")))
    assert re.findall(r".?[\u4e00-\u9fff][A-Za-z0-9].?|.?[A-Za-z0-9][\u4e00-\u9fff].?", text) == []


def test_a_changed_source_is_seen(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(translations, "ROOT", tmp_path)
    english, page = tmp_path / "a.md", tmp_path / "a.zh.md"
    english.write_text("one\n", encoding="utf-8")
    page.write_text("<!-- from a.md, sha256 000000000000 -->\n一\n", encoding="utf-8")
    assert translations.is_behind(page)
    translations.mark(page)
    assert not translations.is_behind(page)
    english.write_text("two\n", encoding="utf-8")
    assert translations.is_behind(page)
    assert page.read_text(encoding="utf-8").endswith("-->\n一\n")
