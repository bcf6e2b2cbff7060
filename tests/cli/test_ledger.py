"""The verb ``ledger``."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from danlu.cli.main import main
from danlu.files.json import write_json
from danlu.lab.ledger import ask, read
from tests.lab.ledger.entries import EARLY, IN_REGIME, QUESTION, add
from tests.lab.summaries import summary


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
    written = {"schema": "danlu.ledger/2", **only.written()}
    assert json.loads(said(capsys, "--json")[1]) == [written]
    assert json.loads(said(capsys, "show", "qk", "--json")[1]) == written
    assert said(capsys, "due") == (0, "nothing is due\n", "")
    reconsidered = ("decide", "1", "adopt", "--because", "it helps", "--revisit")
    assert "in words, which danlu ledger due does not watch" in said(capsys, *reconsidered, "when done")[2]
    assert said(capsys, *reconsidered, "steps > 1k")[2] == ""
    (tmp_path / "run").mkdir()
    write_json(tmp_path / "run" / "summary.json", summary(steps=1200))
    (found,) = json.loads(said(capsys, "due", "run", "--json")[1])
    assert found["id"] == made.id and len(found["reasons"]) == 2
    row = said(capsys)[1].splitlines()[1]
    assert all(part in row for part in (made.id, "better", "-0.02 bits per byte", "-0.03 … -0.01", "adopt"))


def test_the_verb_lists_the_newest_and_says_what_stood_before(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Any
) -> None:
    monkeypatch.chdir(tmp_path)
    book = Path("ledger.yaml")
    add(book, verdict="worse", regime=EARLY, e=3.0)
    assert "worse (early)" in said(capsys)[1] and "older" not in said(capsys)[1]
    add(book, regime=IN_REGIME, e=1e6)
    heading, row, last = said(capsys)[1].splitlines()
    assert heading.split()[:6] == ["no", "idea", "on", "equal", "updates", "verdict"]
    assert heading.split()[6:9] == ["date", "control", "before"] and "decision" not in heading
    assert row.split()[:6] == ["2", "qk-norm", "nano", "steps", "2,100", "better"]
    assert row.split()[7:10] == ["stands", "worse", "(early)"] and row.endswith("qk-norm-on-nano-2")
    assert last == "1 older on the same questions: danlu ledger all"
    assert len(said(capsys, "all")[1].splitlines()) == 3 and len(json.loads(said(capsys, "--json")[1])) == 2


def test_the_verb_searches(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Any) -> None:
    monkeypatch.chdir(tmp_path)
    assert said(capsys, "search", "gqa") == (0, "nothing like it was tried\n", "")
    sets = {"model.mixer.kv_heads": 2}
    add(Path("ledger.yaml"), idea="+some-heads", sets=sets, regime=EARLY, verdict="worse")
    code, out, err = said(capsys, "search", "model.mixer.kv_heads=2", "--on", "nano")
    assert code == 0 and "longer runs" in err
    assert all(part in out for part in ("same question", "worse (early)", "300 updates, early"))
    (match,) = json.loads(said(capsys, "search", "kv_heads=1", "--json")[1])
    assert (match["how"], match["regime"]["updates"]) == ("the same fields", 300)
    (match,) = json.loads(said(capsys, "search", "some", "heads", "--json")[1])
    assert match["how"] == "similar words"


def test_entries_are_told_apart_in_a_hundred_columns(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Any
) -> None:
    """Ten of one idea, that differ in the end of a long bed, in its length, in what was equal."""
    monkeypatch.chdir(tmp_path)
    bed = "nano model.width=16 model.mixer.heads=2 model.layers=7 optimizer.kind=adamw data.context=64"
    for i in range(10):
        at, steps = ("equal steps", "equal FLOPs")[i % 2], 100 * (1 + i // 2)
        add(Path("ledger.yaml"), idea="+qk-norm", on=f"{bed} train.steps={steps}", at=at,
            scale={"steps": steps}, e=0.5, regime=EARLY)  # fmt: skip
    monkeypatch.setattr("sys.stdout.isatty", lambda: True)
    monkeypatch.setenv("COLUMNS", "100")
    lines = said(capsys)[1].splitlines()
    assert all(len(line) <= 100 for line in lines)
    told = {tuple(line.split()[1:6]) for line in lines[1:]}
    assert len(told) == 10 and ("+qk-norm", "nano", "…", "steps=300", "FLOPs") in told
    assert "better (early)" in lines[1] and "date" in lines[0]
    for number in "7", "qk-norm-on-nano-7":
        (shown,) = [json.loads(said(capsys, "show", number, "--json")[1])]
        assert shown["on"].endswith("steps=400") and shown["at"] == "equal steps"
    code, out, err = said(capsys, "show", "qk")
    assert (code, out) == (2, "") and "2: qk-norm-on-nano-2" in err and "2 more; type the number" in err


def test_the_verb_judges(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Any) -> None:
    monkeypatch.chdir(tmp_path)
    assert said(capsys, "judge") == (0, "nothing was asked yet\n", "")
    gain: dict[str, Any] = {"value": 1.1, "low": 1.0, "high": 1.2}
    rungs = [{"value": 1.2, "flops": 1e12}, {"value": 1.1, "flops": 4e12}]
    add(Path("ledger.yaml"), regime=IN_REGIME, e=1e6, gain=gain, rungs=rungs, family="attention")
    ask(**QUESTION | {"idea": "swiglu"}, file=Path("ledger.yaml"))
    out = said(capsys, "judge")[1]
    assert "2 questions asked; 1 better, 1 not answered" in out and "1 of 1 verdict that" in out
    assert "1 of 1: 1.00" in out and "1.100× (1 … 1.2)" in out
    found = json.loads(said(capsys, "judge", "--json")[1])
    assert (found["asked"], found["stand"]) == (2, ["qk-norm-on-nano"])


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["serch", "a"], "did you mean search"), (["search"], "danlu ledger search WORDS"),
        (["shw", "a"], "did you mean show"), (["show"], "danlu ledger show NUMBER"),
        (["show", "nothing"], "has no entry nothing"), (["decide", "a", "adopt"], "a reason"),
        (["decide", "a", "adpt", "--because", "x"], "adopt, reject or undecided"),
        (["--file", "nope.yaml"], "there is no ledger nope.yaml"),
        (["search", "gqa", "--on", "nonsense"], "no experiment"),
        (["due", "nowhere"], "summary.json is missing"),
    ],
)  # fmt: skip
def test_the_verb_tells_wrong_input(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Any, words: list[str], told: str
) -> None:
    monkeypatch.chdir(tmp_path)
    code, out, err = said(capsys, *words)
    assert (code, out) == (2, "") and told in err
    assert list(tmp_path.iterdir()) == []
