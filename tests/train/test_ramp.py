"""A run whose batch grows: the same samples in the same order, another number of them at once."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from danlu.objectives import Draw
from danlu.train.errors import RunError
from danlu.train.reading import Reading
from danlu.train.trainer import Trainer
from danlu.train.update import Update
from tests.train import small

RUN = ["optimizer=adamw", "train.log_every=1", "train.evaluate_tokens=200"]
STAIRS = "train.ramp=[{batch: 2, until: 3 steps}, {batch: 4, until: 5 steps}]"  # then 8
STRAIGHT = "train.ramp=[{batch: 2, until: 320 tokens, by: 2}]"  # contexts of 16: 20 samples to get to 8


@pytest.fixture
def corpus(tmp_path: Path) -> Path:
    return small.corpus(tmp_path)


def samples(
    tmp_path: Path, corpus: Path, monkeypatch: pytest.MonkeyPatch, name: str, *more: str
) -> list[int]:
    """The numbers of the samples that the updates of a run read, in their order."""
    read: list[int] = []
    real = Update.example

    def spy(self: Update, draw: Draw) -> dict[str, torch.Tensor]:
        read.extend(range(draw.first + draw.start, draw.first + draw.stop))
        return real(self, draw)

    with monkeypatch.context() as patch:
        patch.setattr(Update, "example", spy)
        small.run(corpus, tmp_path / name, *RUN, *more)
    return read


@pytest.mark.parametrize("ramp", [STAIRS, STRAIGHT])
@pytest.mark.parametrize("micro", ["none", "2"])
def test_the_order_of_the_samples_is_the_same(
    tmp_path: Path, corpus: Path, monkeypatch: pytest.MonkeyPatch, ramp: str, micro: str
) -> None:
    more = ["train.tokens=1024", f"train.microbatch={micro}"]
    plain = samples(tmp_path, corpus, monkeypatch, "plain", *more)
    ramped = samples(tmp_path, corpus, monkeypatch, "ramped", *more, ramp)
    assert plain == list(range(64))
    assert ramped == list(range(len(ramped))) and len(ramped) >= 64


def test_tokens_count_what_was_read(tmp_path: Path, corpus: Path) -> None:
    small.run(corpus, tmp_path / "run", *RUN, "train.steps=7", STAIRS)
    tokens = [row["tokens"] // 16 for row in small.rows(tmp_path / "run") if "loss" in row]
    assert tokens == [2, 4, 6, 10, 14, 22, 30]


def test_the_loss_is_per_token_of_its_batch(tmp_path: Path, corpus: Path) -> None:
    """With weights that stand still, the mean over small batches is the loss of the large one."""
    still = ["optimizer.lr=1e-12", "schedule=constant", "model.init.branch=same"]
    small.run(corpus, tmp_path / "large", *RUN, *still, "train.steps=1")
    small.run(
        corpus, tmp_path / "small", *RUN, *still, "train.steps=3",
        "train.ramp=[{batch: 2, until: 2 steps}, {batch: 4, until: 3 steps}]",
    )  # fmt: skip
    (large,), parts = small.losses(tmp_path / "large"), small.losses(tmp_path / "small")
    assert parts[0] != parts[1]
    assert (parts[0] * 2 + parts[1] * 2 + parts[2] * 4) / 8 == pytest.approx(large, rel=1e-5)


def test_a_resumed_run_goes_on_where_it_was(
    tmp_path: Path, corpus: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Interrupted after every update: batches, rates and settings that vary are the same bit for bit."""
    run = [
        *RUN, "train.steps=7", "train.checkpoint_every=1", "train.keep=9", STAIRS, "model.dropout=0.1",
        "schedule={kind: wsd, warmup: 2 steps, decay: 3 steps, shape: sqrt}",
        "vary=[{setting: beta2, start: 0.5, pieces: [{to: 0.9, until: 64 tokens}]}, {setting: weight_decay}]",
    ]  # fmt: skip
    small.run(corpus, tmp_path / "whole", *run)
    real = Trainer.step
    updates = 0

    def update(self: Trainer) -> None:
        nonlocal updates
        updates += 1
        if updates % 2 == 0:
            raise RunError("interrupted")
        real(self)

    with monkeypatch.context() as patch:
        patch.setattr(Trainer, "step", update)
        for _ in range(6):
            with pytest.raises(RunError, match="interrupted"):
                small.run(corpus, tmp_path / "cut", *run)
    small.run(corpus, tmp_path / "cut", *run)
    small.assert_same(tmp_path / "whole", tmp_path / "cut")


def test_what_varies_reaches_the_rule(tmp_path: Path, corpus: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[float] = []
    real = Update.gradients

    def spy(self: Update, *place: int) -> Reading:
        seen.append(self.made.rules[0].param_groups[0]["weight_decay"])
        return real(self, *place)

    monkeypatch.setattr(Update, "gradients", spy)
    more = ["schedule={kind: linear, warmup: 0, floor: 0}", "optimizer.weight_decay=0.5"]
    small.run(corpus, tmp_path / "run", *RUN, "train.steps=4", *more, "vary=[{setting: weight_decay}]")
    assert seen == [0.5, 0.375, 0.25, 0.125]
