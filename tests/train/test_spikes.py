"""The detector; updates that are left out; the ring of checkpoints."""

from __future__ import annotations

import json
import math
import os
import subprocess
import sys
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from danlu.spec import resolve
from danlu.spec.errors import SpecError
from danlu.train import checkpoint, metrics, store
from danlu.train import run as runs
from danlu.train.callbacks import Callback
from danlu.train.errors import Diverged, RunError
from danlu.train.skipping import IN_A_ROW
from danlu.train.spikes import FEWEST, FLOOR, THRESHOLD, WINDOW, Detector, find
from danlu.train.trainer import Trainer
from tests.conftest import LIMIT, ROOT
from tests.train import small
from tests.train.test_resume import Died, at_call, die

LOSSES = st.floats(1e-6, 1e6)


@given(st.lists(LOSSES, min_size=FEWEST, max_size=2 * WINDOW), LOSSES)
def test_z_is_that_of_numpy(before: list[float], loss: float) -> None:
    detector = Detector()
    for one in before:
        detector.judge(one)
    logs = np.log(before[-WINDOW:])
    spread = np.median(np.abs(logs - np.median(logs)))
    expected = (math.log(loss) - np.median(logs)) / (1.4826 * spread + FLOOR)
    assert detector.z(loss) == pytest.approx(expected, rel=1e-9, abs=1e-9)
    assert detector.usual == pytest.approx(math.exp(np.median(logs)), rel=1e-12)


def test_what_never_enters_the_window() -> None:
    detector = Detector()
    for loss in [1.0, math.nan, math.inf, -1.0, 0.0] * 4:
        detector.judge(loss)
    assert detector.state() == [0.0] * 4
    assert detector.judge(math.nan) == detector.judge(math.inf) == math.inf
    assert detector.judge(0.0) == -math.inf
    assert math.isnan(detector.judge(1e9))  # too few before it


def test_false_alarms_are_rare() -> None:
    """Of normal ln L with deviation .05, z above 6 has a chance of 1e-9; with the estimated deviation it was
    seen not once in 20,000 losses, whose bound at 95 % is 3/20,000."""
    draw = np.random.default_rng(0)
    losses = np.exp(1 + 0.05 * draw.standard_normal(20_000))
    assert find(list(enumerate(losses.tolist()))) == []


def test_spikes_in_a_row_are_one() -> None:
    quiet = [1.0, 1.02, 0.98] * 10
    losses = [*quiet, 3.0, 9.0, 1.0, 4.0, *quiet, *quiet, 5.0, math.inf]
    first, second = find(list(enumerate(losses, start=1)))
    assert (first.first, first.last, first.top, first.loss) == (31, 34, 32, 9.0)
    assert (second.first, second.last, second.top, second.loss, second.z) == (95, 96, 96, math.inf, math.inf)
    assert (first.onset, second.onset) == (31, 95)
    assert first.usual == 1.0 and first.z > THRESHOLD


def test_its_state_is_all_of_it() -> None:
    detector = Detector()
    for i in range(200):
        detector.judge(1 + 0.1 * math.sin(i))
    again = Detector(json.loads(json.dumps(detector.state())))
    assert [detector.judge(1.7), detector.judge(1.1)] == [again.judge(1.7), again.judge(1.1)]


# ---------------------------------------------------------------- in a run

BASE = ["optimizer=adamw", "schedule=constant", "train.log_every=1", "train.ring=10"]


class Poison(Callback):
    """Makes the gradients of one update what they should not be."""

    def __init__(self, step: int, factor: float) -> None:
        self.step, self.factor = step, factor
        self.seen: dict[int, dict[str, torch.Tensor]] = {}

    def before_update(self, run: Any) -> None:
        run.update.loss = run.objective.loss
        if run.state.step == self.step:
            run.update.loss = self._poisoned(run)
        kept = run.tensors()
        self.seen[run.state.step] = {k: t.clone() for k, t in (kept["model"] | kept["optimizer"]).items()}

    def _poisoned(self, run: Any) -> Any:
        def loss(model: Any, example: Any) -> Any:
            found = run.objective.loss(model, example)
            return found._replace(total=found.total * self.factor)

        return loss


def go(tmp_path: Path, name: str, poison: Poison, *more: str) -> dict[str, Any]:
    experiment = resolve(small.words(small.corpus(tmp_path), *BASE, *more))
    with small.quick():
        summary = runs.train(experiment, tmp_path / name, small.Told(), callbacks=[poison])
    assert summary is not None
    return summary


