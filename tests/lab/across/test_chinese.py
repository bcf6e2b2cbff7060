"""The answer over sizes in Chinese, and its page."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest

from danlu.draw.phrases import chinese
from danlu.lab.across.answer import Across, Look
from danlu.lab.across.report import report
from danlu.lab.across.terminal import details, sentence, table
from tests.chinese import left, numbers, texts
from tests.lab.across.cases import across, scaled

NAMES = ("swiglu", "qk-norm", "bed", "nowhere")
CASES: dict[str, Across] = {
    "better": across(scaled(-0.1, -0.1, -0.1, -0.1)),
    "worse": across(scaled(0.1, 0.1, 0.1, 0.1)),
    "fades": across(scaled(-0.2, -0.12, -0.06, 0.0)),
    "equivalent": across(scaled(0.0, 0.0, 0.0, 0.0, noise=1e-5)),
    "two rungs": across(scaled(-0.1, 0.02), before=(Look(2, 3), Look(3, 3))),
    "one rung": across(scaled(-0.1)),
    "void": across(
        scaled(-0.1, -0.1, verdict="void", why="bed: optimizer.lr is untuned: every run diverged")
    ),
    "a side diverged": across(scaled(-0.1, math.nan, -0.1)),
    "all diverged": across(scaled(-0.1, -0.1, math.nan)),
    "stopped": across(
        replace(scaled(-0.1, -0.1, -0.1), stopped=0), replace(scaled(0.1, 0.1), idea="+qk-norm")
    ),
}


def said(answer: Across) -> list[str]:
    rows = [" | ".join(row) for row in table(answer)]
    return [*(sentence(idea, answer) for idea in answer.ideas), *details(answer), *rows]


@pytest.mark.parametrize("name", CASES)
def test_it_has_the_numbers_of_the_english_and_no_english(name: str) -> None:
    english = said(CASES[name])
    zh = [" | ".join(map(chinese, line.split(" | "))) for line in english]
    assert [numbers(line) for line in zh] == [numbers(line) for line in english]
    assert left(zh, NAMES) == []


@pytest.mark.parametrize("name", CASES)
def test_no_page_is_mixed(name: str) -> None:
    answer = CASES[name]
    page = report(answer, "zh")
    assert '<html lang="zh-CN">' in page and left(texts(page), NAMES) == []
    assert left(texts(report(answer, "en")), NAMES) != []
