"""What was tried before is found: the same, the same fields, similar words; always with its regime."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from danlu.lab.errors import LabError
from danlu.lab.ledger import Entry, about, record, search, seen
from danlu.lab.trial.arms import read_sides

EARLY: dict[str, Any] = {"updates": 300, "early": ["300 updates, of 2,000"]}
WHOLE: dict[str, Any] = {"updates": 2100, "tokens_per_parameter": 20, "tuned": True, "early": []}


def sets(idea: str, on: str = "nano") -> dict[str, Any]:
    baseline, variants = read_sides(on, [idea])
    ((named, variant),) = variants.items()
    found: dict[str, Any] = about(named.words, baseline, variant)["sets"]
    return found


def entry(id: str, idea: str, on: str = "nano", **changed: Any) -> Entry:
    known = {} if "sets" in changed else {"sets": sets(idea, on)}
    said: dict[str, Any] = {
        "id": id, "date": "2026-11-28", "idea": idea, "on": on, "verdict": "worse", "seeds": 5,
        "statement": f"{idea} is better", "regime": WHOLE,
    }  # fmt: skip
    return Entry.model_validate(said | known | changed)


BOOK = [
    entry("bare", "+bare-qk-norm"),
    entry("qk", "+qk-norm", statement="Normalising queries and keys keeps attention scores from growing"),
    entry("qk-tiny", "+qk-norm", "tiny"),
    entry("gqa", "+gqa"),
    entry("fast", "optimizer.lr=0.02"),
    entry("swiglu", "+swiglu"),
]


def found(words: str, book: list[Entry] = BOOK, **more: Any) -> list[tuple[str, str]]:
    return [(match.entry.id, match.how) for match in search(book, words, **more)]


def test_the_same_first_then_other_beds_then_other_values_then_words() -> None:
    assert found("qk-norm", on="nano", sets=sets("qk-norm")) == [
        ("qk", "the same question"), ("qk-tiny", "the same idea, another bed"), ("bare", "the same fields"),
    ]  # fmt: skip


def test_the_same_fields_are_found_whatever_the_idea_is_called() -> None:
    fields = sets("swiglu")
    words = " ".join(f"{name}={value}" for name, value in fields.items())
    assert found(words, on="nano", sets=sets(words))[0] == ("swiglu", "the same question")
    assert found("optimizer.lr=0.005", on="nano", sets=sets("optimizer.lr=0.005")) == [
        ("fast", "the same fields")
    ]


def test_an_own_idea_that_became_another_is_not_the_same_question() -> None:
    book = [entry("mine", "+mine", sets={"model.norm.eps": 1e-6})]
    assert found("+mine", book, on="nano", sets={"model.norm.eps": 1e-3}) == [("mine", "the same fields")]
    assert found("+mine", book, on="nano", sets={"model.width": 64}) == [("mine", "the same fields")]
    assert found("+mine", book, on="nano") == [("mine", "the same question")]  # nobody knows what it sets


@pytest.mark.parametrize(
    "words", ["attention scores", "scores growing", "normalizing queries", "quries keys"]
)
def test_similar_words(words: str) -> None:
    assert found(words)[0] == ("qk", "similar words")


@pytest.mark.parametrize("words", ["zebra", "", "!?", "zebra crossing attention"])
def test_what_is_like_nothing(words: str) -> None:
    assert found(words) == []


def test_a_bed_that_is_nothing_is_refused() -> None:
    with pytest.raises(
        LabError, match="on = 'nonsense': no entry has this baseline, and it is no experiment"
    ):
        search(BOOK, "gqa", on="nonsense")
    theirs = entry("a", "+gqa", "their program", sets={})
    assert search(BOOK, "gqa", on="tiny") and search([theirs], "gqa", on="their program")


def test_in_regime_before_early_then_the_newest() -> None:
    book = [
        entry("old", "+gqa", at="equal steps"), entry("early", "+gqa", regime=EARLY, at="equal FLOPs"),
        entry("new", "+gqa", at="equal time"),
        entry("gone", "+gqa"), entry("newest", "+gqa", supersedes=("gone",), regime=None),
    ]  # fmt: skip
    assert [id for id, _ in found("gqa", book, on="nano")] == ["new", "old", "newest", "early"]


def test_who_asks_again_is_told_in_one_line(tmp_path: Path) -> None:
    file = tmp_path / "ledger.yaml"
    assert seen("+gqa", "nano", file=file) is None
    common: dict[str, Any] = {"idea": "+gqa", "on": "nano", "statement": "s", "seeds": 5, "file": file}
    record(**common, verdict="worse", at="equal steps", regime=EARLY, sets=sets("gqa"))
    said = seen("+gqa", "nano", sets=sets("gqa"), file=file)
    assert said is not None and "\n" not in said
    assert "worse (early) at equal steps, 5 seeds" in said and "300 updates, early: 300 updates" in said
    assert "danlu ledger show gqa-on-nano" in said
    assert seen("gqa", "nano", file=file) is not None  # with and without the sign
    assert (
        seen("+gqa", "tiny", file=file) is None and seen("+mqa", "nano", sets=sets("mqa"), file=file) is None
    )
    record(**common, verdict="void", at="equal time", why="untuned")
    assert seen("+gqa", "nano", file=file) == said  # a void question has no answer
    record(**common, verdict="better", at="equal steps", regime=WHOLE, sets=sets("gqa"), evidence=["two"])
    said = seen("+gqa", "nano", sets=sets("gqa"), file=file)
    assert said is not None and "better at equal steps" in said and "early" not in said