@pytest.mark.parametrize(("policy", "factor"), [("loss", 1e4), ("norm", 1e4), ("either", math.nan)])
def test_a_spike_is_left_out_and_told(tmp_path: Path, policy: str, factor: float) -> None:
    """Moments, step counts and weights are those before; the metrics say so; the run goes on."""
    poison = Poison(25, factor)
    go(tmp_path, "run", poison, "train.steps=28", f"train.skip={policy}")
    (row,) = [row for row in small.rows(tmp_path / "run") if "spike" in row]
    assert row["step"] == 26 and row["spike"]["skipped"] is True
    assert row["spike"]["of"] == ("loss" if policy == "loss" else row["spike"]["of"])
    before, after = poison.seen[25], poison.seen[26]
    assert before.keys() == after.keys() and any(name.endswith("/step") for name in before)
    assert all(torch.equal(before[name], after[name]) for name in before)
    assert any(not torch.equal(after[name], poison.seen[27][name]) for name in after)


@pytest.mark.parametrize(
    "part",
    [
        "model.norm=batch",
        pytest.param("model.norm={kind: batch-renorm, begin: 2, d_by: 4, r_by: 4}", marks=pytest.mark.slow),
        pytest.param("model.bottleneck={kind: vq, size: 4, codes: 8, restart: 0.5}", marks=pytest.mark.slow),
    ],
)
def test_what_a_pass_moves_is_as_before(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, part: str) -> None:
    """Where a callback leaves an update out whose activations are not numbers, the next ones are those of a
    run whose checkpoint is of between."""
    seen: dict[str, dict[str, torch.Tensor]] = {}

    class Leave(Callback):
        def before_update(self, run: Any) -> None:
            if run.state.step == 2:  # NaN in a pass and not in the weights
                self.hook = run.model.blocks[0].register_forward_pre_hook(
                    lambda module, given: (given[0] * math.nan, *given[1:])
                )

        def after_gradients(self, run: Any) -> None:
            if run.state.step == 2:
                self.hook.remove()
                run.skip = True

        def after_step(self, run: Any) -> None:
            if run.state.step in (2, 3):
                found = {**run.model.state_dict(), **dict(run.model.named_buffers())}
                seen[f"{run.state.step}"] = {name: tensor.clone() for name, tensor in found.items()}

    more = ["+masked-lm", part, "train.steps=6", "train.checkpoint_every=3", "train.keep=9"]
    for name in ("whole", "cut"):
        experiment = resolve(small.words(small.corpus(tmp_path), *BASE, *more))
        with small.quick(), monkeypatch.context() as patch, suppress(Died):
            if name == "cut":
                at_call(patch, Trainer, "step", 4, die)
            runs.train(experiment, tmp_path / name, small.Told(), callbacks=[Leave()])
    with small.quick():
        runs.train(experiment, tmp_path / "cut", small.Told(), callbacks=[Leave()])
    for name, tensor in seen["2"].items():  # candidates without a key are not taken
        assert name.endswith("._candidates") or torch.equal(tensor, seen["3"][name]), name
    (here, _), (there, _) = small.left(tmp_path / "whole"), small.left(tmp_path / "cut")
    assert all(torch.equal(here[name], there[name]) for name in here)
    assert all(bool(tensor.isfinite().all()) for tensor in here.values())


def test_where_tiger_folds_nothing_is_left_out(tmp_path: Path) -> None:
    tiger = ["optimizer={kind: tiger, lr: 0.02}", "train.microbatch=2", "train.clip=0", "train.steps=2"]
    rest = [word for word in small.words(small.corpus(tmp_path)) if not word.startswith("optimizer.")]
    for more, callbacks in ([["train.skip=loss"], []], [[], [Always()]]):
        with small.quick(), pytest.raises(RunError, match=r"where Tiger|and Tiger accumulates it in its"):
            runs.train(resolve([*rest, *tiger, *more]), tmp_path / "run", small.Told(), callbacks=callbacks)


class Always(Callback):
    def after_gradients(self, run: Any) -> None:
        run.skip = True


def test_without_a_policy_what_is_not_finite_ends_the_run_and_is_told(tmp_path: Path) -> None:
    with pytest.raises(Diverged):
        go(tmp_path, "run", Poison(12, math.nan), "train.steps=20")
    last = metrics.read(tmp_path / "run" / "metrics.jsonl")[-1]
    assert last["step"] == 13 and "step 13: " in last["diverged"]


