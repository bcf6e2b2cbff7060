"""What is said in Chinese: the table is sound, places are filled, the seams are set as Chinese is."""

from __future__ import annotations

import re
from importlib import resources

import pytest

from danlu.draw import phrases
from danlu.draw.phrases import chinese, english, words
from danlu.draw.xml import cut, letters
from danlu.files.yaml import read_mapping

SHELVES = read_mapping(resources.files("danlu") / "catalog" / phrases.FILE, phrases.FILE)
EVERY = [pair for table in SHELVES.values() for pair in table.items()]
HAN = "[\u4e00-\u9fff]"


def test_each_phrase_has_the_places_of_its_english_once() -> None:
    for said, zh in EVERY:
        places = phrases.PLACE.findall(said)
        names = [name for name, _ in places]
        assert sorted(names) == sorted({*names}) == sorted(re.findall(r"\{(\w+)\}", zh)), said
        kinds = {kind.removeprefix("~") for _, kind in places}
        assert kinds <= {"", "=", "#", "?", *(f"@{shelf}" for shelf in SHELVES), *phrases.BETWEEN}, said
        assert not said.endswith(".") and said == said.strip(), "a stop and space are known by themselves"


def test_each_is_set_as_chinese_is() -> None:
    """A space between Chinese and Latin letters or digits, and Chinese signs after Chinese."""
    for said, zh in EVERY:
        assert (
            re.search(rf"{HAN}|[（：，；]", zh)
            or re.fullmatch(r"(\{\w+\}|\W)+", zh)
            or zh == phrases.PLACE.sub(r"{\1}", said)
        ), said
        assert not re.search(rf"{HAN}[A-Za-z0-9]|[A-Za-z0-9%]{HAN}|{HAN}[,;:.?!]", zh), zh


def test_no_phrase_stands_twice() -> None:
    said = [one for one, _ in EVERY]
    assert [one for one in said if said.count(one) > 1] == []


def table(monkeypatch: pytest.MonkeyPatch, **said: str) -> None:
    made = [phrases._Phrase.of("", one, zh) for one, zh in said.items() if "{" in one]
    exact = {one: ("", zh) for one, zh in said.items() if "{" not in one}
    monkeypatch.setattr(phrases, "_table", lambda: (exact, made))
    for cached in (phrases.chinese, phrases._phrase):
        cached.cache_clear()


@pytest.fixture(autouse=True)
def _fresh() -> object:
    yield
    for cached in (phrases.chinese, phrases._phrase):
        cached.cache_clear()


def test_places(monkeypatch: pytest.MonkeyPatch) -> None:
    table(monkeypatch, **{
        "better": "更好", "{a}: {n:#} runs": "{a}：{n} 次", "on {name:=}": "在 {name} 上",
        "all of {of:; }": "全部{of}", "({a}; {b})": "（{a}；{b}）", "any of {of:~, }": "任意{of}",
        "note: {what:?}": "注意：{what}",
    })  # fmt: skip
    assert chinese("better: 1,200 runs") == "更好：1,200 次"
    assert chinese("better: many runs") == "better: many runs"  # no number
    assert chinese("worse: 3 runs") == "worse: 3 runs"  # no phrase, where one must be
    assert chinese("on bed") == "在 bed 上" and chinese("on 试验") == "在试验上"
    assert chinese("all of better; on a.") == "全部更好；在 a 上。"
    assert (
        chinese("all of better; (better; on a)") == "全部更好；（更好；在 a 上）"
    )  # not split within brackets
    assert chinese("any of better, x") == "任意更好、x"
    assert chinese("note: better. On and on.") == "注意：更好。On and on。"
    assert chinese("  better\n\n   on x") == "  更好\n\n   在 x 上"
    assert chinese("on a: b") == "on a: b"  # what is no name is none


def test_no_list_is_too_long() -> None:
    """Each part may be a phrase, and so may the rest: as deep as a text has parts."""
    for between in (", ", "; "):
        said = between.join(["better"] * 5000)
        assert chinese(said) == said
    assert chinese("; ".join(["better"] * 9)) == "；".join(["更好"] * 9)


def test_a_language_without_a_table_changes_nothing() -> None:
    assert words("en") is english and english("better") == "better"
    assert words("zh")("better") == "更好" and words("zh")("<b>更好</b>") == "<b>更好</b>"


def test_chinese_letters_are_twice_as_wide() -> None:
    assert letters("abc") == 3 and letters("更好 ok") == 7 and letters("（早期）") == 8
    assert cut("更好更好更好", 8) == "更好更…" and letters(cut("更好更好更好", 8)) <= 8
    assert cut("abcdefgh", 5) == "abcd…" and cut("更好", 4) == "更好"
