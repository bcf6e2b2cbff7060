"""The verb ``referee``: exit codes, JSON, the example, the ledger."""

from __future__ import annotations

import json
import re
import signal
from pathlib import Path

import pytest

from danlu.cli.schemas import SCHEMAS
from danlu.files.json import misfit
from danlu.lab import ledger
from danlu.lab.referee import plan as plans
from tests.cli.test_train import danlu
from tests.lab.referee.program import NOISY, PYTHON, make, plan


@pytest.fixture
def words(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The verb on a program; arms that ``--worse 1`` tells apart."""
    file = plan(make(tmp_path / "p", train_py=NOISY))
    monkeypatch.chdir(tmp_path)
    return ["referee", str(file.name)]


def test_an_answer(words: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    """On stdout what was asked and the answer; on stderr the way there; the verdict in the ledger, a page."""
    assert danlu(*words) == 0
    out, err = capsys.readouterr()
    assert out.startswith("idea against base: loss, where lower is better; idea − base\n")
    assert "idea: worse (regime not known)" in out and "loss is 1 higher" in out
    assert "cost: 7 runs" in out  # six of three pairs, and three of the probe, two of which are among these
    assert err.count("\n") == 3 + 2 + 4 and err.startswith("probing the seed, 1 of 3: loss ")
    (study,) = Path("studies").glob("referee-plan-*")
    assert "idea against base" in (study / "report.html").read_text()
    (entry,) = ledger.read()
    assert (entry.idea, entry.verdict, entry.seeds) == ("idea", "worse", 3)
    assert entry.on is not None and entry.on.startswith("p base ") and entry.sets == {"set": "--worse 1"}
    assert entry.evidence == (str(study),) and entry.e == pytest.approx(1 + 9 * 3)  # of equal differences
    assert danlu(*words) == 0 and len(ledger.read()) == 1
    assert "was answered before" in capsys.readouterr().err


def test_signals_are_handled_as_before(words: list[str]) -> None:
    found = signal.getsignal(signal.SIGTERM)
    danlu(*words)
    assert signal.getsignal(signal.SIGTERM) is found


def test_json(words: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    """The fields that a program may count on."""
    assert danlu(*words, "--json") == 0
    found = json.loads(capsys.readouterr().out)
    assert found["schema"] == "danlu.referee/1" and misfit(found, SCHEMAS["referee"].shape) == ""
    assert set(found) == {
        "schema", "file", "study", "outcome", "exit_verdict", "metric", "baseline", "idea", "verdict",
        "early", "why", "gain", "rungs", "delta", "interval", "level", "kind", "correlation", "pairs",
        "severity", "analyses", "p", "e", "fdr", "runs", "changes", "next", "regime", "in_regime", "premises",
        "tuned", "cost", "notes",
        "others",
    }  # fmt: skip
    assert found["verdict"] == "worse" and found["delta"] == pytest.approx(1) and found["pairs"] == 3
    assert found["metric"] == {"name": "loss", "better": "lower"} and len(found["runs"]) == 3


@pytest.mark.parametrize(("change", "code"), [("--worse 1", 11), ("--worse -1", 12), ("--worse 0", 10)])
def test_exit_codes_that_tell_the_verdict(
    words: list[str], change: str, code: int, capsys: pytest.CaptureFixture[str]
) -> None:
    """Better in a regime that nobody knows has a code of its own; JSON has the code, too."""
    plan(Path("p").absolute(), arms={"base": {}, "idea": {"set": change}})
    assert danlu(*words, "--exit-verdict") == code
    capsys.readouterr()
    assert danlu(*words, "--json") == 0 and json.loads(capsys.readouterr().out)["exit_verdict"] == code
    if change == "--worse -1":  # better, and in a regime that is known
        Path("p/train.py").write_text(f"{NOISY}\nprint('steps', 2000)\n")
        also = {"steps": {"stdout": r"^steps (\d+)"}}
        plan(Path("p").absolute(), arms={"base": {}, "idea": {"set": change}}, also=also)
        assert danlu(*words, "--exit-verdict") == 0


def test_exit_codes_without_a_verdict(words: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    folder = Path("p").absolute()
    (folder / "train.py").write_text("print('loss', 1)")
    plan(folder, run=f"{PYTHON} train.py {{seed}} {{set}}")
    assert danlu(*words) == 3
    assert capsys.readouterr().out.startswith("void: {seed} changes nothing")
    assert danlu(*words, "--json") == 3
    found = json.loads(capsys.readouterr().out)
    assert (found["verdict"], found["exit_verdict"]) == ("void", 3)
    assert found["why"].startswith("{seed} changes nothing")
    assert misfit(found, SCHEMAS["referee"].shape) == ""
    assert misfit(found, SCHEMAS["referee"].shape) == ""
    (folder / "train.py").write_text("raise SystemExit('no data')")
    assert danlu(*words, "--exit-verdict") == 4
    assert [entry.verdict for entry in ledger.read()] == ["void"]  # one that does not run asks nothing
    plan(folder, budget={"pairs": 3, "seconds": 1e-9})
    (folder / "train.py").write_text(NOISY)
    assert danlu(*words) == 5
    assert danlu(*words, "--pairs", "1") == 2
    assert danlu("referee", "nothing.yaml") == 2


def test_the_example(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is a plan, also with all that stands in its comments; it is never written over."""
    monkeypatch.chdir(tmp_path)
    assert danlu("referee", "--init") == 0
    text = Path("referee.yaml").read_text()
    found = plans.read(Path("referee.yaml"))
    assert found.baseline == "base" and found.seeded and found.budget.pairs == 5
    whole = re.sub(r"^( *)# ( *[a-z]+:)", r"\1\2", text, flags=re.MULTILINE)
    Path("whole.yaml").write_text(whole)
    found = plans.read(Path("whole.yaml"))
    assert {"base", "idea", "wide"} == set(found.arms) and set(found.also) == {
        "steps",
        "tokens",
        "parameters",
    }
    unset = {name for name in type(found).model_fields if getattr(found, name) in (None, (), {}, False)}
    assert unset == {"patch", "env", "premises", "timed"}
    assert danlu("referee", "--init") == 2 and Path("referee.yaml").read_text() == text
