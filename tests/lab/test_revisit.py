"""What is due is what the rules say."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from danlu.files.errors import FileError
from danlu.files.json import write_json
from danlu.lab.conditions import condition, version
from danlu.lab.errors import LabError
from danlu.lab.revisit import due, of_run
from tests.lab.ledger.entries import EARLY, IN_REGIME, entry
from tests.lab.summaries import summary


@pytest.mark.parametrize(
    ("text", "facts", "true"),
    [
        ("parameters > 1M", {"parameters": 1_000_001}, True), ("parameters > 1M", {"parameters": 1e6}, False),
        ("steps>=5k", {"steps": 5000}, True), ("seconds < 1.5", {"seconds": 2.0}, False),
        ("flops <= 1e15", {"flops": 1e15}, True), ("steps > 10", {}, False),
        ("danlu > 0.3", {"danlu": "0.10.0"}, True), ("danlu > 0.3", {"danlu": "0.3.0"}, False),
        ("torch >= 2.13", {"torch": "2.13.1+cpu"}, True),
    ],
)  # fmt: skip
def test_conditions(text: str, facts: dict[str, Any], true: bool) -> None:
    found = condition(text)
    assert found is not None and found.holds(facts) is true


@pytest.mark.parametrize("text", ["when the corpus grows", "", "after parameters > 10M or so", "import os"])
def test_words_are_no_condition(text: str) -> None:
    assert condition(text) is None


@pytest.mark.parametrize("text", ["__import__('os') > 1", "accuracy > 3", "danlu > new", "steps > 1e"])
def test_what_looks_like_a_condition_is_one_or_refused(text: str) -> None:
    try:
        assert condition(text) is None  # words
    except LabError:
        pass
    else:
        assert ">" in text and "(" in text


@given(
    st.lists(st.integers(0, 99), min_size=1, max_size=4), st.lists(st.integers(0, 99), min_size=1, max_size=4)
)
def test_versions_are_ordered_as_numbers(a: list[int], b: list[int]) -> None:
    def padded(numbers: list[int]) -> list[int]:
        return numbers + [0] * (4 - len(numbers))

    one, other = (".".join(map(str, numbers)) for numbers in (a, b))
    assert (version(one) < version(other)) == (padded(a) < padded(b))


@pytest.mark.parametrize(
    ("changed", "facts", "reason"),
    [
        ({"revisit": {"when": "parameters > 2M"}}, {"parameters": 3e6}, "parameters = 3,000,000"),
        ({}, {"parameters": 4e6}, "4 times the evidence's 1,000,000"),
        ({}, {"steps": 1e4}, "10 times the evidence's 1,000"),
        ({}, {"danlu": "0.3.0"}, "danlu is 0.3.0 now"),
        ({}, {"torch": "2.12.0+cu130"}, "torch is 2.12"),
    ],
)
def test_what_makes_a_decision_due(changed: dict[str, Any], facts: dict[str, Any], reason: str) -> None:
    (found,) = due([entry(**changed)], facts, "runs/big")
    assert len(found.reasons) == 1 and reason in found.reasons[0]
    assert due([entry(**changed, decision="none")], facts, "runs/big") == []


@pytest.mark.parametrize("facts", [{}, {"parameters": 3e6}, {"danlu": "0.2.9"}, {"torch": "2.11.1"}])
def test_what_does_not(facts: dict[str, Any]) -> None:
    assert due([entry(revisit={"when": "when there is time"})], facts, "now") == []


@pytest.mark.parametrize(
    ("verdict", "decision", "later", "is_due"),
    [
        ("better", "adopt", "worse", True), ("better", "adopt", "better", False),
        ("better", "adopt", "not shown", False), ("holds", "adopt", "does not hold", True),
        ("not shown", "reject", "better", True), ("not shown", "reject", "worse", False),
        ("not shown", "adopt", "worse", True), ("not shown", "undecided", "better", True),
    ],
)  # fmt: skip
def test_a_later_verdict_that_contradicts(verdict: str, decision: str, later: str, is_due: bool) -> None:
    new = entry(id="b", verdict=later, decision="none")
    assert bool(due([entry(verdict=verdict, decision=decision), new], {}, "now")) is is_due
    assert (
        due([entry(verdict=verdict, decision=decision), new.model_copy(update={"idea": "j"})], {}, "now")
        == []
    )
    assert due([new, entry(verdict=verdict, decision=decision)], {}, "now") == []


@pytest.mark.parametrize(
    ("verdict", "later", "is_due"),
    [
        ("better", "scale-bound", True), ("better", "equivalent", True), ("better", "void", False),
        ("better", "asked", False), ("worse", "equivalent", False),
    ],
)  # fmt: skip
def test_what_contradicts_a_decision(verdict: str, later: str, is_due: bool) -> None:
    new = entry(id="b", verdict=later, decision="none", idea="i", on="elsewhere")
    reasons = [one.reasons for one in due([entry(verdict=verdict), new], {}, "now") if one.entry.id == "a"]
    assert bool(reasons) is is_due


def test_an_early_verdict_contradicts_an_early_one_only() -> None:
    new = entry(id="b", verdict="worse", decision="none", regime=EARLY)
    assert due([entry(regime=IN_REGIME), new], {}, "now") == []
    ((_, reasons),) = [(one.entry, one.reasons) for one in due([entry(regime=EARLY), new], {}, "now")]
    assert reasons == ("a later verdict (b) says worse (early), this one better (early)",)


def test_a_question_without_an_answer_is_due() -> None:
    (found,) = due([entry(verdict="asked", seeds=0, decision="none")], {}, "now")
    assert found.reasons == (
        "it was asked on 2026-01-01 and is not answered: the same command goes on with it, if what it asks "
        "about was not changed since",
    )
    gone = entry(verdict="asked", seeds=0, decision="none", evidence=["nowhere/a"])
    assert due([gone], {}, "now")[0].reasons == (
        "it was asked on 2026-01-01 and is not answered, and its study nowhere/a is not there: ask again",
    )


def test_the_facts_of_a_run(tmp_path: Path) -> None:
    write_json(
        tmp_path / "summary.json",
        summary(parameters=5, steps=7, tokens=9, flops=None, active_seconds={"a": 1.0, "b": 2.5}),
    )
    write_json(tmp_path / "environment.json", {"versions": {"danlu": "0.9", "torch": "3.0", "numpy": "9"}})
    assert of_run(tmp_path) == {
        "parameters": 5, "steps": 7, "tokens": 9, "seconds": 3.5, "danlu": "0.9", "torch": "3.0"
    }  # fmt: skip
    with pytest.raises(FileError, match=r"summary\.json is missing"):
        of_run(tmp_path / "nowhere")
