"""Pages of ``--report`` and of a ladder in a real browser: wide, and as narrow as a phone."""

from __future__ import annotations

import csv
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from danlu.cli.main import main
from danlu.lab.ladder import Ladder, climb
from danlu.laws.formulas.chinchilla import CHINCHILLA
from tests.lab.ladder.test_law import chinchilla, power
from tests.lab.ladder.worlds import World
from tests.train import small
from tests.watch import browser as real
from tests.watch.browser import Browser

pytestmark = [pytest.mark.slow, pytest.mark.skipif(not real.THERE, reason=real.WHY)]

PAGES = ("fit", "isoflop", "envelope", "chain", "plan", "ladder", "profiles")


def danlu(*words: object) -> None:
    with pytest.raises(SystemExit) as left:
        main([str(word) for word in words])
    assert not left.value.code


def written(path: Path, **columns: Any) -> None:
    with path.open("w", newline="") as file:
        table = csv.writer(file)
        table.writerow(columns)
        table.writerows(zip(*columns.values(), strict=True))


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """All pages, of points of Chinchilla's law; four rows of the first are off, so that the audit has much to
    say."""
    here = tmp_path_factory.mktemp("reports")
    draw, theta = np.random.default_rng(0), CHINCHILLA.theta("besiroglu")
    budget, share = (
        axis.ravel() for axis in np.meshgrid(np.geomspace(1e18, 1e20, 5), np.geomspace(0.2, 5, 7))
    )
    n = 0.08 * budget**0.5 * share
    d = budget / (6 * n)
    loss = CHINCHILLA.predict(theta, {"n": n, "d": d}) * np.exp(0.002 * draw.standard_normal(n.size))
    accuracy = 0.25 + 0.7 / (1 + np.exp(4 * (loss - 2.8)))
    written(here / "tasks.csv", n=n, d=d, loss=loss, accuracy=accuracy)
    loss[np.argsort(d / n)[:4]] *= 1.15
    written(here / "points.csv", n=n, d=d, loss=loss, a_long_name_of_a_column_that_says_the_run=range(n.size))
    size = np.repeat(np.geomspace(2e7, 5e8, 6), 15)
    seen = size * np.tile(np.geomspace(1, 100, 15), 6)
    curve = CHINCHILLA.predict(theta, {"n": size, "d": seen}) * np.exp(
        0.002 * draw.standard_normal(size.size)
    )
    written(here / "curves.csv", n=size, d=seen, loss=curve, run=[f"run-{one:.0f}" for one in size])

    few = "--resamples", 20
    danlu("laws", "fit", here / "points.csv", *few, "--report", here / "fit.html")
    danlu("laws", "isoflop", here / "tasks.csv", *few, "--report", here / "isoflop.html")
    danlu("laws", "envelope", here / "curves.csv", "--run", "run", *few, "--report", here / "envelope.html")
    at = "--at", "n=1e9,d=2e10", "--report", here / "chain.html"
    danlu("laws", "chain", here / "tasks.csv", "--column", "accuracy=accuracy", *few, *at)
    published = "--published", "--report", here / "plan.html"
    danlu("laws", "plan", "--flops", 1e22, "--price", 2, "--serve", 1e12, *published)
    corpus = f"data.corpus={small.corpus(here)}"
    for name, design, law in (("ladder", "chinchilla", power), ("profiles", "isoflop", chinchilla)):
        asked = Ladder(("nano", corpus), budget="1e15flop", rungs=5, design=design, tokens_per_parameter=10.0)
        climb(asked, here / "studies", name=name, queue_of=World(law, noise=0.005))
        (here / f"{name}.html").write_bytes((here / "studies" / name / "report.html").read_bytes())
    return here


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    found = Browser()
    yield found
    found.close()


@pytest.mark.parametrize("width", [320, 1200])
def test_nothing_is_wider_than_the_page_and_nothing_is_complained_of(
    folder: Path, browser: Browser, width: int
) -> None:
    browser.width(width)
    browser.log()
    for name in PAGES:
        browser.go((folder / f"{name}.html").as_uri())
        browser.until(lambda: browser.js("document.readyState") == "complete", "the page is loaded")
        assert browser.js("document.querySelectorAll('svg').length") > 0, name
        assert browser.js("document.documentElement.scrollWidth") <= width, name
        assert browser.log() == [], name
