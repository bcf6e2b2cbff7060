"""Laws in Chinese: every formula's words, and the page and the words of a fit."""

from __future__ import annotations

import numpy as np
import pytest

from danlu import laws
from danlu.draw.phrases import chinese
from danlu.laws.answer import answer
from danlu.laws.base import LAWS
from danlu.laws.report import html
from tests.chinese import left, numbers, texts

NAMES = (
    "ln x",
    "ln loss",
    "chinchilla",
    "data-constrained",
    "places.csv",
    "nats/token·parameters^α",
    "nats/token·tokens^β",
    "Huber",
)


@pytest.mark.parametrize("name", LAWS)
def test_every_law_has_its_chinese(name: str) -> None:
    law = LAWS[name]
    for said in (law.title, law.text, *(parameter.meaning for parameter in law.parameters)):
        assert chinese(said) != said and left([chinese(said)], NAMES) == []
        assert numbers(chinese(said)) == numbers(said)


@pytest.mark.parametrize("wrong", [1.0, 1.1], ids=["sound", "four rows are off"])
def test_the_page_of_a_fit_is_not_mixed(wrong: float) -> None:
    random = np.random.default_rng(0)
    n, ratio = (grid.ravel() for grid in np.meshgrid(np.geomspace(2e7, 2e9, 8), [2, 5, 10, 20, 40, 80, 160]))
    loss = 1.69 + 406.4 / n**0.339 + 410.7 / (n * ratio) ** 0.285
    loss *= np.where((ratio == 2) & (n > 4e8), wrong, 1.0) * np.exp(0.002 * random.standard_normal(n.size))
    found = answer(laws.law("chinchilla"), laws.Points(n=n, d=n * ratio, loss=loss), resamples=10)
    page, english = html(found, "places.csv", "zh"), html(found, "places.csv", "en")
    assert '<html lang="zh-CN">' in page
    paper = (found.fit.law.paper, found.fit.law.formula)
    assert left(texts(page), (*NAMES, *paper)) == [] and left(texts(english), NAMES) != []
