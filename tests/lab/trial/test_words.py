"""A study in sentences, and the commands that they propose."""

from __future__ import annotations

import math
import shlex
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from danlu.cli.main import main
from danlu.lab import trial
from danlu.lab.errors import LabError
from danlu.lab.regime import Regime
from danlu.lab.study import Study
from danlu.lab.trial import Answer, Finding, Question
from danlu.lab.trial.cost import Cost, about, planned
from danlu.lab.trial.findings import At, find
from danlu.lab.trial.question import label
from danlu.lab.trial.terminal import STRIP, strip
from danlu.lab.trial.words import answered
from tests.lab.trial.cases import pairs

BETTER, NONE = [-0.05, -0.04, -0.06, -0.05, -0.05], [0.01, -0.02, 0.015, 0.001, -0.01]
REGIME = Regime(20.0, 2100, 1.5, 0.02, True, True)


def finding(differences: list[float], at: At = "steps", void: str = "", **more: Any) -> Finding:
    said = {"steps": (2100, 2100), "regime": REGIME, "note": void, **more}
    (found,) = find([pairs(differences, at=at)], False, {("+idea", at): said}, {"+idea"} if void else ())
    return found


def answer(*findings: Finding, **question: Any) -> Answer:
    asked = Question(("idea",), **question)
    return Answer(asked, Study(Path("nowhere")), 2100, findings, None, {}, ())  # type: ignore[arg-type]


def told(*findings: Finding, **question: Any) -> list[str]:
    return answered(answer(*findings, **question))


def test_the_answer_is_one_sentence_and_equal_runs_are_named_once() -> None:
    sentence, regime, following = told(
        finding(BETTER), finding(BETTER, "flops"), finding([-x for x in BETTER], "time")
    )
    assert sentence == (
        "+idea on bed: better at equal steps and FLOPs, by 0.0500 bits/byte (2.0000 → 1.9500); "
        "worse at equal active time, by 0.0500 bits/byte (2.0000 → 2.0500)."
    )
    assert regime.startswith("  regime: 20 tokens per parameter, 2,100 updates, 1.50 bits below chance")
    assert following == "  next: does it hold in larger models? danlu try idea --across-scale"


def test_ends_of_an_interval_beyond_the_strip_are_told() -> None:
    shown = finding([-0.05, 0.06])
    low, high = shown.interval.low, shown.interval.high
    assert low < -0.5 and high > -low  # of two pairs it is far wider than they are
    whole, one, both = (strip(shown, reach) for reach in (high, 0.999 * high, 0.1))
    assert not {"<", ">"} & {*whole} and one[-1] == both[-1] == ">" and one[0] != "<" and both[0] == "<"
    assert {len(whole), len(one), len(both)} == {STRIP}


@pytest.mark.parametrize(("on", "told_of"), [
    ("bed", True), ("nano train.steps=100", True), ("tiny", False), ("digits", False),
    ("siren-photograph", False), ("flow-8gaussians", False), ("bed train.steps=null train.seconds=60", False),
])  # fmt: skip
def test_larger_models_are_proposed_where_they_are_made(on: str, told_of: bool) -> None:
    assert any("--across-scale" in line for line in told(finding(BETTER), on=on)) is told_of


def test_where_nothing_is_shown_it_says_what_would_have_been() -> None:
    """Half of the interval; and how many pairs would decide."""
    shown = finding(NONE)
    sentence, *_ = told(shown)
    mean, half = shown.interval.value, (shown.interval.high - shown.interval.low) / 2
    assert sentence == (
        f"+idea on bed: not shown at equal steps (a difference of {mean:+.4f} bits/byte; 5 pairs "
        f"show one of {half:.4f} or more)."
    )
    near = finding([-0.05, -0.01, -0.03, -0.005, 0.01])
    assert near.more is not None
    assert f"danlu try idea --seeds {5 + near.more}" in "\n".join(told(near))
    assert "takes more pairs" in told(finding([0.01]))[0]


