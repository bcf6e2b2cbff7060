"""Programs that would fool whoever looks at one number: each is caught, with its sentence."""

from __future__ import annotations

import signal
import time
from pathlib import Path

import pytest

from danlu.lab.errors import LabError
from danlu.lab.referee.process import MARK
from tests.lab.referee.program import NOISY, PYTHON, answer, left, make


def test_one_that_ignores_its_seed(tmp_path: Path) -> None:
    found = answer(
        make(tmp_path / "p", train_py="print('loss', 0.5)"), run=f"{PYTHON} train.py {{seed}} {{set}}"
    )
    assert (found.outcome, found.exit_code) == ("void", 3)
    assert found.why.startswith("{seed} changes nothing: loss is 0.5 with one seed twice and with another")


def test_one_with_a_fixed_seed_and_none_to_give(tmp_path: Path) -> None:
    found = answer(make(tmp_path / "p", train_py="print('loss', 0.5)"), run=f"{PYTHON} train.py {{set}}")
    assert found.outcome == "void" and "the program has a fixed seed" in found.why


def test_one_that_prints_its_metric_twice(tmp_path: Path) -> None:
    folder = make(tmp_path / "p", train_py=NOISY + "print('loss', 3 + noise)\n")
    found = answer(folder)
    assert (found.outcome, found.exit_code) == ("failed", 4)
    assert "loss is there twice" in found.why and "set pick: first or pick: last" in found.why
    metric = {"name": "loss", "better": "lower", "stdout": r"^loss (\S+)", "pick": "last"}
    assert answer(folder, metric=metric).findings[0].sides.baseline[0].value > 2


@pytest.mark.parametrize(
    "deed", ["open('rule.py', 'a').write('x')", "os.remove('rule.py')", "open('eval/new.py', 'w')"]
)
def test_one_that_edits_a_protected_file(tmp_path: Path, deed: str) -> None:
    folder = tmp_path / "p"
    (folder / "eval").mkdir(parents=True)
    (folder / "eval" / "data.py").write_text("")
    make(folder, train_py=f"import os\n{NOISY}\nif given.worse: {deed}\n", rule_py="x = 1\n")
    found = answer(folder, protect=["rule.py", "eval/**"])
    assert found.outcome == "void" and "is protected" in found.why and "a run of idea changed" in found.why
    assert (folder / "rule.py").read_text() == "x = 1\n" and not (folder / "eval" / "new.py").exists()


def test_an_arm_with_another_rule(tmp_path: Path) -> None:
    folder = make(tmp_path / "p", train_py=NOISY, rule_py="x = 1\n")
    (folder / "rule.py").write_text("x = 2\n")
    found = answer(folder, arms={"base": {"git": "main"}, "idea": {"git": "."}}, protect=["rule.py"])
    assert found.outcome == "void" and found.why.startswith("idea changes rule.py, which is protected")


FORKS = """
import os, time
if os.fork() == 0:
    {leave}
    time.sleep(1000)
"""


@pytest.mark.parametrize("leave", ["pass", "os.setsid()"])
def test_one_that_forks_and_hangs(tmp_path: Path, leave: str) -> None:
    """What it left behind is ended, in a session of its own too; the run counts."""
    found = answer(make(tmp_path / "p", train_py=FORKS.format(leave=leave) + NOISY), pairs=2)
    assert found.outcome == "answered" and found.findings[0].verdict == "worse"
    assert left(tmp_path) == []


ASKS_ITSELF = """
import pathlib
asked = pathlib.Path({folder!r}, "asked")
if not asked.exists():
    asked.touch()
    from danlu.lab.referee import referee
    referee(asked.with_name("plan.yaml"), asked.with_name("others"), book=None)
"""


@pytest.mark.slow
@pytest.mark.parametrize("where", ["setup", "run"])
def test_one_that_asks_the_same_question_elsewhere(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, where: str
) -> None:
    """While it is set up or run, the same is set up and run in another study, which ends nothing here."""
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")  # a GPU is held by one study at a time
    asks, program = ASKS_ITSELF.format(folder=str(tmp_path)), NOISY.replace("given.seed", "")
    texts = {"train_py": program, "setup_py": ""}
    texts["setup_py" if where == "setup" else "train_py"] += asks
    folder = make(tmp_path / "p", **texts)
    found = answer(folder, run=f"{PYTHON} train.py {{set}}", setup=f"{PYTHON} setup.py", pairs=2)
    assert (tmp_path / "others").is_dir() and found.outcome == "answered", found.why
    assert {record.tries for record in found.findings[0].sides.baseline} == {1}


