"""The ledger: nothing that anyone wrote is lost, and a question counts from when it was asked."""

from __future__ import annotations

import json
import threading
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import danlu
from danlu.lab import evidence
from danlu.lab.errors import LabError
from danlu.lab.ledger import Entry, ask, check, decide, find, named, read
from danlu.lab.ledger.newest import current, later
from tests.conftest import ROOT
from tests.lab.ledger.entries import EARLY, IN_REGIME, QUESTION, add

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


# ---------------------------------------------------------------- from the question to the verdict


def test_a_question_is_written_down_when_it_is_asked_and_answered_where_it_stands(tmp_path: Path) -> None:
    file = tmp_path / "ledger.yaml"
    asked = ask(**QUESTION, family="attention", sets={"model.mixer.qk_norm": {"gain": True}}, file=file)
    assert (asked.verdict, asked.seeds, asked.answered) == ("asked", 0, False)
    other = ask(**QUESTION | {"idea": "swiglu"}, file=file)
    assert ask(**QUESTION, file=file) == asked  # the study is gone on with
    text = file.read_text()
    file.write_text(text.replace("verdict: asked", "verdict: asked  # running on the old machine", 1))
    answered = add(file, e=31.4, regime={"updates": 2100, "tuned": True})
    assert read(file) == [answered, other]
    assert (answered.id, answered.verdict, answered.e) == (asked.id, "better", 31.4)
    assert (answered.family, answered.sets) == (asked.family, asked.sets)
    assert "verdict: better  # running on the old machine" in file.read_text()
    assert ask(**QUESTION, file=file) == answered and len(read(file)) == 2


def test_what_was_found_later_of_an_answer_joins_it(tmp_path: Path) -> None:
    file = tmp_path / "ledger.yaml"
    first = add(file)
    second = add(
        file, e=12.0, gain={"value": 1.04, "low": 0.99, "high": float("inf")}, rungs=[{"value": 1.1}]
    )
    assert second == first.model_copy(
        update={"e": 12.0, "gain": second.gain, "rungs": second.rungs}
    ) and read(file) == [second]
    assert second.gain is not None and (second.gain.low, second.gain.high) == (0.99, None)


def test_a_void_question_says_why_and_a_later_answer_takes_its_place(tmp_path: Path) -> None:
    file = tmp_path / "ledger.yaml"
    ask(**QUESTION, sets={"a": 1}, file=file)
    void = add(
        file, verdict="void", why="untuned: the best rate lies at the border", effect=None, interval=None
    )
    assert read(file) == [void] and not void.answered and void.why
    good = add(file)
    assert read(file) == [void, good] and good.supersedes == (void.id,) and current(read(file)) == [good]
    assert good.sets == {"a": 1}  # said when it was asked