@pytest.mark.parametrize(
    ("change", "proposed"),
    [
        (
            {"tokens_per_parameter": 5.0},
            ["in runs that are long enough: danlu try idea --budget '8400 steps'"],
        ),
        ({"updates": 525}, ["in runs that are long enough: danlu try idea --budget '8000 steps'"]),
        ({"tuned": False}, ["each side at its own best rate: danlu try idea"]),
        (
            {"updates": 525, "tuned": False},
            [
                "in runs that are long enough, each side at its own best rate: "
                "danlu try idea --budget '8000 steps'"
            ],
        ),
        ({"bits_below_chance": 0.1}, []),
    ],
)
def test_an_early_verdict_says_why_and_what_helps(change: dict[str, Any], proposed: list[str]) -> None:
    early = replace(REGIME, **change)
    sentence, regime, why, *following = told(
        finding(BETTER, regime=early), tune=None if "tuned" in change else "lr"
    )
    assert "better (early) at equal steps" in sentence and "enough to speak" not in regime
    assert why.endswith(early.early[-1]) and following == [f"  next: {line}" for line in proposed]


def test_void_not_measured_and_diverged() -> None:
    (sentence, following) = told(finding([], void="bed: optimizer.lr is untuned: it falls", regime=None))
    assert sentence == "+idea on bed: void, since bed: optimizer.lr is untuned: it falls."
    assert following.endswith("danlu try idea --tune none")
    *_, again, _ = told(finding(BETTER), finding([], "time", regime=None))
    assert again == "  next: equal time, when nothing else runs on this machine: danlu try idea"
    lost = told(finding([math.nan] * 3))[0]
    assert lost == "+idea on bed: worse at equal steps, as the idea diverged with each of 3 seeds."


@pytest.mark.parametrize(
    "question",
    [
        Question(("qk-norm",)),
        Question(("qk-norm+swiglu", "optimizer.beta2=0.99 schedule=constant"), "nano layers=2", 7),
        Question(("lion",), budget="500 steps", tune=None, stop_early=True),
    ],
)
def test_a_command_asks_the_question(question: Question, monkeypatch: pytest.MonkeyPatch) -> None:
    class Asked(Exception):
        pass

    def ask(given: Question, *_: Any, **__: Any) -> None:
        raise Asked(given)

    monkeypatch.setattr(trial, "try_ideas", ask)
    with pytest.raises(Asked) as asked:
        main(shlex.split(question.command())[1:])
    assert asked.value.args == (question,)


def test_what_is_planned() -> None:
    assert planned(Question(("a",))) == (20, 10, 10)
    assert planned(Question(("a", "b"), seeds=3, tune=None)) == (0, 9, 12)
    # 35 runs of 2,100 updates of 7 ms, two at a time: 18 rounds of 17 s, and the timing.
    assert about(Question(("a",)), 2100, 0.007, 2).startswith("about 5 minutes on 2 cores")
    assert about(Question(("a",), tune=None), 10, 0.001, 2).startswith("about 20 seconds")  # the timing


def test_a_slip_in_the_budget_is_refused() -> None:
    with pytest.raises(LabError, match="a number alone is of tokens"):
        about(Question(("a",), budget="1e13"), 10**10, 0.007, 2)


def test_a_plus_before_an_idea_is_no_other_question() -> None:
    assert Question(("+qk-norm", " swiglu")).name == Question(("qk-norm", "swiglu")).name


def test_a_long_baseline_is_said_once() -> None:
    assert label("bed train.batch=8") == "bed train.batch=8"
    assert label("nano model.width=16 model.layers=1 data.context=16") == "nano …"


def test_the_cost_is_of_all_runs() -> None:
    assert Cost.of([]) == Cost(0, 0, 0.0, 0.0)


def test_one_pair_proposes_more_in_every_command() -> None:
    lines = told(finding([-0.05]), seeds=1, tune=None)
    assert "  next: one pair decides nothing; with 5: danlu try idea --tune none" in lines
    assert not any("--seeds" in line for line in lines)
