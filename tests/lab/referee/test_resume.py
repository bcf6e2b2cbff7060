"""The same command goes on with what is there, also after the referee was killed."""

from __future__ import annotations

import signal
import subprocess
import sys
from pathlib import Path

import pytest

from danlu.lab import ledger
from danlu.lab.errors import LabError
from danlu.lab.referee import Answer, referee
from tests.lab.referee.program import NOISY, PYTHON, answer, git, left, make, plan

# Its sixth run kills the referee and goes on alone.
MURDER = """
import os, pathlib, time
count = pathlib.Path(__file__).resolve().parents[3] / "count"
runs = len(count.read_text()) if count.exists() else 0
count.write_text("x" * (runs + 1))
if runs == 5:
    os.kill(os.getppid(), 9)
    time.sleep(1000)
"""


def test_after_the_referee_was_killed(tmp_path: Path) -> None:
    """Runs that ended are not made again, the orphan is ended, and the verdict is one of all."""
    folder = make(tmp_path / "p", train_py=MURDER + NOISY)
    file = plan(folder)
    words = [str(file), "--studies", str(tmp_path / "studies"), "--ledger", str(tmp_path / "ledger.yaml")]
    killed = subprocess.run([sys.executable, "-m", "danlu", "referee", *words], capture_output=True)
    assert killed.returncode == -signal.SIGKILL and len(left(folder.parent / "studies")) == 1
    (study,) = (tmp_path / "studies").glob("referee-plan-*")
    before = {path: path.stat().st_mtime_ns for path in study.rglob("record.json")}
    assert len(before) == 5
    found = referee(file, tmp_path / "studies", book=None)
    after = {path: path.stat().st_mtime_ns for path in study.rglob("record.json")}
    assert found.findings[0].verdict == "worse" and before.items() <= after.items()
    assert len(after) == 3 + 6 - 2  # of the probe, two serve as the baseline's first blocks
    assert left(tmp_path) == []


def test_more_pairs_after_a_look(tmp_path: Path) -> None:
    """Nothing runs twice, and the interval allows for the look; asked as at first, it is Student's again."""
    folder = make(tmp_path / "p", train_py=NOISY)
    arms = {"base": {}, "idea": {"set": "--worse 0.0001"}}
    few = answer(folder, arms=arms, pairs=3)
    assert few.findings[0].kind == "paired" and few.cost["runs"] == 2 * 3 + 1  # the probe's twin
    more = answer(folder, arms=arms, pairs=4)
    assert more.findings[0].kind == "anytime" and more.cost["runs"] == 2 * 4 + 1
    assert len(list(more.study.path.rglob("record.json"))) == 2 * 4 + 1
    seeds = [finding.sides.seeds for answer in (few, more) for finding in answer.findings]
    assert seeds[1][:3] == seeds[0]


@pytest.mark.slow
def test_a_file_that_git_was_not_told_of_makes_no_other_question(tmp_path: Path) -> None:
    """A log that grows, the question written anew with a larger budget and committed: the study goes on with
    its seeds, and the answer says what it left out. What git tracks makes another question."""
    folder = make(tmp_path / "p", train_py=NOISY)
    arms = {"base": {}, "idea": {"set": "--worse 1"}}

    def ask(**said: object) -> Answer:
        file = plan(folder, arms=arms, **said)
        return referee(file.rename(folder / "plan.yaml"), tmp_path / "studies", book=None)

    first = ask(folder=".")
    (folder / "log.txt").write_text("1")
    (folder / "other.yaml").write_text("run: x")
    second = ask(folder=".", budget={"pairs": 3, "kill_seconds": 70})
    git(folder, "add", "plan.yaml")
    git(folder, "commit", "-qm", "the question")
    third = ask(folder=".")
    for again in (second, third):
        assert again.study.path == first.study.path
        assert again.findings[0].sides.seeds == first.findings[0].sides.seeds
        assert any("no part of any arm: log.txt, other.yaml (git add" in note for note in again.notes)
    assert not any("no part of any arm" in note for note in first.notes)
    git(folder, "add", "log.txt")
    assert ask(folder=".").study.path != first.study.path


@pytest.mark.slow
def test_what_the_ledger_is_told_of_questions_that_fail(tmp_path: Path) -> None:
    """What cannot start was not asked; what fails afterwards is answered: void, with its sentence; and it is
    one question still when it is answered in the end."""
    folder = make(tmp_path / "p", train_py=NOISY)
    studies, book = tmp_path / "studies", tmp_path / "ledger.yaml"

    def ask(**said: object) -> Answer:
        return referee(plan(folder, **said), studies, book=book)

    with pytest.raises(LabError, match="pyhton cannot be started"):
        ask(run="pyhton train.py --seed {seed} {set}")
    assert ask(run=f"{PYTHON} none.py --seed {{seed}} {{set}}").outcome == "failed"
    assert ledger.read(book) == []
    failed = ask(arms={"base": {}, "idea": {"set": "--unknown 1"}})
    (entry,) = ledger.read(book)
    assert failed.outcome == "failed" and (entry.verdict, entry.why) == ("void", failed.why)
    bad = f"pathlib.Path({str(tmp_path / 'bad')!r})"
    (folder / "train.py").write_text(f"{NOISY}\nimport pathlib\nif given.worse and {bad}.exists(): 1 / 0\n")
    (tmp_path / "bad").touch()
    failed = ask()
    assert failed.outcome == "failed" and len(ledger.read(book)) == 2
    (tmp_path / "bad").unlink()
    for record in failed.study.path.glob("runs/idea-*/record.json"):
        record.unlink()
    assert ask().outcome == "answered"
    assert ledger.judge(ledger.read(book)).asked == 2


@pytest.mark.slow
def test_another_scale_is_another_question_for_the_ledger(tmp_path: Path) -> None:
    """What was answered at one is not told as the answer at the other; the same is."""
    folder = make(tmp_path / "p", train_py=NOISY.replace('"--out"', '"--depth", type=int'))
    studies, book = tmp_path / "studies", tmp_path / "ledger.yaml"
    for scale, before in ((None, False), ({"set": "--depth {value}", "values": [1, 2]}, False), (None, True)):
        told: list[str] = []
        referee(plan(folder, scale=scale), studies, book=book, tell=told.append)
        assert any("was answered before" in line for line in told) == before
    assert len({entry.on for entry in ledger.read(book)}) == 2
