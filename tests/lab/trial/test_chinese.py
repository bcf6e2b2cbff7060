"""The answer of a trial in Chinese says what the English one does: the same numbers, commands and order; and
no page is mixed."""

from __future__ import annotations

import re
from dataclasses import replace

import pytest

from danlu.draw import page
from danlu.draw.phrases import chinese
from danlu.lab.regime import REASONS, Regime
from danlu.lab.statistics import Interval
from danlu.lab.statistics.multiverse import Reading
from danlu.lab.trial import Finding
from danlu.lab.trial.cost import Cost
from danlu.lab.trial.lengths import at_equal_flops, at_equal_time
from danlu.lab.trial.sides import Side
from danlu.lab.trial.terminal import details
from danlu.lab.trial.timing import Ratio
from danlu.lab.trial.words import answered
from danlu.spec import resolve
from tests.chinese import left, numbers
from tests.lab.trial.test_words import BETTER, NONE, REGIME, answer, finding

NAMES = ("+idea", "bed", "optimizer.lr", "bits/byte", "nowhere")
SHORT = Regime(1.7, 60, 0.25, 0.1, False, False)
OTHER = [
    *(Reading(f"without the pair of seed {seed}", "not shown") for seed in range(3)),
    Reading("in pairs", "better"),
]
TUNED = {
    "baseline": {"field": "optimizer.lr", "value": 0.004, "interval": [0.003, None], "why": "", "trials": 10},
    "variant": {"field": "optimizer.lr", "value": 0.01, "interval": [None, 0.2], "why": "x", "trials": 14},
}
SIDE = Side("bed", resolve("bed"))
NOTES = [
    at_equal_flops(SIDE, SIDE).note,
    *(
        at_equal_time(SIDE, Ratio(Interval(*ends), why)).note
        for ends, why in (
            ((1.0, 1.0, 1.0), "an update costs the same by construction, only optimizer.beta2 differs"),
            ((1.0, 0.999, 1.001), "20 pairs, timed in turns"),
            ((1.2, 1.17, 1.21), "20 pairs, timed in turns"),
            ((1.01, 0.98, 1.05), "20 pairs, timed in turns"),
            (
                (float("nan"),) * 3,
                "time cannot be measured here now: timings of the same scatter by more than 2%",
            ),
        )
    ),
]
CASES: dict[str, list[Finding]] = {
    "better, worse": [finding(BETTER), finding([-x for x in BETTER], "time")],
    "not shown": [finding(NONE)],
    "at equal FLOPs": [finding(NONE), finding(BETTER, "flops", note=NOTES[0])],
    "one pair": [finding([0.01])],
    "void": [finding(BETTER, void="bed: optimizer.lr is untuned: every run diverged")],
    "early": [finding(BETTER, regime=SHORT), finding(BETTER, "flops", regime=SHORT)],
    "above chance": [finding(NONE, regime=replace(SHORT, bits_below_chance=-0.5))],
    "cost": [finding(NONE, cost=Cost(34, 24, 4000.0, 1.9e12))],
    "cost of minutes": [finding(NONE, cost=Cost(4, 0, 60.0, 1.9e12))],
    "diverged": [finding([float("nan")] * 3)],
    "other analyses": [replace(finding(BETTER), readings=OTHER)],
    "tuned": [finding(BETTER, tuned=TUNED)],
    **{f"note {i}": [finding(BETTER, "time", void="", note=note)] for i, note in enumerate(NOTES)},
}


@pytest.mark.parametrize("name", CASES)
def test_every_line_has_the_numbers_of_the_english_one(name: str) -> None:
    of = replace(
        answer(*CASES[name], seeds=1 if name == "one pair" else 5), metrics=SIDE.experiment.objective.metrics
    )
    english = [*answered(of), of.what, *details(of)]
    said = list(map(chinese, english))
    assert [numbers(line) for line in said] == [numbers(line) for line in english]
    commands = [re.findall(r"danlu try [^：]*$", line) for line in english]
    assert [re.findall(r"danlu try [^：]*$", line) for line in said] == commands
    assert left(said, NAMES) == []


def test_each_reason_for_early_has_its_chinese() -> None:
    for english in REASONS.values():
        made = english.format(*(7, 8)[: english.count("{")])
        assert chinese(made) != made and left([chinese(made)]) == []


def test_an_early_verdict_is_never_without_that_word() -> None:
    early, late = (chinese(answered(answer(finding(BETTER, regime=of)))[0]) for of in (SHORT, REGIME))
    assert "更好（早期）" in early and "更好" in late and "早期" not in late


def test_a_page_says_its_language(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of a page that is told none it is that of who asks."""
    assert '<html lang="zh-CN">' in page("试验", [], "zh")
    assert '<html lang="en">' in page("trial", [], "en")
    monkeypatch.setenv("DANLU_LANG", "zh")
    assert '<html lang="zh-CN">' in page("trial", [])
