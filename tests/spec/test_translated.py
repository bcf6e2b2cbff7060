"""The Chinese statements of ideas and claims, and who gets to see them."""

from __future__ import annotations

import json
import re
import unicodedata
import warnings
from collections.abc import Mapping
from hashlib import sha256
from importlib import resources
from pathlib import Path

import pytest
from typer.testing import CliRunner

from danlu.cli.main import app
from danlu.draw.language import language
from danlu.files.errors import DanluError
from danlu.files.yaml import read_mapping
from danlu.lab.claims.page import page
from danlu.spec import catalog, translated
from tests.lab.claims.small import claim

CATALOG = resources.files("danlu") / "catalog"
HAN = "[一-鿿]"
SHELVES = ("ideas", "claims", "expect")


def english(shelf: str) -> dict[str, str]:
    folder, key = ("ideas", "expect") if shelf == "expect" else (shelf, "statement")
    written = {
        name: read_mapping(CATALOG / folder / f"{name}.yaml", name)
        for name in (entry.name.removesuffix(".yaml") for entry in (CATALOG / folder).iterdir())
    }
    return {name: " ".join(one[key].split()) for name, one in written.items() if one.get(key)}


@pytest.mark.parametrize("shelf", SHELVES)
def test_each_statement_has_its_chinese(shelf: str) -> None:
    """One that is missing, or that nothing is called any more, is a mistake; one that is behind is told."""
    said, entries = english(shelf), translated.entries()[shelf]
    assert sorted(set(said) ^ set(entries)) == [], "in danlu/catalog/zh.yaml: missing, or of nothing"
    assert list(entries) == sorted(entries)
    for name, statement in said.items():
        mark = sha256(statement.encode()).hexdigest()[:8]
        if entries[name]["of"] != mark:
            warnings.warn(f"zh.yaml: {shelf}: {name} is behind; of its English now: {mark}", stacklevel=1)


@pytest.mark.parametrize("shelf", SHELVES)
def test_they_are_chinese_and_set_as_chinese_is(shelf: str) -> None:
    """A space between Chinese and Latin letters or digits, signs as Chinese has them, and a full stop at the
    end where the English has one."""
    said = english(shelf)
    for name, entry in translated.entries()[shelf].items():
        text = entry["zh"]
        assert set(entry) == {"of", "zh"} and re.search(HAN, text), name
        assert not re.search(rf"{HAN}[A-Za-z0-9√]|[A-Za-z0-9%]{HAN}|{HAN}[,;:.?!]|  |\s$", text), name
        if entry["of"] == translated.mark(said[name]):
            assert text.endswith("。") == said[name].endswith("."), name


NUMBER = re.compile(r"\d+(?:[.,]\d+)*")


@pytest.mark.parametrize("shelf", SHELVES)
def test_their_numbers_are_those_of_the_english(shelf: str) -> None:
    """What the English has in digits the Chinese has, too; it may write words of the English in digits."""
    said = english(shelf)
    for name, entry in translated.entries()[shelf].items():
        if entry["of"] == translated.mark(said[name]):
            missing = set(NUMBER.findall(said[name])) - set(NUMBER.findall(entry["zh"]))
            assert not missing, name


