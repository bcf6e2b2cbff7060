"""Loss and norm that are read after the update they belong to, as on a GPU: forced here on the CPU."""

from __future__ import annotations

import math
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch

from danlu.spec import resolve
from danlu.train import callbacks, store
from danlu.train import update as updates
from danlu.train.errors import Diverged
from danlu.train.precision import clip_on_device
from danlu.train.reading import Reading
from danlu.train.trainer import Trainer
from danlu.train.update import Update, reads_late
from tests.train import small

RUN = ["optimizer=adamw", "train.steps=8", "train.log_every=3", "train.checkpoint_every=4", "train.keep=9"]
RUN += ["train.evaluate_tokens=200"]


@pytest.fixture
def corpus(tmp_path: Path) -> Path:
    return small.corpus(tmp_path)


@pytest.fixture
def late(monkeypatch: pytest.MonkeyPatch) -> None:
    force(monkeypatch)


def force(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(updates, "reads_late", lambda made: True)


@pytest.mark.parametrize(
    ("device", "precision", "expected"),
    [
        ("cuda", "bfloat16", True),
        ("cuda", "float32", True),
        ("cuda", "float16", False),
        ("cpu", "float32", False),
    ],
)
def test_a_gpu_reads_late_where_no_loss_scale_must_know(device: str, precision: str, expected: bool) -> None:
    made: Any = SimpleNamespace(
        group=SimpleNamespace(device=torch.device(device)), precision=precision, experiment=resolve("nano")
    )
    assert reads_late(made) is expected


@pytest.mark.parametrize(
    "words",
    [
        ["train.clip=0.05"],  # always
        ["train.clip=1e6"],  # never
        ["train.clip=0"],
        ["train.clip=0.05", "train.evaluate_every=2", "train.internals_every=5", "train.microbatch=4"],
        ["train.log_every=1", "optimizer=muon", "train.average=ema"],
        ["train.log_every=100", "train.checkpoint_every=none", "optimizer=lion"],
        [
            "train.clip=0",
            "train.microbatch=2",
            "optimizer=tiger",
        ],  # folded: there are no gradients at the end
    ],
    ids=" ".join,
)
def test_weights_metrics_and_checkpoints_are_those_of_reading_at_once(
    tmp_path: Path, corpus: Path, monkeypatch: pytest.MonkeyPatch, words: list[str]
) -> None:
    small.run(corpus, tmp_path / "at once", *RUN, *words)
    force(monkeypatch)
    small.run(corpus, tmp_path / "late", *RUN, *words)
    small.assert_same(tmp_path / "at once", tmp_path / "late")


def test_an_update_is_read_after_the_next_is_made(
    tmp_path: Path, corpus: Path, monkeypatch: pytest.MonkeyPatch, late: None
) -> None:
    """At once only before a row (1, 6), a checkpoint (4) and the end (7)."""
    order: list[tuple[str, int]] = []
    for name in ("apply", "check"):
        real = getattr(Update, name)

        def spy(self: Update, step: int, *rest: Any, name: str = name, real: Any = real, **more: Any) -> Any:
            order.append((name, step + 1))
            return real(self, step, *rest, **more)

        monkeypatch.setattr(Update, name, spy)
    small.run(corpus, tmp_path / "run", *RUN, "train.log_every=6", "train.steps=7")
    expected = "apply 1, check 1, apply 2, apply 3, check 2, apply 4, check 3, check 4, apply 5, apply 6, "
    expected += "check 5, check 6, apply 7, check 7"
    assert ", ".join(f"{name} {step}" for name, step in order) == expected


@pytest.mark.parametrize("then", ["late", "at once"])
def test_a_run_that_was_cut_off_goes_on(
    tmp_path: Path, corpus: Path, monkeypatch: pytest.MonkeyPatch, then: str
) -> None:
    """By a signal after step 2, by a crash after step 5, each with one update to be read."""
    small.run(corpus, tmp_path / "whole", *RUN)
    real = Trainer.step

    def step(self: Trainer) -> None:
        if self.state.step == 5:
            raise KeyboardInterrupt
        real(self)
        if self.state.step == 2:
            assert len(self.unread) == 1
            self.interrupt.requested = "SIGTERM"

    with monkeypatch.context() as patch:
        force(patch)
        patch.setattr(Trainer, "step", step)
        assert small.run(corpus, tmp_path / "cut", *RUN)["stopped"] == "SIGTERM"
        assert store.list_steps(tmp_path / "cut") == [2]
        with pytest.raises(KeyboardInterrupt):
            small.run(corpus, tmp_path / "cut", *RUN)
        assert store.list_steps(tmp_path / "cut") == [2, 4]
    if then == "late":
        force(monkeypatch)
    small.run(corpus, tmp_path / "cut", *RUN)
    (here, state), (there, its_state) = small.left(tmp_path / "cut"), small.left(tmp_path / "whole")
    assert state == its_state and here.keys() == there.keys()
    assert all(torch.equal(here[name], there[name]) for name in here)
    assert small.rows(tmp_path / "cut") == small.rows(tmp_path / "whole")


@pytest.mark.parametrize("what", ["the loss", "the norm of the gradients"])
@pytest.mark.parametrize("bad", range(1, 9))
def test_what_is_not_finite_is_told_of_its_step_and_nothing_saved_or_evaluated_after(
    tmp_path: Path, corpus: Path, monkeypatch: pytest.MonkeyPatch, late: None, what: str, bad: int
) -> None:
    """There are rows after 1, 3, 6, evaluations after 2, 4, 6, 8, checkpoints after 5, 8 and where the
    evaluation was the best."""
    words = [*RUN, "train.evaluate_every=2", "train.checkpoint_every=5"]
    small.run(corpus, tmp_path / "whole", *words)
    real, seen = Update._read, 0

    def read(self: Update, total: torch.Tensor, terms: int) -> Reading:
        nonlocal seen
        seen += 1
        if seen == bad and what == "the loss":
            total = total * math.nan
        elif seen == bad:
            gradient = dict(self.named)["blocks.0.mixer.out.weight"].grad
            assert gradient is not None
            gradient[1, 2] = math.nan
        return real(self, total, terms)

    evaluated: list[int] = []
    real_score = callbacks.Evaluate.alone

    def score(self: callbacks.Evaluate, run: Trainer) -> dict[str, float]:
        evaluated.append(run.state.step)
        return real_score(self, run)

    with monkeypatch.context() as patch:
        patch.setattr(Update, "_read", read)
        patch.setattr(callbacks.Evaluate, "alone", score)
        with pytest.raises(Diverged) as caught:
            small.run(corpus, tmp_path / "run", *words)
    assert evaluated == list(range(2, bad, 2))
    saved = [step for step in store.list_steps(tmp_path / "whole") if step < bad]
    assert store.list_steps(tmp_path / "run") == saved
    said = str(caught.value)
    assert said.startswith(f"step {bad}: {what} is nan, which was seen after the update")
    expected = f"The last checkpoint is of step {saved[-1]}" if saved else "There is no checkpoint yet"
    assert f"what was saved before is sound. {expected}" in said
    *before, last = small.rows(tmp_path / "run")
    assert before == [r for r in small.rows(tmp_path / "whole") if r["step"] < bad]
    assert last["step"] == bad and last["diverged"] == said
    small.run(corpus, tmp_path / "run", *words)  # the cause is gone: the run goes on
    small.assert_same(tmp_path / "run", tmp_path / "whole")


@pytest.mark.parametrize("clip", [0.05, 1.0, 3.0])
def test_gradients_are_clipped_on_the_device_as_by_a_number(clip: float) -> None:
    """To the last bit in float32; in bfloat16 the factor is rounded to it, by up to 2⁻⁹ of itself, and the
    product once more."""
    torch.manual_seed(0)
    for _ in range(100):
        parts = [torch.randn(5, 3), torch.randn(7) * 0.1]
        norm = torch.linalg.vector_norm(torch.cat([p.flatten() for p in parts])).double()
        factor = min(1.0, clip / (float(norm) + 1e-6))
        for dtype, bound in ((torch.float32, 0.0), (torch.bfloat16, 2.0**-7)):
            found = [p.to(dtype) for p in parts]
            expected = [p.float() * factor for p in found]
            clip_on_device(found, norm, clip)
            for one, other in zip(found, expected, strict=True):
                torch.testing.assert_close(one.float(), other, rtol=bound, atol=0.0)


def test_a_reading_is_of_a_loss_by_term_and_of_a_norm_without_the_scale() -> None:
    read = Reading(torch.tensor([12.0, 10.0], dtype=torch.float64), terms=8, scale=4.0)
    assert (read.loss, read.norm) == (1.5, 2.5)
