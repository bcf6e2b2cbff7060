"""Folders of runs that others recorded, and danlu's studies."""

from __future__ import annotations

import json
import struct
from pathlib import Path

import pytest

from danlu.files import event_files
from danlu.laws import LawError, read
from tests.lab.referee.test_reading import event, field, item, log
from tests.laws.files.test_read import run

SIZES = (10_000_000, 20_000_000, 40_000_000)


def check(path: Path) -> None:
    found = read(path)
    assert found.points["n"].tolist() == list(SIZES)
    assert found.points["d"].tolist() == [20 * n for n in SIZES]
    assert found.points["loss"].tolist() == [3.5, 3.25, 3.0]
    assert len(set(found.texts("run"))) == 3


def test_summaries_of_weights_and_biases(tmp_path: Path) -> None:
    for i, n in enumerate(SIZES):
        files = tmp_path / f"run-{i}" / "files"
        files.mkdir(parents=True)
        summary = {
            "eval/loss": 3.5 - i / 4,
            "train/loss": 1.0,
            "throughput/total_tokens": 20 * n,
            "_wandb": {"x": 1},
        }
        (files / "wandb-summary.json").write_text(json.dumps(summary))
        (files / "config.yaml").write_text(f"_wandb: {{value: {{}}}}\nn_params: {{desc: null, value: {n}}}\n")
    check(tmp_path)


def test_logs_of_weights_and_biases(tmp_path: Path) -> None:
    for i, n in enumerate(SIZES):
        folder = tmp_path / f"offline-run-{i}"
        (folder / "files").mkdir(parents=True)
        (folder / "files" / "config.yaml").write_text(f"n_params: {{value: {n}}}\n")
        history = [
            item("eval/loss", 9.0) + item("tokens", 1),
            item("eval/loss", 3.5 - i / 4) + item("tokens", 20 * n),
        ]
        (folder / f"run-{i}.wandb").write_bytes(log(*(field(2, one) for one in history)))
    check(tmp_path)


def test_event_files_of_tensorboard(tmp_path: Path) -> None:
    """The last value by step, also where a run was started again."""
    for i, n in enumerate(SIZES):
        folder = tmp_path / f"run{i}"
        folder.mkdir()
        (folder / "events.out.tfevents.1").write_bytes(
            event(0, b"n_params", field(2, float(n)))
            + event(2, b"val/loss", field(2, 3.5 - i / 4))
            + event(1, b"val/loss", field(2, 9.0))
        )
        (folder / "events.out.tfevents.2").write_bytes(event(3, b"tokens", field(2, float(20 * n))))
    check(tmp_path)
    last = event_files.last(tmp_path / "run0" / "events.out.tfevents.1")
    assert last == {"step": 2.0, "n_params": 1e7, "val/loss": 3.5}
    (tmp_path / "run0" / "events.out.tfevents.1").write_bytes(struct.pack("<Q", 9) + bytes(20))
    with pytest.raises(Exception, match="a checksum is wrong"):
        read(tmp_path)


def test_a_study_is_its_runs(tmp_path: Path) -> None:
    """A sweep's result names its runs in the pool beside it; others of the pool are not its own."""
    pool = tmp_path / "studies" / "runs"
    pool.mkdir(parents=True)
    for i in range(3):
        run(pool / f"a-{i}", 10 * (i + 1), [5.0 - i])
    study = tmp_path / "studies" / "sweep-a"
    study.mkdir()
    trials = [{"number": i, "folders": [f"studies/runs/a-{i}"]} for i in (0, 2)]
    (study / "result.json").write_text(json.dumps({"trials": trials}))
    assert read(study).points["n"].tolist() == [10, 30]
    assert read(pool).points["n"].tolist() == [10, 20, 30]


def test_a_ladder_is_its_points(tmp_path: Path) -> None:
    (tmp_path / "points.csv").write_text("n,d,c,loss,steps,run\n10,200,12000,3.5,7,studies/runs/a\n")
    found = read(tmp_path)
    assert found.points["s"].tolist() == [7] and found.texts("run") == ["studies/runs/a"]


def test_a_folder_without_runs(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("nothing")
    with pytest.raises(LawError, match=r"holds no runs: there is no metrics\.jsonl in it or below"):
        read(tmp_path)
