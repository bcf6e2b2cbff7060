"""The ledger: nothing that anyone wrote is lost, and what is due is what the rules say."""

from __future__ import annotations

import json
import threading
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import danlu
from danlu.cli.main import main
from danlu.files.errors import FileError
from danlu.files.json import write_json
from danlu.lab.conditions import condition, version
from danlu.lab.errors import LabError
from danlu.lab.ledger import Entry, decide, find, read, record
from danlu.lab.revisit import due, of_run
from tests.lab.summaries import summary


def add(file: Path, **changed: Any) -> Entry:
    said: dict[str, Any] = {
        "idea": "qk-norm", "on": "nano", "statement": "QK-norm lowers the loss", "verdict": "better",
        "effect": -0.02, "interval": (-0.03, -0.01), "unit": "bits per byte", "seeds": 4, "at": "steps",
        "evidence": ["studies/try-qk-norm-on-nano"], "file": file,
    }  # fmt: skip
    return record(**said | changed)


HAND_MADE = """\
# Decisions of the group. Ask before you change one.

- date: 2026-01-02        # before the move
  id: old-one
  verdict: not shown
  # the seeds were few
  seeds: 2
  statement: "Something: with a colon"
  idea: something
  decision: none   # not yet

# the second
- {id: flow-one, date: 2026-01-03, statement: s, verdict: holds, seeds: 3, claim: c}
- id: third
  date: 2026-01-04
  claim: c
  statement: |
    Two lines,
    # not a comment
  verdict: does not hold
  seeds: 5
  evidence:
  - studies/a
  # kept as well
# the end
"""


def comments(text: str) -> list[str]:
    return [line.split("#", 1)[1] for line in text.splitlines() if "#" in line]


def test_a_verdict_is_found_again(tmp_path: Path) -> None:
    file = tmp_path / "ledger.yaml"
    made = add(file, scale={"parameters": 1e6, "steps": 300})
    assert read(file) == [made]
    assert (made.id, made.verdict, made.decision) == ("qk-norm-on-nano", "better", "none")
    assert made.environment is not None and made.environment.danlu == danlu.__version__


def test_the_same_verdict_is_written_once_and_another_beside_it(tmp_path: Path) -> None:
    file = tmp_path / "ledger.yaml"
    first = add(file)
    assert add(file) == first
    second = add(file, verdict="worse", effect=0.02, interval=(0.01, 0.03))
    assert [entry.id for entry in read(file)] == [first.id, f"{first.id}-2"]
    assert add(file, verdict="worse", effect=0.02, interval=(0.01, 0.03)) == second


def test_what_is_not_finite_is_left_out(tmp_path: Path) -> None:
    made = add(tmp_path / "ledger.yaml", effect=float("nan"), interval=(float("-inf"), float("inf")))
    assert made.effect is None and made.interval is None
    assert read(tmp_path / "ledger.yaml") == [made]


TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=60)
WORDS = TEXT.filter(lambda text: text.strip() != "")


@settings(max_examples=25, deadline=None)
@given(texts=st.lists(st.tuples(WORDS, TEXT, TEXT, WORDS), min_size=1, max_size=3))
def test_hostile_texts_come_back(texts: list[tuple[str, str, str, str]], tmp_path_factory: Any) -> None:
    file = tmp_path_factory.mktemp("ledger") / "ledger.yaml"
    for idea, on, statement, because in texts:
        made = add(file, idea=idea, on=on, statement=statement)
        assert made.statement == statement and made.idea == idea and made.on == (on or None)
        before = read(file)
        decided = decide(file, made.id, "adopt", because)
        assert decided.because == because
        assert read(file) == [decided if entry.id == made.id else entry for entry in before]


def test_a_decision_keeps_comments_order_and_other_entries(tmp_path: Path) -> None:
    file = tmp_path / "ledger.yaml"
    file.write_text(HAND_MADE)
    before = read(file)
    decide(file, "old-one", "reject", "two seeds; no effect", "steps > 5000")
    decide(file, "third", "undecided", "it depends\non the data")
    text = file.read_text()
    assert comments(text) == comments(HAND_MADE)
    assert [line for line in HAND_MADE.splitlines() if "decision" not in line] == [
        line for line in text.splitlines() if line in HAND_MADE.splitlines() and "decision" not in line
    ]
    assert "decision: reject   # not yet" in text
    after = read(file)
    assert after[1] == before[1]
    assert (after[0].decision, after[0].weak) == ("reject", True)
    assert (after[2].because, after[2].weak) == ("it depends\non the data", False)
    assert after[2].statement == before[2].statement
    decide(file, "old-one", "adopt", "more seeds")
    assert comments(file.read_text()) == comments(HAND_MADE)
    again = read(file)[0]
    assert (
        again.because == "more seeds" and again.revisit is not None and again.revisit.when == "steps > 5000"
    )


def test_an_entry_on_one_line_can_be_decided(tmp_path: Path) -> None:
    file = tmp_path / "ledger.yaml"
    file.write_text(HAND_MADE)
    decided = decide(file, "flow", "adopt", "it holds")
    assert decided.id == "flow-one" and not decided.weak
    assert read(file)[1] == decided and len(read(file)) == 3


def test_a_verdict_is_appended_to_what_was_written_by_hand(tmp_path: Path) -> None:
    file = tmp_path / "ledger.yaml"
    for text in (HAND_MADE, HAND_MADE.rstrip("\n"), "  - id: a\n    date: d\n    statement: s\n"
                 "    verdict: better\n    seeds: 1", "# nothing yet\n", ""):  # fmt: skip
        file.write_text(text)
        before = read(file)
        made = add(file)
        assert read(file) == [*before, made]
        assert file.read_text().startswith(text.rstrip("\n"))


