"""Every update rule in a run: it learns, resumes bit for bit; Tiger's accumulation in its momentum."""

from __future__ import annotations

import os
import signal
from pathlib import Path

import pytest
import torch

from danlu.spec import resolve
from danlu.train import run as runs
from danlu.train.trainer import Trainer
from tests.train import small

RUN = ["train.steps=8", "train.evaluate_every=4", "train.evaluate_tokens=400", "train.log_every=1"]
RULES = {
    "sgd": ["optimizer={kind: sgd, lr: 0.1}"],
    "adam": ["optimizer={kind: adam, lr: 0.01}"],
    "lamb": ["optimizer={kind: lamb, lr: 0.02}"],
    "lion": ["optimizer={kind: lion, lr: 0.003, lazy_rows: true}"],
    "tiger": ["optimizer={kind: tiger, lr: 0.02}"],
    "tiger-folded": ["optimizer={kind: tiger, lr: 0.02}", "train.microbatch=2", "train.clip=0"],
    "schedule-free": ["optimizer={kind: schedule-free, lr: 0.02}"],
}


def words(path: Path, *more: str) -> list[str]:
    """``small.words`` without Muon's rates."""
    return [word for word in small.words(path, *more) if word.split("=")[0] not in MUONS]


MUONS = ("optimizer.lr", "optimizer.adamw_lr")


def run(path: Path, folder: Path, *more: str) -> None:
    small.go(resolve(words(path, *RUN, *more)), folder)


@pytest.fixture
def corpus(tmp_path: Path) -> Path:
    return small.corpus(tmp_path)


@pytest.mark.parametrize("rule", RULES)
def test_stopped_after_any_update_it_goes_on_bit_for_bit(
    rule: str, tmp_path: Path, corpus: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also Schedule-Free, which evaluates and saves another sequence than it trains."""
    run(corpus, tmp_path / "whole", *RULES[rule])
    before = Trainer.step
    count = 0

    def update(self: Trainer) -> None:
        nonlocal count
        count += 1
        before(self)
        if count == 3:
            os.kill(os.getpid(), signal.SIGTERM)

    with monkeypatch.context() as patch, small.quick():
        patch.setattr(Trainer, "step", update)
        experiment = resolve(words(corpus, *RUN, *RULES[rule]))
        assert runs.train(experiment, tmp_path / "cut", small.Told()) is None or count == 3
    run(corpus, tmp_path / "cut", *RULES[rule])
    (here, state), (there, its_state) = (small.left(tmp_path / name) for name in ("whole", "cut"))
    assert state == its_state and here.keys() == there.keys()
    assert all(torch.equal(here[name], there[name]) for name in here)
    assert small.rows(tmp_path / "whole") == small.rows(tmp_path / "cut")
    losses = small.losses(tmp_path / "whole")
    assert losses[-1] < losses[0]


def test_microbatches_inside_the_momentum_change_nothing(tmp_path: Path, corpus: Path) -> None:
    """Up to rounding: a sign may differ where a momentum is near zero, so two updates are compared."""
    few = [*RULES["tiger"], "train.clip=0", "train.steps=3"]
    run(corpus, tmp_path / "whole", *few)
    run(corpus, tmp_path / "folded", *few, "train.microbatch=2")
    small.close(small.losses(tmp_path / "whole"), small.losses(tmp_path / "folded"), 1e-4)
    row = small.rows(tmp_path / "folded")[0]
    assert row["skipped"] == 0 and "grad_norm" not in row
    assert "grad_norm" in small.rows(tmp_path / "whole")[0]


def test_a_gradient_that_is_not_finite_is_left_out_and_told(
    tmp_path: Path, corpus: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """While the loss is finite: tensor by tensor, and the run goes on."""
    before = Trainer.__init__

    def init(self: Trainer, *args: object, **kwargs: object) -> None:
        before(self, *args, **kwargs)  # type: ignore[arg-type]
        calls = iter([float("nan")])
        weight = dict(self.made.named)["blocks.0.feed_forward.down.weight"]
        weight.register_hook(lambda g: g * next(calls, 1.0))

    monkeypatch.setattr(Trainer, "__init__", init)
    run(corpus, tmp_path / "run", *RULES["tiger-folded"])
    assert [row["skipped"] for row in small.rows(tmp_path / "run") if "skipped" in row] == [1] * 8
