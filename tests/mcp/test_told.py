"""Holm over a session by hand; the held-out text of a baseline; what a digest notices."""

from __future__ import annotations

from pathlib import Path

import pytest

from danlu.lab import ledger
from danlu.mcp import told


def test_holm_over_the_session_by_hand() -> None:
    """p = .01, .02 of this study and .03, .5 of others: 4 × .01, 3 × .02, 2 × .03, 1 × .5, made to rise."""
    found = told.over_session({"a": 0.02, "b": 0.01}, [0.5, 0.03])
    assert found["questions"] == 4
    assert found["p"] == pytest.approx({"a": 0.06, "b": 0.04})
    assert found["shown"] == ["b"]
    assert told.over_session({"a": 0.02}, [])["shown"] == ["a"]


def test_a_p_value_loses_what_its_own_command_made_of_it() -> None:
    """Of two ideas the smaller p is doubled, and the level is 1 − .05 / 2."""
    assert told.unadjusted({"p": 0.06, "level": 0.975}) == pytest.approx(0.03)
    assert told.unadjusted({"p": 0.06, "level": 0.95}) == pytest.approx(0.06)


def test_baselines_of_one_held_out_text_are_known() -> None:
    text = told.held_out("nano")
    assert text is not None and "data.corpus" in text
    assert told.held_out("nano model.layers=2 optimizer.lr=1 train.seed=3") == text
    assert told.held_out("nano data.held_out=0.3") != text
    assert told.held_out("nano data.corpus=synthetic:reverse-3") != text
    assert told.held_out("no experiment") is None


def test_tries_count_the_questions_on_one_text(tmp_path: Path) -> None:
    file = tmp_path / "ledger.yaml"
    for on in ("nano", "nano model.layers=2", "nano data.corpus=synthetic:reverse-3", "gone.yaml"):
        ledger.record(verdict="better", statement="s", seeds=3, idea="+a", on=on, file=file)
    found = told.tries(ledger.read(file), "nano optimizer.lr=1")
    assert (found["entries"], found["not_known"]) == (2, 1)


def test_a_digest_sees_an_edited_verdict_and_no_decision(tmp_path: Path) -> None:
    file = tmp_path / "ledger.yaml"
    ledger.record(verdict="not shown", statement="s", seeds=3, idea="+a", on="nano", effect=0.1, file=file)
    (entry,) = ledger.read(file)
    before = told.entry_digest(entry)
    ledger.decide(file, entry.id, "reject", "no effect", "steps > 1M", by="agent x")
    (decided,) = ledger.read(file)
    assert decided.by == "agent x" and told.entry_digest(decided) == before
    file.write_text(file.read_text().replace("not shown", "better"))
    (edited,) = ledger.read(file)
    assert told.entry_digest(edited) != before