@pytest.mark.parametrize(
    ("verdict", "seeds", "decision", "weak"),
    [
        ("better", 3, "adopt", False), ("better", 2, "adopt", True), ("not shown", 9, "reject", True),
        ("not shown", 1, "undecided", False), ("holds", 5, "reject", False),
    ],
)  # fmt: skip
def test_weak_decisions_are_marked(
    tmp_path: Path, verdict: Any, seeds: int, decision: Any, weak: bool
) -> None:
    made = add(tmp_path / "ledger.yaml", verdict=verdict, seeds=seeds)
    assert decide(tmp_path / "ledger.yaml", made.id, decision, "so").weak is weak


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (HAND_MADE.replace("seeds: 2", "seeds: two"), "line 3: seeds = 'two'"),
        (HAND_MADE.replace("verdict: not shown", "verdikt: not shown"), "did you mean verdict"),
        (HAND_MADE.replace("id: third", "id: old-one"), "line 14: a second entry is called old-one"),
        (HAND_MADE[: HAND_MADE.index("with a colon")], "line 8"),
        ("- id: a\n  date: b\n", "line 1: statement is missing"),
        ("id: a\n", "not a list of entries"),
        ("- just words\n", "line 1: 'just words' is not an entry"),
        ("- id: a\n  date: b\n  statement: s\n  verdict: holds\n  seeds: 3\n  revisit: {when: 'stepz > 1'}\n",
         "did you mean steps"),
    ],
)  # fmt: skip
def test_a_bad_file_is_told_and_left_alone(tmp_path: Path, text: str, said: str) -> None:
    file = tmp_path / "ledger.yaml"
    file.write_text(text)
    for attempt in (lambda: read(file), lambda: add(file), lambda: decide(file, "third", "adopt", "so")):
        with pytest.raises(LabError, match=said):
            attempt()
    assert file.read_text() == text


def test_wrong_input_is_told(tmp_path: Path) -> None:
    file = tmp_path / "ledger.yaml"
    add(file)
    add(file, on="tiny")
    with pytest.raises(LabError, match="may be any of qk-norm-on-nano, qk-norm-on-tiny"):
        find(read(file), "qk")
    with pytest.raises(LabError, match="did you mean qk-norm-on-tiny"):
        find(read(file), "qk_norm-on-tiny")
    with pytest.raises(LabError, match="adopt, reject or undecided"):
        decide(file, "qk-norm-on-nano", "none", "so")
    with pytest.raises(LabError, match="a reason"):
        decide(file, "qk-norm-on-nano", "adopt", " ")
    with pytest.raises(LabError, match="not a number"):
        decide(file, "qk-norm-on-nano", "adopt", "so", "steps > many")


def test_two_writers_lose_nothing(tmp_path: Path) -> None:
    file = tmp_path / "ledger.yaml"
    threads = [threading.Thread(target=add, args=(file,), kwargs={"idea": f"idea-{i}"}) for i in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert {entry.idea for entry in read(file)} == {f"idea-{i}" for i in range(8)}


# ---------------------------------------------------------------- what is due


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


def entry(**changed: Any) -> Entry:
    said: dict[str, Any] = {
        "id": "a", "date": "2026-01-01", "idea": "i", "statement": "s", "verdict": "better", "seeds": 4,
        "decision": "adopt", "scale": {"parameters": 1e6, "steps": 1000},
        "environment": {"danlu": "0.2.1", "torch": "2.11.0"},
    }  # fmt: skip
    return Entry.model_validate(said | changed)


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


# ---------------------------------------------------------------- the verb


def said(capsys: pytest.CaptureFixture[str], *words: str) -> tuple[Any, str, str]:
    """The exit code of ``danlu ledger``, and what it printed."""
    with pytest.raises(SystemExit) as left:
        main(["ledger", *words])
    told = capsys.readouterr()
    return left.value.code, told.out, told.err


def test_the_verb(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Any) -> None:
    monkeypatch.chdir(tmp_path)
    assert said(capsys) == (0, "no verdicts in ledger.yaml yet; danlu try and danlu prove write them\n", "")
    made = add(Path("ledger.yaml"), scale={"steps": 300})
    code, out, _ = said(
        capsys, "decide", made.id, "adopt", "--because", "it helps", "--revisit", "steps > 1k"
    )
    assert code == 0 and "decision: adopt" in out
    (only,) = read(Path("ledger.yaml"))
    assert json.loads(said(capsys, "--json")[1]) == [only.written()]
    assert json.loads(said(capsys, "show", "qk", "--json")[1]) == only.written()
    assert said(capsys, "due") == (0, "nothing is due\n", "")
    (tmp_path / "run").mkdir()
    write_json(tmp_path / "run" / "summary.json", summary(steps=1200))
    (found,) = json.loads(said(capsys, "due", "run", "--json")[1])
    assert found["id"] == made.id and len(found["reasons"]) == 2
    row = said(capsys)[1].splitlines()[1]
    assert all(part in row for part in (made.id, "better", "-0.02 bits per byte", "-0.03 … -0.01", "adopt"))


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["shw", "a"], "did you mean show"), (["show"], "danlu ledger show ID"),
        (["show", "nothing"], "has no entry nothing"), (["decide", "a", "adopt"], "a reason"),
        (["decide", "a", "adpt", "--because", "x"], "adopt, reject or undecided"),
        (["due", "nowhere"], "summary.json is missing"),
    ],
)  # fmt: skip
def test_the_verb_tells_wrong_input(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Any, words: list[str], told: str
) -> None:
    monkeypatch.chdir(tmp_path)
    code, out, err = said(capsys, *words)
    assert (code, out) == (2, "") and told in err
