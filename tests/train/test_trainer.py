"""The loop and what keeps it from harm: bounds, accumulation, clipping, what is not finite, full disks."""

from __future__ import annotations

import errno
import json
import math
import os
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
import torch

from danlu.files.errors import FileError
from danlu.objectives import Causal, Losses
from danlu.spec import resolve
from danlu.train import callbacks, checkpoint, store, whole
from danlu.train import update as updates
from danlu.train.callbacks import Callback
from danlu.train.errors import RunError
from danlu.train.parallel import Processes
from danlu.train.precision import LossScale
from danlu.train.reading import Reading
from danlu.train.run import train
from danlu.train.trainer import Trainer
from danlu.train.update import Update
from tests.train import small

ADAMW = ["optimizer=adamw", "train.log_every=1", "train.evaluate_tokens=200"]


@pytest.fixture
def corpus(tmp_path: Path) -> Path:
    return small.corpus(tmp_path)


# ------------------------------------------------------------ processes


def test_processes_agree_once_between_two_updates(
    tmp_path: Path, corpus: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And once more where one evaluated or saved, or where there are callbacks of one's own, which may end
    the run."""

    class Own(Callback):
        pass

    asked: list[int] = []
    share, begin = Processes.share, Trainer.begin

    def counted(self: Processes, value: Any) -> Any:
        if isinstance(value, tuple) and len(value) == 2 and isinstance(value[0], bool):  # at its end, signal
            asked[-1] += 1
        return share(self, value)

    def begun(self: Trainer) -> None:
        asked.append(0)
        begin(self)

    monkeypatch.setattr(Processes, "share", counted)
    monkeypatch.setattr(Trainer, "begin", begun)
    for own, between in (([], [1, 1, 2, 1]), ([Own()], [2, 2, 2, 2])):
        asked[:] = [0]
        more = [*ADAMW, "train.steps=5", "train.evaluate_every=3"]
        with small.quick():
            train(resolve(small.words(corpus, *more)), tmp_path / f"{len(own)}", small.Told(), callbacks=own)
        assert asked[1:5] == between


# ------------------------------------------------------------ one update, however it is divided


@pytest.mark.parametrize("documents", ["join", "separate"])
def test_accumulation_does_not_change_the_losses(tmp_path: Path, corpus: Path, documents: str) -> None:
    found = {}
    for micro in (8, 4, 2, 1):
        more = [*ADAMW, "train.steps=6", f"train.microbatch={micro}", f"data.documents={documents}"]
        small.run(corpus, tmp_path / str(micro), *more)
        found[micro] = small.losses(tmp_path / str(micro))
    assert len(found[8]) == 6 and found[8][-1] < found[8][0]
    for micro in (4, 2, 1):
        small.close(found[8], found[micro])


def test_separate_documents_are_another_loss(tmp_path: Path, corpus: Path) -> None:
    found = []
    for documents in ("join", "separate"):
        folder = tmp_path / documents
        # Documents of some 400 bytes in windows of 128: most windows have no separator, some have.
        more = [*ADAMW, "train.steps=4", "data.context=128", f"data.documents={documents}"]
        small.run(corpus, folder, *more, "model.init.branch=same")
        found.append(small.losses(folder))
    assert found[0] != found[1]


def test_recompute_gives_the_same_losses(tmp_path: Path, corpus: Path) -> None:
    more = [*ADAMW, "train.steps=5", "model.layers=2", "model.dropout=0.2"]
    for recompute in ("true", "false"):
        small.run(corpus, tmp_path / recompute, *more, f"train.recompute={recompute}")
    assert small.losses(tmp_path / "true") == small.losses(tmp_path / "false")


def test_dropout_follows_the_seed_and_the_step(tmp_path: Path, corpus: Path) -> None:
    more = [*ADAMW, "train.steps=3", "optimizer.lr=1e-12", "schedule.kind=constant", "model.init.branch=same"]
    for name, extra in {"none": [], "some": ["model.dropout=0.5"], "again": ["model.dropout=0.5"]}.items():
        small.run(corpus, tmp_path / name, *more, *extra)
    assert small.losses(tmp_path / "some") == small.losses(tmp_path / "again")
    assert small.losses(tmp_path / "some") != small.losses(tmp_path / "none")


def first_update(tmp_path: Path, corpus: Path, monkeypatch: pytest.MonkeyPatch, clip: float) -> float:
    """The norm of the gradients that reach the optimizer."""
    norms: list[float] = []
    real = Update.apply

    def spy(self: Update, step: int, read: Reading, **more: Any) -> bool:
        result = real(self, step, read, **more)
        norms.append(
            math.sqrt(sum(float(p.grad.square().sum()) for _, p in self.named if p.grad is not None))
        )
        norms.append(self.norm)
        return result

    monkeypatch.setattr(Update, "apply", spy)
    small.run(corpus, tmp_path / f"clip{clip}", *ADAMW, "train.steps=1", f"train.clip={clip}")
    monkeypatch.undo()
    reached, reported = norms
    assert reported > 0.1  # else 0.05 below would not clip
    assert small.rows(tmp_path / f"clip{clip}")[0]["grad_norm"] == reported
    return reached / reported


def test_clip(tmp_path: Path, corpus: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert first_update(tmp_path, corpus, monkeypatch, 0) == pytest.approx(1, rel=1e-6)  # 0 clips nothing
    assert first_update(tmp_path, corpus, monkeypatch, 1e6) == pytest.approx(1, rel=1e-6)
    share = first_update(tmp_path, corpus, monkeypatch, 0.05)
    norm = small.rows(tmp_path / "clip0.05")[0]["grad_norm"]
    assert share * norm == pytest.approx(0.05, rel=1e-4)


# ------------------------------------------------------------ bounds and the schedule


def test_tokens_bound_the_run(tmp_path: Path, corpus: Path) -> None:
    summary = small.run(corpus, tmp_path / "run", *ADAMW, "train.tokens=500")
    assert (summary["steps"], summary["tokens"]) == (4, 512)  # 8 × 16 tokens an update


def test_the_nearest_bound_holds(tmp_path: Path, corpus: Path) -> None:
    summary = small.run(corpus, tmp_path / "run", *ADAMW, "train.tokens=500", "train.steps=3")
    assert summary["steps"] == 3


def test_seconds_bound_the_run(tmp_path: Path, corpus: Path) -> None:
    summary = small.run(corpus, tmp_path / "run", *ADAMW, "train.seconds=0.2", "schedule.floor=0.25",
                        "schedule.warmup=0")  # fmt: skip
    active = summary["active_seconds"]
    spent = active["data"] + active["train"] + active["optimizer"]
    assert spent + 2e-3 >= 0.2  # rounded
    rates = [row["lr"] for row in small.rows(tmp_path / "run") if "lr" in row]
    assert rates == sorted(rates, reverse=True) and rates[-1] >= 0.25 * 1e-3


@pytest.mark.parametrize("kind", ["linear", "cosine"])
def test_the_rate_reaches_its_floor(tmp_path: Path, corpus: Path, kind: str) -> None:
    more = [f"schedule.kind={kind}", "schedule.floor=0.2", "schedule.warmup=0", "train.tokens=2560"]
    small.run(corpus, tmp_path / "run", *ADAMW, *more)
    rates = [row["lr"] for row in small.rows(tmp_path / "run") if "lr" in row]
    assert len(rates) == 20 and rates[0] == pytest.approx(1e-3)
    # The last update is the twentieth of twenty: one step above the floor, which progress 1 would be.
    slope = 1 / 20 if kind == "linear" else 0.5 * (1 - math.cos(math.pi / 20))
    assert rates[-1] == pytest.approx(1e-3 * (0.2 + 0.8 * slope))
    assert all(a > b for a, b in pairwise(rates))


# ------------------------------------------------------------ what is not finite


def poison(monkeypatch: pytest.MonkeyPatch, step: int, value: float, name: str | None) -> None:
    """At ``step`` (from 1) put ``value`` into the gradient of ``name``, or make it the loss."""
    real, updates = Update._read, 0

    def read(self: Update, total: torch.Tensor, terms: int) -> Reading:
        nonlocal updates
        updates += 1
        if updates == step and name is not None:
            parameter = dict(self.named)[name]
            assert parameter.grad is not None
            parameter.grad[1, 2] = value
        return real(self, total * value if updates == step and name is None else total, terms)

    monkeypatch.setattr(Update, "_read", read)


def weights_of(folder: Path, step: int) -> dict[str, torch.Tensor]:
    return checkpoint.load(folder, step)[0]["model"]


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_a_gradient_that_is_not_finite_stops_before_the_update(
    tmp_path: Path, corpus: Path, monkeypatch: pytest.MonkeyPatch, value: float
) -> None:
    run = [*ADAMW, "train.steps=6", "train.checkpoint_every=1", "train.keep=10"]
    name = "blocks.0.feed_forward.down.weight"
    seen: list[Trainer] = []
    real = Trainer.fit
    monkeypatch.setattr(Trainer, "fit", lambda self, metrics: (seen.append(self), real(self, metrics))[1])
    poison(monkeypatch, 4, value, name)
    with pytest.raises(RunError) as caught:
        small.run(corpus, tmp_path / "run", *run)
    what = "NaN" if math.isnan(value) else "infinite"
    said = str(caught.value)
    assert said.startswith(f"step 4: the gradient of {name} is {what} at 1 of ")
    assert "[1, 2]" in said and "nothing was updated" in said and "last checkpoint is of step 3" in said
    assert "\n" not in said
    saved = weights_of(tmp_path / "run", 3)
    in_memory = {n: p for n, p in seen[0].model.state_dict().items()}
    assert all(torch.equal(saved[n], in_memory[n]) for n in saved)
    monkeypatch.undo()
    small.run(corpus, tmp_path / "run", *run)  # the cause is gone: the run goes on
    small.run(corpus, tmp_path / "clean", *run)
    small.assert_same(tmp_path / "run", tmp_path / "clean")


def test_a_loss_that_is_not_finite_stops_before_the_update(
    tmp_path: Path, corpus: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    poison(monkeypatch, 1, math.nan, None)
    with pytest.raises(
        RunError, match=r"step 1: the loss is nan; nothing was updated\. There is no checkpoint"
    ):
        small.run(corpus, tmp_path / "run", *ADAMW, "train.steps=2")
    assert store.list_steps(tmp_path / "run") == []


def test_a_loss_made_nan_in_the_model_names_a_tensor(
    tmp_path: Path, corpus: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = Causal.loss
    monkeypatch.setattr(Causal, "loss", lambda *a: Losses(real(*a).total * math.nan, None))
    with pytest.raises(RunError, match=r"step 1: the gradient of [\w.]+ is NaN at"):
        small.run(corpus, tmp_path / "run", *ADAMW, "train.steps=2")


def test_a_weight_that_is_not_finite_is_named_before_gradients(
    tmp_path: Path, corpus: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = Update.gradients

    def gradients(self: Update, step: int, *rest: int) -> Reading:
        with torch.no_grad():
            dict(self.named)["blocks.0.mixer.out.weight"][0, 0] = math.inf
        return real(self, step, *rest)

    monkeypatch.setattr(Update, "gradients", gradients)
    with pytest.raises(RunError, match=r"the weight blocks\.0\.mixer\.out\.weight is infinite at 1 of"):
        small.run(corpus, tmp_path / "run", *ADAMW, "train.steps=2")


def test_an_overflow_of_the_norm_alone_is_said(
    tmp_path: Path, corpus: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    poison(monkeypatch, 1, 3e38, "embedding.weight")
    with pytest.raises(RunError, match="every gradient is finite, but their norm overflowed"):
        small.run(corpus, tmp_path / "run", *ADAMW, "train.steps=2")


def test_float16_skips_an_overflow_and_halves_the_scale(
    tmp_path: Path, corpus: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = [*ADAMW, "train.precision=float16", "train.steps=4", "train.checkpoint_every=1", "train.keep=9"]
    poison(monkeypatch, 3, math.inf, "embedding.weight")
    small.run(corpus, tmp_path / "run", *run)
    two, three, four = (weights_of(tmp_path / "run", step) for step in (2, 3, 4))
    assert all(torch.equal(two[name], three[name]) for name in two)
    assert not all(torch.equal(three[name], four[name]) for name in three)
    scales = [small.left(tmp_path / "run", step)[1]["scale"] for step in (2, 3, 4)]
    assert scales[1] == {"scale": scales[0]["scale"] / 2, "good": 0}
    assert scales[2] == {"scale": scales[1]["scale"], "good": 1}
    assert math.isfinite(small.losses(tmp_path / "run")[-1])


def test_float16_ends_when_halving_does_not_help(
    tmp_path: Path, corpus: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = Update._read

    def read(self: Update, total: torch.Tensor, terms: int) -> Reading:
        gradient = dict(self.named)["embedding.weight"].grad
        assert gradient is not None
        gradient[0, 0] = math.nan
        return real(self, total, terms)

    monkeypatch.setattr(Update, "_read", read)
    with pytest.raises(RunError, match=r"step 17: the gradient of embedding\.weight is NaN"):  # 2¹⁶ → 1
        small.run(corpus, tmp_path / "run", *ADAMW, "train.precision=float16", "train.steps=30")


def test_float16_agrees_with_float32(tmp_path: Path, corpus: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The scale is taken out of the gradients again: the norms are those of the loss."""
    scaled = {"float16": LossScale(256.0), "float32": LossScale()}  # so low that nothing overflows
    monkeypatch.setattr(updates.LossScale, "of", lambda precision: scaled[precision])
    for precision in ("float16", "float32"):
        small.run(corpus, tmp_path / precision, *ADAMW, "train.steps=3", f"train.precision={precision}")
    for half, full in zip(small.rows(tmp_path / "float16"), small.rows(tmp_path / "float32"), strict=True):
        if "loss" in half:
            assert half["loss"] == pytest.approx(full["loss"], rel=2e-3)
            assert half["grad_norm"] == pytest.approx(full["grad_norm"], rel=2e-2)


# ------------------------------------------------------------ checkpoints


def test_the_best_checkpoint_is_kept_and_is_by_the_metric(
    tmp_path: Path, corpus: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    scores = iter([4.0, 3.0, 3.5, 3.2, 3.0, 3.1])
    found = ({"bits_per_byte": score, "held_out_loss": 1.0} for score in scores)
    monkeypatch.setattr(callbacks, "evaluate", lambda *_, **__: next(found))
    more = ["train.steps=12", "train.evaluate_every=2", "train.checkpoint_every=2", "train.keep=1"]
    summary = small.run(corpus, tmp_path / "run", *ADAMW, *more)
    assert summary["best"] == {"step": 4, "value": 3.0}  # the first of two equals
    assert summary["metric"] == {
        "name": "bits_per_byte",
        "value": 3.1,
        "unit": "bits/byte",
        "better": "lower",
    }
    assert store.list_steps(tmp_path / "run") == [4, 12]


@pytest.mark.parametrize("keep", [1, 3])
def test_keep_prunes(tmp_path: Path, corpus: Path, keep: int) -> None:
    more = ["train.steps=6", "train.checkpoint_every=1", f"train.keep={keep}"]
    small.run(corpus, tmp_path / "run", *ADAMW, *more)
    assert store.list_steps(tmp_path / "run") == list(range(7 - keep, 7))


def test_a_full_disk_leaves_the_checkpoint_before(
    tmp_path: Path, corpus: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = [*ADAMW, "train.steps=6", "train.checkpoint_every=2", "train.keep=5"]
    real = whole._write

    def full(path: Path, named: Any) -> Any:
        if "step-4" in str(path) and path.name == "optimizer.safetensors":
            path.write_bytes(b"half")
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        return real(path, named)

    monkeypatch.setattr(whole, "_write", full)
    with pytest.raises(FileError, match=r"disk full while writing .*step-4") as caught:
        small.run(corpus, tmp_path / "run", *run)
    assert "\n" not in str(caught.value)
    assert store.list_steps(tmp_path / "run") == [2] and store.latest_step(tmp_path / "run") == 2
    monkeypatch.undo()
    small.run(corpus, tmp_path / "run", *run)
    small.run(corpus, tmp_path / "clean", *run)
    small.assert_same(tmp_path / "run", tmp_path / "clean")


def test_metrics_that_cannot_be_written_end_the_run_with_a_sentence(
    tmp_path: Path, corpus: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from danlu.train.metrics import MetricsFile

    def full(self: MetricsFile) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(MetricsFile, "_write", full)
    run = [*ADAMW, "train.steps=3", "train.checkpoint_every=1"]
    with pytest.raises(FileError, match=r"disk full while writing .*metrics\.jsonl"):
        small.run(corpus, tmp_path / "run", *run)
    assert store.list_steps(tmp_path / "run") == []  # no checkpoint whose metrics are lost


# ------------------------------------------------------------ compiling


@pytest.mark.slow
def test_compiling_is_recorded_and_repeated_by_a_resumed_run(
    tmp_path: Path, corpus: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = [*ADAMW, "train.steps=6", "train.checkpoint_every=3", "train.compile=true", "train.keep=3"]
    told = small.Told()
    small.run(corpus, tmp_path / "whole", *run, told=told)
    assert not [text for text in told.messages if text.startswith("compiling failed")]
    record = json.loads((tmp_path / "whole" / "environment.json").read_text())
    assert record["choices"]["compile"] is True
    summary = json.loads((tmp_path / "whole" / "summary.json").read_text())
    assert summary["active_seconds"]["compile"] > 0
    small.run(corpus, tmp_path / "eager", *[w for w in run if "compile" not in w], "train.compile=false")
    small.close(small.losses(tmp_path / "whole"), small.losses(tmp_path / "eager"), 1e-4)

    real = Trainer.step

    def update(self: Trainer) -> None:
        if self.state.step == 4:
            raise KeyboardInterrupt
        real(self)

    monkeypatch.setattr(Trainer, "step", update)
    with pytest.raises(KeyboardInterrupt):
        small.run(corpus, tmp_path / "cut", *run)
    monkeypatch.undo()
    small.run(corpus, tmp_path / "cut", *run)
    small.assert_same(tmp_path / "whole", tmp_path / "cut")


def test_choices_left_open_are_taken_from_the_record(
    tmp_path: Path, corpus: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A run that began in float32, by choice of the machine it began on, goes on in float32."""
    from danlu.train import run as runs

    run = [*ADAMW, "train.steps=4", "train.checkpoint_every=2", "train.precision=auto"]
    monkeypatch.setattr(runs, "pick_precision", lambda *_: "float32")
    real = Trainer.step
    monkeypatch.setattr(
        Trainer,
        "step",
        lambda self: real(self) if self.state.step < 2 else (_ for _ in ()).throw(RunError("x")),
    )
    with pytest.raises(RunError):
        train(resolve(small.words(corpus, *run)), tmp_path / "run", small.Told())
    monkeypatch.setattr(Trainer, "step", real)
    monkeypatch.setattr(runs, "pick_precision", lambda *_: "bfloat16")
    seen: list[str] = []
    fit = Trainer.fit
    monkeypatch.setattr(Trainer, "fit", lambda self, m: (seen.append(self.made.precision), fit(self, m))[1])
    small.run(corpus, tmp_path / "run", *run)
    assert seen == ["float32"]