def test_other_code_asks_anew(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "ledger.yaml"
    ask(**QUESTION, file=file)
    first = add(file, code="0" * 16)
    edited: list[str] = []
    monkeypatch.setattr(evidence, "edited_since", lambda places, digest: edited)
    assert ask(**QUESTION, file=file) == first
    edited.append("nn/block.py")
    again = ask(**QUESTION, file=file)
    assert again.verdict == "asked" and current(read(file)) == [first, again]
    second = add(file, verdict="not shown", effect=0.001, interval=(-0.01, 0.012), code="1" * 16)
    assert (second.id, second.supersedes) == (again.id, (first.id,))
    assert read(file) == [first, second] and current(read(file)) == [second]


@pytest.mark.parametrize(
    ("old", "new", "supersedes"),
    [
        ({"regime": EARLY}, {"regime": IN_REGIME}, True),
        ({"regime": IN_REGIME}, {"regime": EARLY}, False),  # an early look takes nothing back
        ({}, {"regime": EARLY}, True),  # nobody knows how early the old one was
        ({"regime": IN_REGIME}, {}, False),
        ({"regime": IN_REGIME}, {"regime": IN_REGIME | {"updates": 4000}}, True),
        ({"regime": IN_REGIME | {"updates": 4000}}, {"regime": IN_REGIME}, False),
        ({"seeds": 3}, {"seeds": 9}, True),
        ({"seeds": 9}, {"seeds": 3}, False),
        ({"seeds": 9, "code": "a"}, {"seeds": 3, "code": "b"}, True),  # the old code's answer
        ({"scale": {"steps": 500}}, {"scale": {"steps": 300}}, False),
        ({}, {"verdict": "void"}, False),
        ({"verdict": "void"}, {}, True),
        ({"verdict": "asked"}, {}, False),  # it may be running
        ({}, {"on": "tiny"}, False),
        ({"sets": {"a": 1}}, {"sets": {"a": 2}}, False),  # an own idea that became another
    ],
)  # fmt: skip
def test_which_answer_takes_the_place_of_which(
    tmp_path: Path, old: dict[str, Any], new: dict[str, Any], supersedes: bool
) -> None:
    file = tmp_path / "ledger.yaml"
    common = {"effect": -0.1, "interval": (-0.2, -0.1)}
    first = add(file, **common | {"evidence": ["studies/one"]} | old)
    second = add(file, **common | {"evidence": ["studies/other"]} | new)
    assert read(file) == [first, second]  # both stay
    assert second.supersedes == ((first.id,) if supersedes else ())
    assert later(second, first) is supersedes or not second.asks_the_same(first)


def test_an_early_verdict_is_never_told_without_that_word(tmp_path: Path) -> None:
    early = add(tmp_path / "ledger.yaml", regime=EARLY, verdict="worse")
    assert early.early and early.said == "worse (early)"
    assert decide(tmp_path / "ledger.yaml", early.id, "reject", "loses").weak
    whole = add(tmp_path / "ledger.yaml", regime=IN_REGIME)
    assert not whole.early and whole.said == "better"
    assert "300 updates" in str(early.regime) and "early: 300 updates, of 2,000" in str(early.regime)


def test_a_file_of_an_earlier_version_is_read(tmp_path: Path) -> None:
    (tmp_path / "ledger.yaml").write_text("""\
- id: qk-norm-on-nano
  date: 2026-11-22
  idea: qk-norm
  on: nano
  statement: QK-norm lowers the held-out loss
  verdict: better
  effect: -0.021
  interval: [-0.03, -0.012]
  unit: bits per byte
  seeds: 4
  at: steps
  evidence: [studies/try-qk-norm-on-nano]
  code: 5f2c07d1a9e3b846
  scale: {parameters: 181000, steps: 300}
  environment: {danlu: 0.2.0, torch: 2.13.0, machine: Linux x86_64}
  decision: adopt
  decided: 2026-11-23
  because: wider range of rates
  weak: false
  revisit: {when: parameters > 10M}
""")
    (old,) = read(tmp_path / "ledger.yaml")
    assert (old.e, old.regime, old.early, old.said) == (None, None, False, "better")
    new = add(tmp_path / "ledger.yaml", at="steps", regime=IN_REGIME, verdict="worse")
    assert new.supersedes == (old.id,)


def test_the_file_of_the_documents_is_read(tmp_path: Path) -> None:
    block = (ROOT / "docs" / "ledger.md").read_text().split("```yaml\n")[1].split("```")[0]
    (tmp_path / "ledger.yaml").write_text(block)
    (shown,) = read(tmp_path / "ledger.yaml")
    assert set(Entry.model_fields) - set(shown.written()) == {"claim", "why"}  # all other fields are there
    decide(tmp_path / "ledger.yaml", shown.id, "reject", "so")
    assert comments((tmp_path / "ledger.yaml").read_text()) == comments(block)


NUMBER = st.floats(-1e12, 1e12).map(lambda x: float(f"{x:.6g}"))
POSITIVE = st.floats(1e-9, 1e12).map(lambda x: float(f"{x:.6g}"))
TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=60)
VALUE = st.recursive(
    st.none() | st.booleans() | st.integers(-(10**18), 10**18) | NUMBER | TEXT,
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(TEXT, inner, max_size=2), max_leaves=4,
)  # fmt: skip
GAIN = st.fixed_dictionaries({"value": POSITIVE}, optional={"low": POSITIVE, "high": POSITIVE})
REGIME = st.fixed_dictionaries(
    {},
    optional={
        "tokens_per_parameter": POSITIVE, "updates": st.integers(0, 10**9), "bits_below_chance": NUMBER,
        "warmup": POSITIVE, "whole_schedule": st.booleans(), "tuned": st.none() | st.booleans(),
        "early": st.lists(TEXT, max_size=2),
    },
)  # fmt: skip
ANSWER = st.fixed_dictionaries(
    {"verdict": st.sampled_from(["better", "worse", "equivalent", "scale-bound", "not shown", "void"])},
    optional={
        "e": POSITIVE, "gain": GAIN, "rungs": st.lists(GAIN, max_size=3), "regime": REGIME, "why": TEXT,
        "tags": st.lists(TEXT, max_size=2), "sets": st.dictionaries(TEXT, VALUE, max_size=3), "family": TEXT,
        "code": TEXT, "effect": NUMBER,
    },
)  # fmt: skip


@settings(max_examples=20, deadline=None)
@given(answers=st.lists(st.tuples(st.sampled_from("abc"), ANSWER), min_size=1, max_size=4))
def test_all_that_is_known_of_an_answer_comes_back(
    answers: list[tuple[str, dict[str, Any]]], tmp_path_factory: Any
) -> None:
    file = tmp_path_factory.mktemp("ledger") / "ledger.yaml"
    file.write_text("# by hand\n")
    for idea in "abc":
        ask(**QUESTION | {"idea": idea}, file=file)
    for idea, answer in answers:
        before = read(file)
        made = add(file, **{"idea": idea, "effect": None, "interval": None} | answer)
        after = read(file)
        assert made in after and [entry for entry in after if entry.id != made.id] == [
            entry for entry in before if entry.id != made.id
        ]
        written = made.written()
        for name, value in answer.items():
            if name == "regime":
                assert made.regime is not None and value.items() <= written["regime"].items()
            elif value not in ([], {}, "") or name in ("effect", "e"):
                assert json.dumps(written[name], sort_keys=True) == json.dumps(value, sort_keys=True)
    decided = decide(file, made.id, "adopt", "so")
    assert [entry for entry in read(file) if entry.id == made.id] == [decided]
    assert file.read_text().startswith("# by hand\n")


