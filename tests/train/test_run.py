"""A run from the outside: its folder, its summary, its repetition; and who may open it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
import yaml

from danlu.files.lock import Held
from danlu.spec import SpecError, resolve
from danlu.train import store
from danlu.train.clock import PARTS
from danlu.train.errors import RunError
from danlu.train.machine import pick_device
from tests.conftest import ROOT
from tests.train import small

RUN = ["train.steps=6", "train.evaluate_every=3", "model.dropout=0.1", "train.log_every=1"]

KEYS = {
    "run", "metric", "best", "metrics", "loss", "loss_unit", "term", "steps", "unit", "tokens",
    "tokens_per_second", "utilisation", "mfu", "flops",
    "parameters", "active_seconds", "wall_seconds", "sample", "stopped", "sent", "regime",
}  # fmt: skip


@pytest.fixture
def corpus(tmp_path: Path) -> Path:
    return small.corpus(tmp_path)


def test_the_folder_and_the_summary(tmp_path: Path, corpus: Path) -> None:
    told = small.Told()
    summary = small.run(corpus, tmp_path / "run", *RUN, told=told)
    run = tmp_path / "run"
    assert {path.name for path in run.iterdir()} == {
        ".lock", "experiment.yaml", "environment.json", "tokenizer.json", "metrics.jsonl", "checkpoints",
        "summary.json",
    }  # fmt: skip
    assert set(summary) == KEYS and summary == json.loads((run / "summary.json").read_text())
    assert (summary["steps"], summary["tokens"], summary["stopped"]) == (6, 6 * 8 * 16, None)
    rows = small.rows(run)
    assert [row["step"] for row in rows] == [1, 2, 3, 3, 4, 5, 6, 6]
    assert rows == [{n: v for n, v in row.items() if n != "seconds"} for row in told.rows]
    last = rows[-1]["bits_per_byte"]
    assert summary["metric"] == {
        "name": "bits_per_byte",
        "value": last,
        "unit": "bits/byte",
        "better": "lower",
    }
    assert summary["metrics"]["held_out_loss"]["value"] == rows[-1]["held_out_loss"]
    assert summary["loss"] == rows[-2]["loss"]  # log_every = 1: the last row is the last update
    assert summary["flops"] == rows[-1 - 1]["flops"]
    assert summary["best"]["value"] == min(row["bits_per_byte"] for row in rows if "bits_per_byte" in row)
    assert set(summary["active_seconds"]) == set(PARTS)
    assert summary["sample"] and 0 < summary["utilisation"] < 2
    record = json.loads((run / "environment.json").read_text())
    assert record["choices"]["precision"] == "float32" and record["choices"]["device"] == "cpu"
    assert yaml.safe_load((run / "experiment.yaml").read_text())["train"]["steps"] == 6


def test_rows_average_the_losses_since_the_row_before(tmp_path: Path, corpus: Path) -> None:
    every = small.run(corpus, tmp_path / "every", *RUN)
    third = small.run(corpus, tmp_path / "third", *RUN, "train.log_every=3")
    one = small.losses(tmp_path / "every")
    assert small.losses(tmp_path / "third") == pytest.approx([one[0], sum(one[1:3]) / 2, sum(one[3:]) / 3])
    assert every["loss"] == third["loss"]


def test_the_experiment_written_down_repeats_the_run(tmp_path: Path, corpus: Path) -> None:
    small.run(corpus, tmp_path / "one", *RUN)
    copy = tmp_path / "copy.yaml"
    copy.write_bytes((tmp_path / "one" / "experiment.yaml").read_bytes())
    for number, word in enumerate([str(copy), str(tmp_path / "one")]):
        small.go(resolve([word]), tmp_path / f"again{number}")
        small.assert_same(tmp_path / "one", tmp_path / f"again{number}")


def test_another_seed_is_another_run(tmp_path: Path, corpus: Path) -> None:
    found = []
    for seed in (0, 1, -1):
        small.run(corpus, tmp_path / str(seed), *RUN, f"train.seed={seed}")
        found.append(tuple(small.losses(tmp_path / str(seed))))
    assert len(set(found)) == 3


@pytest.mark.parametrize("seed", [2**63, -(2**63) - 1])
def test_a_seed_beyond_64_bits_is_refused(seed: int) -> None:
    with pytest.raises(SpecError, match=rf"^train\.seed: {seed} is no seed for PyTorch; allowed: -9223"):
        resolve(f"nano train.seed={seed}")
    nearest = seed - 1 if seed > 0 else seed + 1
    torch.manual_seed(resolve(f"nano train.seed={nearest}").train.seed)


def test_a_device_that_is_not_there_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    import torch

    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(
        RunError, match=r"train\.device = cuda, but PyTorch sees no GPU here; allowed: cpu, auto"
    ):
        pick_device("cuda")
    assert pick_device("auto").type == "cpu"


def test_a_run_without_a_folder_gets_one(
    tmp_path: Path, corpus: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from danlu.train.run import train

    monkeypatch.chdir(tmp_path)
    experiment = resolve(small.words(corpus, "train.steps=1"))
    summary = train(experiment, None, small.Told(), name="tiny+swiglu")
    assert summary is not None and summary["run"].startswith("runs/tiny+swiglu-")
    assert store.list_steps(tmp_path / summary["run"]) == [1]


@pytest.mark.slow
def test_a_second_process_is_refused_and_told_who_trains(tmp_path: Path, corpus: Path) -> None:
    """Both are real processes: the first is stopped where it stands, with the run's folder open."""
    words = small.words(corpus, "train.steps=1000000", "train.log_every=1")
    command = [sys.executable, "-m", "danlu", "train", *words, "--run", str(tmp_path / "run")]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True, env=environment, cwd=tmp_path)
    assert process.stderr is not None
    try:
        next(line for line in process.stderr if "loss" in line)
        with pytest.raises(Held, match=f"is in use by process {process.pid} on "):
            small.go(resolve(words), tmp_path / "run")
    finally:
        process.kill()
        process.communicate()


def test_files_of_somebody_else_are_left_alone(tmp_path: Path, corpus: Path) -> None:
    with pytest.raises(RunError, match=r"holds 'corpus\.jsonl' but no experiment\.yaml"):
        small.run(corpus, tmp_path, *RUN)
    assert [path.name for path in tmp_path.iterdir() if not path.name.startswith(".")] == ["corpus.jsonl"]


def test_a_batch_larger_than_an_epoch(tmp_path: Path) -> None:
    """Little text, many epochs: the run goes on."""
    corpus = small.corpus(tmp_path, documents=2)
    summary = small.run(corpus, tmp_path / "run", "train.steps=3", "train.batch=64", "train.microbatch=16")
    assert summary["tokens"] == 3 * 64 * 16