def test_skipping_ends_where_it_does_not_help(tmp_path: Path) -> None:
    class Forever(Poison):
        def before_update(self, run: Any) -> None:
            self.step = max(self.step, run.state.step)
            super().before_update(run)

    with pytest.raises(Diverged, match=rf"^step {5 + IN_A_ROW + 1}: "):
        go(tmp_path, "run", Forever(5, math.inf), "train.steps=40", "train.skip=loss")


def test_it_resumes_bit_for_bit_and_the_ring_stays(tmp_path: Path) -> None:
    """Checkpoints of before the spike outlive the newest two."""
    more = ["train.skip=loss", "train.steps=60", "train.ring=5", "train.evaluate_tokens=100"]
    go(tmp_path, "whole", Poison(26, 1e4), *more)
    assert {20, 25, 55, 60} <= set(store.list_steps(tmp_path / "whole"))
    assert not {30, 35, 40} & set(store.list_steps(tmp_path / "whole"))

    class Stop(Poison):
        def after_step(self, run: Any) -> None:
            if run.state.step == 33:
                run.interrupt.requested = "SIGTERM"

    go(tmp_path, "cut", Stop(26, 1e4), *more)
    assert store.latest_step(tmp_path / "cut") == 33
    go(tmp_path, "cut", Poison(26, 1e4), *more)
    kept = [step for step in store.list_steps(tmp_path / "cut") if step != 33]
    assert kept == store.list_steps(tmp_path / "whole")
    for step in kept:
        (here, state), (there, its) = (small.left(tmp_path / name, step) for name in ("whole", "cut"))
        assert all(torch.equal(here[name], there[name]) for name in here)
        assert state["spikes"]["windows"] == its["spikes"]["windows"]
        assert state["spikes"]["kept"] == its["spikes"]["kept"] == ([20, 25] if step > 26 else [])
    assert small.rows(tmp_path / "whole") == small.rows(tmp_path / "cut")


def test_the_ring_stays_where_one_checkpoint_is_kept(tmp_path: Path) -> None:
    """With train.keep = 1: at any moment the two newest of the ring, after a spike the two before it; a run
    that dies and goes on, which removes what need not stay, has the same."""

    class Watch(Poison):
        def __init__(self, dies: int | None = None) -> None:
            super().__init__(16, 1e4)
            self.there: dict[int, set[int]] = {}
            self.dies = dies

        def before_update(self, run: Any) -> None:
            super().before_update(run)
            self.there[run.state.step] = set(store.list_steps(run.folder.path))
            if run.state.step == self.dies:
                raise KeyboardInterrupt

    more = ["train.skip=loss", "train.steps=32", "train.ring=5", "train.keep=1", "train.evaluate_tokens=100"]
    go(tmp_path, "whole", whole := Watch(), *more)
    with pytest.raises(KeyboardInterrupt):
        go(tmp_path, "cut", Watch(dies=23), *more)
    go(tmp_path, "cut", cut := Watch(), *more)
    for there in (whole.there, cut.there):
        for step, found in there.items():
            newest = {step - step % 5, step - step % 5 - 5} - {0, -5}
            before = {10, 15} if step > 16 else set()
            assert newest | before <= found and len(found - before) <= 3, (step, found)
    assert min(cut.there) == 20
    assert store.list_steps(tmp_path / "cut") == store.list_steps(tmp_path / "whole") == [10, 15, 25, 30, 32]


def test_a_default_run_keeps_no_state_of_it(tmp_path: Path) -> None:
    small.run(small.corpus(tmp_path), tmp_path / "run", "train.steps=3")
    assert "spikes" not in checkpoint.load(tmp_path / "run")[1]


def test_what_is_no_policy() -> None:
    with pytest.raises(SpecError, match=r"train\.skip"):
        resolve("nano train.skip=spikes")


@pytest.mark.slow
def test_what_one_process_finds_all_leave_out(tmp_path: Path) -> None:
    """The second process alone sees a spike: the first writes of it, and no rule counts the update."""
    words = small.words(small.corpus(tmp_path), *BASE, "train.steps=24", "train.skip=loss")
    script = Path(__file__).parent / "one_sided.py"
    command = [
        sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc_per_node=2",
        str(script), str(tmp_path / "run"), *words,
    ]  # fmt: skip
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    done = subprocess.run(command, capture_output=True, text=True, env=environment, timeout=LIMIT)
    assert done.returncode == 0, done.stderr
    (row,) = [row for row in small.rows(tmp_path / "run") if "spike" in row]
    assert (row["step"], row["spike"]["skipped"]) == (21, True)
    tensors, _ = small.left(tmp_path / "run")
    steps = {float(t) for name, t in tensors.items() if name.endswith("/step")}
    assert steps == {23.0}
