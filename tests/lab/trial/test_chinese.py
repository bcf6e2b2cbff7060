"""The answer in Chinese says what the English one does: the same numbers, commands and order."""

from __future__ import annotations

import re
from dataclasses import replace
from typing import Any

import pytest

from danlu.draw import page
from danlu.lab import regime
from danlu.lab.regime import Regime
from danlu.lab.statistics import Verdict
from danlu.lab.trial import Finding, chinese
from danlu.lab.trial.answer import EQUAL
from danlu.lab.trial.chinese import CHINESE
from danlu.lab.trial.cost import Cost
from danlu.lab.trial.terminal import answered
from danlu.lab.trial.words import ENGLISH
from tests.lab.trial.test_words import BETTER, NONE, REGIME, answer, finding

NUMBER = re.compile(r"[+-]?\d[\d,]*(?:\.\d+)?(?:e\d+)?%?")
SHORT = Regime(1.7, 60, 0.25, 0.1, False, False)
CASES: dict[str, list[Finding]] = {
    "better, worse": [finding(BETTER), finding([-x for x in BETTER], "time")],
    "not shown": [finding(NONE)],
    "one pair": [finding([0.01])],
    "void": [finding(BETTER, void="3 of 5")],
    "early": [finding(BETTER, regime=SHORT), finding(BETTER, "flops", regime=SHORT)],
    "above chance": [finding(NONE, regime=replace(SHORT, bits_below_chance=-0.5))],
    "cost": [finding(NONE, cost=Cost(34, 24, 4000.0, 1.9e12))],
    "cost of minutes": [finding(NONE, cost=Cost(4, 0, 60.0, 1.9e12))],
}


def numbers(text: str) -> list[str]:
    return sorted(NUMBER.findall(text))


@pytest.mark.parametrize("name", CASES)
def test_every_line_has_the_numbers_of_the_english_one(name: str) -> None:
    of = answer(*CASES[name])
    english, said = (answered(of, language) for language in ("en", "zh"))
    assert [numbers(line) for line in said] == [numbers(line) for line in english]
    commands = [re.findall(r"danlu try [^：]*$", line) for line in english]
    assert [re.findall(r"danlu try [^：]*$", line) for line in said] == commands
    assert all(re.search(r"[\u4e00-\u9fff]", line) for line in said)


def test_there_is_chinese_for_all_that_can_be_said() -> None:
    said: Any = Verdict
    assert set(chinese.VERDICTS) == {*said.__args__, "void", "not measured"}
    assert CHINESE.following.keys() == ENGLISH.following.keys()
    assert CHINESE.reasons.keys() == ENGLISH.reasons.keys() == regime.REASONS.keys()
    assert CHINESE.equal.keys() == ENGLISH.equal.keys() == EQUAL.keys()
    assert numbers(CHINESE.reasons["tokens"]) == numbers(regime.REASONS["tokens"])


def test_an_early_verdict_is_never_without_that_word() -> None:
    early, late = (answered(answer(finding(BETTER, regime=of)), "zh")[0] for of in (SHORT, REGIME))
    assert "更好（早期）" in early and "更好" in late and "早期" not in late


def test_a_page_says_its_language() -> None:
    assert '<html lang="zh-CN">' in page("试验", [], "zh")
    assert '<html lang="en">' in page("trial", [])
