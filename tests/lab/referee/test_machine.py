"""What a run shares with other work: GPUs are locked by UUID; a program that ends by the clock is not judged
on a busy machine."""

from __future__ import annotations

import math
import sys
from pathlib import Path
from typing import Any

import pytest

from danlu.lab.referee import blocks, machine, process
from danlu.lab.referee.errors import Void
from danlu.lab.referee.plan import Arm, Metric, Plan
from danlu.lab.referee.runs import Record, Run
from danlu.lab.referee.seeds import Seeds, shuffled
from tests.lab.referee.program import NOISY, answer, make


def test_gpus_are_held_while_a_program_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Those that it will see, against another referee; free afterwards."""
    smi = tmp_path / "bin" / "nvidia-smi"
    smi.parent.mkdir()
    smi.write_text("#!/bin/sh\nprintf '0, GPU-aaa, GPU-aaa\\n1, GPU-bbb, GPU-bbb\\n'\n")
    smi.chmod(0o755)
    monkeypatch.setenv("PATH", f"{smi.parent}:/usr/bin:/bin")
    monkeypatch.setenv("DANLU_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "1")
    held = tmp_path / "cache" / "gpus" / "GPU-bbb.lock.holder"
    free = str(held).replace("bbb", "aaa")
    looks = f"{NOISY}\nimport os\nassert os.path.exists({str(held)!r}) and not os.path.exists({free!r})"
    found = answer(make(tmp_path / "p", train_py=looks), pairs=2)
    assert found.outcome == "answered", found.why
    assert not held.exists()


def test_variables_without_secrets(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OMP_NUM_THREADS", "3")
    monkeypatch.setenv("SOMETHING_ELSE", "4")
    monkeypatch.setenv("HF_TOKEN", "hush")
    assert machine.variables()["OMP_NUM_THREADS"] == "3" and "PATH" in machine.variables()
    assert "SOMETHING_ELSE" not in machine.variables() and "HF_TOKEN" not in machine.variables()
    assert machine.variables(["HF_TOKEN"])["HF_TOKEN"] == "hush"
    assert machine.telling(["HF_TOKEN"])["HF_TOKEN"] == "(secret)" and "PATH" not in machine.telling()


def test_what_runs_elsewhere_is_let_be(tmp_path: Path) -> None:
    """A command that runs another to its end, at a place of its own, is not ended with it."""
    here, there = tmp_path / "here", tmp_path / "there"
    here.mkdir(), there.mkdir()
    code = f"""
from pathlib import Path
from danlu.lab.referee.process import run
run(["true"], Path("."), {{}}, Path({str(there)!r}), 60)
print("whole")
"""
    ended = process.run([sys.executable, "-c", code], tmp_path, machine.variables(), here, 60)
    assert (ended.exit, process.tail(here / "stdout.txt")) == (0, "whole\n")


class Busy:
    """Runs in which other work takes a share of the machine in every ``every``-th block."""

    def __init__(self, every: float) -> None:
        metric = Metric(name="loss", better="lower", stdout="(.)")
        arms = {"base": Arm(), "idea": Arm(set="x")}
        self.plan = Plan(run="train {seed} {set}", arms=arms, metric=metric, timed=True)
        self.made: list[Run] = []
        self._every = every

    def carry_out(self, run: Run, words: str) -> Record:
        self.made.append(run)
        block = (len(self.made) - 1) // 2 + 1
        others = 0.5 if block % self._every == 0 else 0.0
        return Record(run.arm, "ended", 1.0, "", "", 0, 1.0, 1.0, others, 1)


def carry_out(tmp_path: Path, every: float, count: int) -> tuple[blocks.Blocks, Busy]:
    runs: Any = Busy(every)
    sets = {"base": (), "idea": ("x",)}
    return blocks.carry_out(runs, Seeds(tmp_path), "", sets, count, 0), runs


def test_a_disturbed_block_is_made_good(tmp_path: Path) -> None:
    """By another with another seed; one run of each arm in a block, all of its seed."""
    found, runs = carry_out(tmp_path, 4, 10)
    assert len(found.seeds) == len(set(found.seeds)) == 10 and len(runs.made) == 2 * 13
    assert all(len(records) == 10 for records in found.records.values())
    pairs = list(zip(runs.made[::2], runs.made[1::2], strict=True))
    assert all(a.seed == b.seed and {a.arm, b.arm} == {"base", "idea"} for a, b in pairs)


def test_too_many_disturbed_blocks_are_void(tmp_path: Path) -> None:
    with pytest.raises(Void, match=r"4 blocks were disturbed: other work took more than 5% of the machine"):
        carry_out(tmp_path, 2, 10)
    (tmp_path / "quiet").mkdir()
    assert len(carry_out(tmp_path / "quiet", math.inf, 10)[1].made) == 20


def test_seeds_are_drawn_once_and_apart(tmp_path: Path) -> None:
    """More of them begin with those that there are; no two purposes share one; orders are even."""
    seeds = Seeds(tmp_path)
    first, tuning = seeds.of("pairs", 5), seeds.of("tune", 5)
    assert Seeds(tmp_path).of("pairs", 8)[:5] == first and not set(first) & set(tuning)
    firsts = [shuffled(["a", "b"], block, seeds)[0] for block in range(400)]
    assert abs(firsts.count("a") - 200) < 5 * 10  # five standard errors
    assert firsts == [shuffled(["a", "b"], block, Seeds(tmp_path))[0] for block in range(400)]
