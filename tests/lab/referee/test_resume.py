"""The same command goes on with what is there, also after the referee was killed."""

from __future__ import annotations

import signal
import subprocess
import sys
from pathlib import Path

from danlu.lab.referee import referee
from tests.lab.referee.program import NOISY, answer, left, make, plan

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
    assert few.findings[0].kind == "paired" and few.cost["runs"] == 9
    more = answer(folder, arms=arms, pairs=4)
    assert more.findings[0].kind == "anytime"
    assert len(list(more.study.path.rglob("record.json"))) == 2 * 4 + 1
    seeds = [finding.sides.seeds for answer in (few, more) for finding in answer.findings]
    assert seeds[1][:3] == seeds[0]
