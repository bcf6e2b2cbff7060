"""What a question may say, and the sentence for everything else."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from danlu.files.errors import DanluError
from danlu.files.yaml import dump
from danlu.lab.referee import plan
from danlu.lab.referee.question import perhaps_seeds, seed_flag, seeds_alone
from danlu.lab.referee.words import fill, split

WHOLE: dict[str, Any] = {
    "run": "python train.py --seed {seed} {set} --out {out}",
    "arms": {"base": {"git": "main"}, "idea": {"git": "."}},
    "metric": {"name": "loss", "better": "lower", "stdout": "loss (.*)"},
}


def read(tmp_path: Path, change: dict[str, Any]) -> plan.Plan:
    file = tmp_path / "plan.yaml"
    file.write_text(dump({key: value for key, value in (WHOLE | change).items() if value is not None}))
    return plan.read(file)


def test_a_whole_one(tmp_path: Path) -> None:
    found = read(tmp_path, {"scale": {"set": "--depth {value}", "values": [1, 2.5, "xl"]}, "timed": True})
    assert found.seeded and found.baseline == "base" and found.budget.pairs == 5
    assert found.scale is not None and found.scale.values == (1, 2.5, "xl")
    assert not read(tmp_path, {"run": "python train.py {set}"}).seeded


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"runn": "x"}, "runn is not a field of the plan; did you mean run?"),
        ({"run": None}, "run is missing"),
        ({"run": "  "}, "run is empty"),
        ({"run": "python 'train.py"}, "run: No closing quotation"),
        ({"run": "python a.py && python b.py {seed} {set}"}, "run holds &&, but no shell reads it"),
        ({"run": "python a.py {sed} {set}"}, "run holds {sed}; did you mean {seed}?"),
        ({"run": "python a.py {seed} --x={set}"}, "stands for several words; set it apart in '--x={set}'"),
        ({"arms": None}, "arms is missing; write at least two by name, the baseline first"),
        ({"arms": {"base": {}}}, "arms: 1 given; write at least two"),
        ({"arms": {"base": {}, "idea": {"gti": "x"}}}, "gti is not a field of arms.idea; did you mean git?"),
        ({"arms": {"base": {}, "idea": 3}}, "arms.idea = 3 is not a mapping of git, patch, set"),
        ({"arms": {"base": {}, "a/b": {}}}, "'a/b' is not a name of letters"),
        ({"run": "x", "arms": {"base": {}, "idea": {"set": "--a"}}}, "arms.idea sets words, but run has no"),
        ({"run": "x", "tune": {"flag": "--lr", "start": 1.0}}, "tune sets words, but run has no place"),
        ({"metric": {"name": "loss", "better": "less", "stdout": "(.)"}}, "metric.better = 'less' is not"),
        ({"metric": {"name": "loss", "better": "lower"}}, "a number is read from one of stdout"),
        ({"also": {"step": {"stdout": "(.)"}}}, "also.step is unknown; did you mean steps?"),
        ({"also": {"steps": {"stdout": "."}}}, "also.steps: stdout = '.' has 0 groups"),
        ({"budget": {"pairs": 1}}, "budget.pairs = 1 is not a whole number greater than 0 and at least 2"),
        ({"margin": -1.0}, "margin = -1.0 is not a number greater than 0"),
        ({"scale": {"set": "--depth", "values": [1, 2]}}, "scale.set has no {value}"),
        ({"scale": {"set": "{value}", "values": [1, 1]}}, "scale.values: 1 is given twice"),
        ({"scale": {"set": "{value}", "values": [1, "1"]}}, "scale.values: 1 is given twice"),
        ({"scale": {"set": "{value}", "values": [0.5, 2.0, 2]}}, "scale.values: 2 is given twice"),
        (
            {"premises": [{"name": "p", "arm": "ide", "stdout": "(.)", "rule": {"above": 1.0}}]},
            "premise 'p' is of the arm ide; did you mean idea?",
        ),
    ],
)  # fmt: skip
def test_what_it_may_not_say(tmp_path: Path, change: dict[str, Any], sentence: str) -> None:
    with pytest.raises(DanluError) as error:
        read(tmp_path, change)
    assert sentence in str(error.value) and str(error.value).startswith(str(tmp_path / "plan.yaml"))


def test_words() -> None:
    """Places within words and as words; doubled braces; nothing is read twice."""
    words = split("a --s={seed} {set} '{{x}}' {out}/b", "run", ("seed", "out"), alone=("set",))
    said = {"seed": "{set}", "set": ["--c", "d e"], "out": "o"}
    assert fill(words, said) == ["a", "--s={set}", "--c", "d e", "{x}", "o/b"]


@pytest.mark.parametrize(
    ("words", "flag"),
    [
        (["a", "--seed", "{seed}"], "--seed"),
        (["--seed={seed}"], "--seed"),
        (["a", "{seed}"], None),
        (["a"], None),
    ],
)
def test_the_flag_of_the_seed(words: list[str], flag: str | None) -> None:
    assert seed_flag(words) == flag


@pytest.mark.parametrize(
    ("gone", "new", "alone"),
    [
        ("seed = 1", "seed = 42", True), ("manual_seed(1337 + x)", "manual_seed(7 + x)", True),
        ("x: int = 3; SEED: int = 1", "x: int = 3; SEED: int = 2", True), ("--seed 3", "--seed 4", True),
        ("seed = 1; v = 1 + x", "seed = 1; v = 2 + x", False), ("seeds = 1", "seeds = 2", False),
        ("r = Random(a.seed); v = 1 + x", "r = Random(a.seed); v = 2 + x", False),
        ("f(seed, 1)", "f(seed, 2)", False), ("seed = 1.5", "seed = 1.6", False),
        ("seed = 1", "seed = 1 + 1", False), ("lr = 1", "lr = 2", False), ("seed = 1", "", False),
    ],
)  # fmt: skip
def test_a_diff_of_a_seed(gone: str, new: str, alone: bool) -> None:
    lines = [f"-{gone}", *([f"+{new}"] if new else [])]
    assert seeds_alone("\n".join(["--- a/x", "+++ b/x", "@@ -1 +1 @@", *lines])) == alone


def test_a_diff_that_may_be_of_a_seed() -> None:
    """It is allowed, and told beside the verdict."""
    for gone, new, perhaps in (("v = seed * 2", "v = seed * 3", True), ("v = 2", "v = 3", False)):
        diff = f"diff --git a/x b/x\n--- a/x\n+++ b/x\n@@ -1 +1 @@\n-{gone}\n+{new}"
        assert perhaps_seeds(diff) == perhaps and not seeds_alone(diff)


def test_no_torch() -> None:
    """A verdict on another program needs none: reading, running and drawing load it nowhere."""
    rooms = "danlu.lab.referee, danlu.lab.referee.report, danlu.lab.referee.terminal"
    code = f"import sys, {rooms}; raise SystemExit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code]).returncode == 0