def test_one_that_never_ends(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """By a clock on which an hour passes when a run of the idea has begun to wait, and no other hour."""
    waits, clock = tmp_path / "waits", time.perf_counter

    def hours() -> float:
        return clock() + 3600 * (waits.stat().st_size if waits.exists() else 0)

    monkeypatch.setattr(time, "perf_counter", hours)
    endless = f"""
import time
if given.worse:
    with open({str(waits)!r}, "a") as file:
        file.write("x")
    time.sleep(1000)
"""
    folder = make(tmp_path / "p", train_py=NOISY + endless)
    found = answer(folder, budget={"pairs": 3, "kill_seconds": 1800})
    assert (found.outcome, found.exit_code) == ("failed", 4)
    assert "every run of idea failed: it took more than 1800 s" in found.why and left(tmp_path) == []


def test_one_that_crashes_cannot_win(tmp_path: Path) -> None:
    """In its third run; the values of the others would win by far."""
    third = """
import pathlib
count = pathlib.Path(__file__).resolve().parents[3] / "count"
runs = len(count.read_text()) if count.exists() else 0
if given.worse:
    count.write_text("x" * (runs + 1))
    if runs == 2: raise SystemExit("no more")
"""
    folder = make(tmp_path / "p", train_py=NOISY + third)
    (finding,) = answer(folder, arms={"base": {}, "idea": {"set": "--worse -5"}}, pairs=5).findings
    assert [record.failed for record in finding.sides.variant] == [False, False, True, False, False]
    assert finding.interval.high < -4 and finding.verdict == "not shown"
    assert finding.why.startswith("1 of 5 runs of idea failed, so it cannot win")
    assert finding.sides.variant[2].why == "exit code 1: no more"


def test_one_that_a_signal_ends_is_run_once_more(tmp_path: Path) -> None:
    """The first try of each run kills itself; the second is as it should be."""
    once = f"""
import os, pathlib
flag = pathlib.Path({str(tmp_path)!r}, "was-" + os.environ[{MARK!r}])
if not flag.exists():
    flag.touch()
    os.kill(os.getpid(), {int(signal.SIGKILL)})
"""
    found = answer(make(tmp_path / "p", train_py=once + NOISY), pairs=2)
    assert found.outcome == "answered"
    assert {record.tries for record in found.findings[0].sides.baseline} == {2}


def test_one_that_is_not_deterministic(tmp_path: Path) -> None:
    """Whether pairs are compared is decided by the measured correlation."""
    folder = make(tmp_path / "p", train_py=NOISY.replace("random.Random(given.seed)", "random.Random()"))
    found = answer(folder, pairs=4)
    (finding,) = found.findings
    assert any(note.startswith("the program is not deterministic") for note in found.notes)
    rho = finding.sides.correlation
    assert rho is not None and (finding.kind == "paired") == (rho > 0.1)
    assert finding.verdict == "worse" and len(finding.sides.seeds) == 4


def test_one_that_takes_no_seed(tmp_path: Path) -> None:
    folder = make(tmp_path / "p", train_py=NOISY.replace("random.Random(given.seed)", "random.Random()"))
    (finding,) = answer(folder, run=f"{PYTHON} train.py {{set}}", pairs=4).findings
    assert finding.kind == "unpaired" and finding.sides.correlation is None and finding.verdict == "worse"


def test_one_that_diverges_has_lost(tmp_path: Path) -> None:
    found = answer(make(tmp_path / "p", train_py=NOISY), arms={"base": {}, "idea": {"set": "--worse nan"}})
    assert found.findings[0].verdict == "worse" and found.findings[0].why == "every run of idea diverged"


def test_one_that_does_not_run(tmp_path: Path) -> None:
    folder = make(tmp_path / "p", train_py="raise SystemExit('no data')")
    found = answer(folder)
    assert found.outcome == "failed"
    assert found.why.startswith("the baseline base does not run: exit code 1: no data; see ")
    assert len(list(found.study.path.glob("runs/*"))) == 2  # a third would fail, too
    with pytest.raises(LabError, match="nowhere cannot be started"):
        answer(folder, run="nowhere --seed {seed} {set}")


def test_arms_that_differ_by_luck_alone(tmp_path: Path) -> None:
    folder = make(tmp_path / "p", train_py=f"SEED = 1\n{NOISY}")
    (folder / "train.py").write_text(f"SEED = 2\n{NOISY}")
    with pytest.raises(LabError, match="idea changes nothing but a seed"):
        answer(folder, arms={"base": {"git": "main"}, "idea": {"git": "."}})
    with pytest.raises(LabError, match=r"arms\.idea\.set sets --seed, which the referee draws"):
        answer(folder, arms={"base": {}, "idea": {"set": "--seed 3"}})
    with pytest.raises(LabError, match="idea is the same as base"):
        answer(folder, arms={"base": {}, "idea": {}})


def test_a_budget_that_is_spent(tmp_path: Path) -> None:
    """It says so, and goes on when there is more."""
    folder = make(tmp_path / "p", train_py=NOISY)
    spent = answer(folder, budget={"pairs": 3, "seconds": 1e-9})
    assert (spent.outcome, spent.exit_code) == ("budget", 5) and "the same command goes on" in spent.why
    assert len(list((spent.study.path / "runs").iterdir())) == 1
    more = answer(folder, budget={"pairs": 3, "seconds": 1000})
    assert more.outcome == "answered" and more.study.path == spent.study.path