WORDS = TEXT.filter(lambda text: text.strip() != "")


@settings(max_examples=25, deadline=None)
@given(texts=st.lists(st.tuples(WORDS, TEXT, TEXT, WORDS), min_size=1, max_size=3, unique_by=lambda t: t[:2]))
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
        (HAND_MADE.replace("seeds: 2", "seeds: two"), "line 7: seeds = 'two'"),
        (HAND_MADE.replace("verdict: not shown", "verdikt: not shown"), "did you mean verdict"),
        (HAND_MADE.replace("id: third", "id: old-one"), "line 14: a second entry is called old-one"),
        (HAND_MADE[: HAND_MADE.index("with a colon")], "line 8"),
        ("- id: a\n  date: b\n", "line 1: statement is missing"),
        ("id: a\n", "not a list of entries"),
        ("- just words\n", "line 1: 'just words' is not an entry"),
        ("- id: a\n  date: b\n  statement: s\n  verdict: holds\n  seeds: 3\n  revisit: {when: 'stepz > 1'}\n",
         "line 6: revisit.when = 'stepz > 1': .* did you mean steps"),
        ("- id: a\n  date: b\n  statement: s\n  verdict: holds\n  seeds: 3\n  e: -5\n", "line 6: e = -5: "),
        ("- id: a\n  date: b\n  statement: s\n  verdict: holds\n  seeds: 3\n  rungs:\n  - {value: 1}\n"
         "  - value: 2\n    low: no\n", "line 9: rungs.1.low = "),
        ("- id: a\n  date: b\n  statement: s\n  verdict: holds\n  seeds: 3\n  regime:\n    updates: 1\n"
         "    tokens: 2\n", "line 8: regime.tokens is not a field of an entry"),
    ],
)  # fmt: skip
def test_a_bad_file_is_told_and_left_alone(tmp_path: Path, text: str, said: str) -> None:
    file = tmp_path / "ledger.yaml"
    file.write_text(text)
    for attempt in (lambda: read(file), lambda: add(file), lambda: decide(file, "third", "adopt", "so")):
        with pytest.raises(LabError, match=said):
            attempt()
    assert file.read_text() == text


def test_no_folder_is_made_for_a_ledger(tmp_path: Path) -> None:
    file = tmp_path / "studeis" / "ledger.yaml"
    for attempt in (lambda: add(file), lambda: ask(**QUESTION, file=file), lambda: check(file)):
        with pytest.raises(LabError, match=r"there is no folder .*studeis; make it first"):
            attempt()
    assert not file.parent.exists()
    file.parent.mkdir()
    check(file)
    assert add(file) == read(file)[0]


def test_a_ledger_that_is_named_is_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert named(None) == Path("ledger.yaml")
    add(Path("group.yaml"))
    assert named(Path("group.yaml")) == Path("group.yaml")
    for typed, hint in (
        (Path("grop.yaml"), "did you mean group.yaml"),
        (tmp_path / "gruop.yaml", f"{tmp_path}/"),
    ):
        with pytest.raises(LabError, match=f"there is no ledger .*{hint}"):
            named(typed)
    with pytest.raises(LabError, match=r"there is no ledger elsewhere[.]yaml"):
        decide(Path("elsewhere.yaml"), "a", "adopt", "so")
    assert not list(tmp_path.glob(".elsewhere*"))


@pytest.mark.parametrize("when", ["parameters >> lots", "tokens = 10M", "steps => 5", "loss < 2 again", " "])
def test_what_is_neither_a_condition_nor_words_is_refused(tmp_path: Path, when: str) -> None:
    file = tmp_path / "ledger.yaml"
    made = add(file)
    with pytest.raises(LabError, match="revisit"):
        decide(file, made.id, "adopt", "so", when)
    assert decide(file, made.id, "adopt", "so", "when the new corpus is here").revisit is not None


def test_an_entry_is_named_by_id_by_number_or_by_how_it_begins(tmp_path: Path) -> None:
    file = tmp_path / "ledger.yaml"
    first, second = add(file), add(file, on="tiny model.width=16 model.layers=12")
    assert second.id == "qk-norm-on-tiny"
    file.write_text(file.read_text().replace(f"id: {first.id}", "id: '2'"))  # an id of one's own
    entries = read(file)
    assert [find(entries, name).id for name in ("1", "2", "qk")] == ["2", "2", second.id]
    with pytest.raises(LabError, match="has no entry 3; danlu ledger lists its 2"):
        find(entries, "3")
    assert decide(file, "qk-norm-on-t", "adopt", "so").decision == "adopt"


def test_wrong_input_is_told(tmp_path: Path) -> None:
    file = tmp_path / "ledger.yaml"
    add(file)
    add(file, on="tiny")
    with pytest.raises(
        LabError, match="may be any of 1: qk-norm-on-nano, 2: qk-norm-on-tiny; type the number"
    ):
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