@pytest.mark.parametrize(
    ("environment", "expected"),
    [
        ({}, "en"),
        ({"LANG": "C"}, "en"),
        ({"LANG": "POSIX"}, "en"),
        ({"LANG": "zh_CN.UTF-8"}, "zh"),
        ({"LANG": "zh"}, "zh"),
        ({"LANG": "de_DE.UTF-8"}, "en"),
        ({"LC_MESSAGES": "zh_CN.UTF-8", "LANG": "C"}, "zh"),
        ({"LC_ALL": "C", "LC_MESSAGES": "zh_CN.UTF-8", "LANG": "zh_CN.UTF-8"}, "en"),
        ({"LC_ALL": "", "LANG": "zh_TW.UTF-8"}, "zh"),
        ({"DANLU_LANG": "en", "LC_ALL": "zh_CN.UTF-8"}, "en"),
        ({"DANLU_LANG": "zh", "LC_ALL": "C"}, "zh"),
        ({"DANLU_LANG": "", "LANG": "zh_CN.UTF-8"}, "zh"),
    ],
)
def test_the_language(environment: Mapping[str, str], expected: str, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("DANLU_LANG", "LC_ALL", "LC_MESSAGES", "LANG"):
        monkeypatch.delenv(name, raising=False)
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    assert language() == expected


def test_another_language_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DANLU_LANG", "fr")
    with pytest.raises(DanluError, match="DANLU_LANG = 'fr' is no language of danlu; allowed: zh, en"):
        language()


def test_english_where_there_is_no_chinese_of_it() -> None:
    lion = catalog.idea("lion").statement
    chinese = translated.entries()["ideas"]["lion"]["zh"]
    assert translated.statement("ideas", "lion", lion, "zh") == chinese
    assert translated.statement("ideas", "lion", lion.replace(" ", "\n "), "zh") == chinese  # other lines
    assert translated.statement("ideas", "lion", lion, "en") == lion
    assert translated.statement("ideas", "lion", "Lion is a cat", "zh") == "Lion is a cat"
    assert translated.statement("ideas", "my-own", lion, "zh") == lion
    assert translated.statement("ideas", "my-own", "", "zh") == ""


def danlu(*words: str) -> str:
    done = CliRunner().invoke(app, list(words), catch_exceptions=False, standalone_mode=False)
    assert done.exception is None
    return done.stdout


def width(text: str) -> int:
    """Cells of a terminal by Unicode's own table: wide and full-width letters take two."""
    return sum(2 if unicodedata.east_asian_width(letter) in "WF" else 1 for letter in text)


def columns(lines: list[str], texts: list[str]) -> set[int]:
    return {width(line[: line.index(text)]) for line, text in zip(lines, texts, strict=True)}


def test_lists_in_chinese(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DANLU_LANG", "zh")
    entries = translated.entries()
    listed = [line for line in danlu("ideas").splitlines() if line.startswith("  +")]
    texts = [entries["ideas"][line.split()[0].removeprefix("+")]["zh"] for line in listed]
    assert len(listed) == len(entries["ideas"]) and len(columns(listed, texts)) == 1
    proved = [line for line in danlu("prove", "--list").splitlines() if line.split()[0] in entries["claims"]]
    texts = [entries["claims"][line.split()[0]]["zh"] for line in proved]
    assert len(proved) == len(entries["claims"]) and len(columns(proved, texts)) == 1
    assert danlu("ideas", "lion").splitlines()[0] == f"+lion  {entries['ideas']['lion']['zh']}"


def test_json_has_both_in_every_language(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    own = tmp_path / "own.yaml"
    own.write_text("statement: A rate\npatch: {optimizer.lr: 0.01}\n")
    for lang in ("zh", "en"):
        monkeypatch.setenv("DANLU_LANG", lang)
        one, mine = json.loads(danlu("ideas", "lion", str(own), "--json"))
        (proved,) = json.loads(danlu("prove", "adam-beats-sgd", "--list", "--json"))
        assert one["statement"] == catalog.idea("lion").statement
        assert one["statement_zh"] == translated.entries()["ideas"]["lion"]["zh"]
        assert (mine["statement"], mine["statement_zh"]) == ("A rate", None)
        assert proved["statement"].startswith("Adam ends far lower")
        assert proved["statement_zh"] == translated.entries()["claims"]["adam-beats-sgd"]["zh"]


def test_the_book_in_chinese() -> None:
    entry = translated.entries()["claims"]["adam-beats-sgd"]
    written = read_mapping(CATALOG / "claims" / "adam-beats-sgd.yaml", "claim")["statement"]
    claims = {"adam-beats-sgd": claim(statement=written), "own": claim()}
    plain, chinese = page(claims, {}), page(claims, {}, "zh")
    assert f"\n{written}.\n" in plain and entry["zh"] not in plain
    assert f"\n{entry['zh']}。\n" in chinese and written not in chinese
    assert f"\n{claims['own'].statement}.\n" in chinese
    assert chinese.replace(f"{entry['zh']}。", f"{written}.").replace(entry["zh"], written) == plain
