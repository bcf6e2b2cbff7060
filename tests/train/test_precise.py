"""Evaluations and checkpoints with statistics of batch norms of their own: ``train.precise_bn``."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
import torch

from danlu.data import prepare
from danlu.objectives import build
from danlu.spec import SpecError, resolve
from danlu.train.evaluate import evaluate
from danlu.train.load import load_run
from danlu.train.parallel import ALONE
from danlu.train.precise import precise_statistics, statistics, training_passes
from tests.train import small
from tests.train.test_averages import EMA, forget

RUN = [
    "+masked-lm", "model.norm=batch", "train.steps=4", "train.evaluate_every=2", "train.checkpoint_every=2",
    "train.keep=9", "train.evaluate_tokens=400", "model.dropout=0.1",
]  # fmt: skip
PRECISE = "train.precise_bn=3"
RENORM = "model.norm={kind: batch-renorm, momentum: 0.1, begin: 1, d_by: 2, r_by: 3}"


@pytest.fixture(scope="module")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return small.corpus(tmp_path_factory.mktemp("text"))


def test_training_does_not_feel_it_and_what_was_scored_is_loaded(corpus: Path, tmp_path: Path) -> None:
    """Weights, running averages, the optimizer's state and losses to the last bit; the scores are those of
    the loaded network, whose statistics are measured anew from its own weights."""
    small.run(corpus, tmp_path / "plain", *RUN)
    small.run(corpus, tmp_path / "precise", *RUN, PRECISE)
    one, other = (small.left(tmp_path / name)[0] for name in ("plain", "precise"))
    kept = {name for name in other if name.startswith("precise/")}
    assert other.keys() - one.keys() == kept and kept
    assert all(torch.equal(tensor, other[name]) for name, tensor in one.items())
    assert small.losses(tmp_path / "plain") == small.losses(tmp_path / "precise")

    scores = [[row["bits_per_byte"] for row in small.rows(tmp_path / name)
               if "bits_per_byte" in row] for name in ("plain", "precise")]  # fmt: skip
    assert len(scores[1]) == 2 and scores[0] != scores[1]
    run = load_run(tmp_path / "precise", 4)
    objective = build(run.experiment.objective, prepare(run.experiment.data))
    score = evaluate(run.model, objective, objective.held_out(400), ALONE, rows=8)
    assert score["bits_per_byte"] == pytest.approx(scores[1][-1], rel=1e-6)

    own = load_run(tmp_path / "plain", 4).model
    assert not torch.equal(own.norm.mean, run.model.norm.mean)
    precise_statistics(own, training_passes(own, run.experiment, objective, 3))
    for name, tensor in statistics(own).items():
        torch.testing.assert_close(statistics(run.model)[name], tensor, rtol=1e-6, atol=1e-7)


@pytest.mark.parametrize("more", [[EMA], pytest.param([RENORM], marks=pytest.mark.slow)], ids=" ".join)
def test_resumed_bit_for_bit(corpus: Path, tmp_path: Path, more: list[str]) -> None:
    """Of an average, what is kept are its own statistics, and those of training for the weights."""
    small.run(corpus, tmp_path / "whole", *RUN, PRECISE, *more)
    shutil.copytree(tmp_path / "whole", tmp_path / "resumed")
    forget(tmp_path / "resumed", 4)
    small.run(corpus, tmp_path / "resumed", *RUN, PRECISE, *more)
    small.assert_same(tmp_path / "whole", tmp_path / "resumed")
    if more != [EMA]:
        return
    found = {averaged: load_run(tmp_path / "whole", 4, averaged=averaged) for averaged in (True, False)}
    tensors, _ = small.left(tmp_path / "whole", 4)
    for averaged, group in ((True, "precise"), (False, "model")):
        for name, tensor in statistics(found[averaged].model).items():
            assert torch.equal(tensor, tensors[f"{group}/{name}"])
    run = found[True]
    objective = build(run.experiment.objective, prepare(run.experiment.data))
    score = evaluate(run.model, objective, objective.held_out(400), ALONE, rows=8)
    written = [row for row in small.rows(tmp_path / "whole") if "bits_per_byte_average" in row][-1]
    assert score["bits_per_byte"] == pytest.approx(written["bits_per_byte_average"], rel=1e-6)


@pytest.mark.slow
@pytest.mark.parametrize("parallel", ["ddp", "fsdp"])
def test_two_processes_are_one(corpus: Path, tmp_path: Path, parallel: str) -> None:
    """With statistics over all rows in training; what is measured anew is of the same batches."""
    norm = "model.norm={kind: batch, statistics: synchronised}"
    more = [*RUN, norm, PRECISE, "model.dropout=0", "train.log_every=1", f"train.parallel={parallel}"]
    small.assert_two_are_one(small.words(corpus, *more), tmp_path)


def test_a_network_without_batch_norms_is_refused(corpus: Path) -> None:
    with pytest.raises(SpecError, match=r"train\.precise_bn = 3 measures statistics of batch norms"):
        resolve(small.words(corpus, PRECISE))
