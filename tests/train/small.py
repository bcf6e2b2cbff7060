"""Minute experiments, and what two runs of one are compared by."""

from __future__ import annotations

import json
import os
import random
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from unittest.mock import patch

import pytest
import torch

from danlu import spec
from danlu.objectives import language
from danlu.spec import resolve
from danlu.train import checkpoint, evaluate, metrics, store
from danlu.train import run as runs
from danlu.train.folder import RunFolder
from tests.conftest import LIMIT, ROOT

WORDS = ["the", "a", "cat", "dog", "sat", "on", "mat", "and", "then", "ran", "away", "from", "sky", "river"]
SIZE = [  # everything that matters here, so that retuning the recipe changes no test
    "tiny", "model.layers=1", "model.width=16", "model.mixer.heads=2", "model.norm.gain=true",
    "model.tied=true", "model.init={std: none, embedding: 0.02, readout: none, branch: depth}",
    "data.context=16", "optimizer.lr=0.02", "optimizer.adamw_lr=3e-3", "train.batch=8",
    "train.evaluate_every=none", "train.precision=float32", "train.device=cpu",
]  # fmt: skip


def corpus(folder: Path, documents: int = 24, seed: int = 1) -> Path:
    """A JSON Lines file of small documents, some 400 bytes each, no two the same."""
    draw = random.Random(seed)
    path = folder / "corpus.jsonl"
    texts = (" ".join(draw.choice(WORDS) for _ in range(90)) + ".\n" for _ in range(documents))
    path.write_text("".join(json.dumps({"text": text}) + "\n" for text in texts))
    return path


def words(path: Path, *more: str) -> list[str]:
    """The words of a minute experiment on the corpus at ``path``."""
    return [*SIZE, f"data.corpus={path}", *more]


class Told:
    """Keeps what a run tells a person."""

    def __init__(self) -> None:
        self.rows: list[dict[str, Any]] = []
        self.messages: list[str] = []

    def row(self, row: dict[str, Any], progress: float, utilisation: float | None) -> None:
        self.rows.append(row)

    def message(self, text: str) -> None:
        self.messages.append(text)


@contextmanager
def quick() -> Iterator[None]:
    """Without what costs most in a minute run: measuring the machine, writing a long sample."""
    torch.set_num_threads(1)  # for who is no test of pytest's: a second thread only waits here
    with (
        patch.object(runs, "ceiling", lambda *_: 1e11),
        patch.object(language, "SAMPLE_TOKENS", 8),
        patch.object(evaluate, "EVALUATION_UNITS", 1),  # so that something can happen between two passes
    ):
        yield


def run(path: Path, folder: Path, *more: str, told: Told | None = None) -> dict[str, Any]:
    """Carry out a minute experiment; the summary."""
    return go(resolve(words(path, *more)), folder, told)


def go(experiment: spec.Experiment, folder: Path, told: Told | None = None) -> dict[str, Any]:
    with quick():
        summary = runs.train(experiment, folder, told or Told())
    assert summary is not None
    return summary


def torchrun(words: list[str], folder: Path) -> subprocess.CompletedProcess[str]:
    """The command as docs/training.md gives it, in two processes."""
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc_per_node=2"]
    command += ["-m", "danlu", "--", "train", *words, "--run", str(folder)]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    return subprocess.run(
        command, capture_output=True, text=True, env=environment, cwd=folder.parent, timeout=LIMIT
    )


def assert_two_are_one(words: list[str], folder: Path, bound: float = 1e-4) -> None:
    """Two processes train to the losses and the metrics of one, as far as these are rounded alike."""
    experiment = resolve(words)
    done = torchrun(words, folder / "two")
    assert done.returncode == 0, done.stderr
    go(experiment, folder / "one")
    here, there = rows(folder / "two"), rows(folder / "one")
    close(losses(folder / "two"), losses(folder / "one"), bound)
    named = {metric.name for metric in experiment.objective.metrics}
    assert named <= here[-1].keys()
    for one, other in zip(here, there, strict=True):
        for name in named & one.keys():
            assert abs(one[name] - other[name]) <= bound * max(abs(other[name]), 0.1), (name, one, other)


def rows(folder: Path) -> list[dict[str, Any]]:
    """The metrics, all fields but the wall clock's."""
    return [
        {name: value for name, value in row.items() if name != "seconds"}
        for row in metrics.read(folder / "metrics.jsonl")
    ]


def losses(folder: Path) -> list[float]:
    return [row["loss"] for row in rows(folder) if "loss" in row]


def left(folder: Path, step: int | None = None) -> tuple[dict[str, torch.Tensor], dict[str, Any]]:
    """Every tensor and all else that a checkpoint holds, but what the clock says."""
    groups, state = checkpoint.load(folder, step)
    state = {**state, "position": dict(state["position"])}
    del state["clock"], state["position"]["seconds"]
    return {f"{group}/{name}": t for group, named in groups.items() for name, t in named.items()}, state


def assert_same(one: Path, other: Path, *, remembers: bool = True) -> None:
    """Bit for bit: the steps kept, weights, the optimizer's state, positions, metrics. ``remembers``: whether
    the optimizer has a state."""
    steps = store.list_steps(one)
    assert steps == store.list_steps(other)
    for step in steps:
        (here, state), (there, its_state) = left(one, step), left(other, step)
        assert state == its_state
        assert here.keys() == there.keys()
        assert remembers == any("optimizer/" in name for name in here)
        for name, tensor in here.items():
            bits = [t.contiguous().reshape(-1).view(torch.uint8) for t in (tensor, there[name])]
            assert tensor.dtype == there[name].dtype and torch.equal(*bits), f"{name} at step {step}"
    assert rows(one) == rows(other)
    assert pictures(one) == pictures(other)


def pictures(folder: Path) -> dict[str, bytes]:
    """What was drawn of what the run made."""
    return {path.name: path.read_bytes() for path in RunFolder(folder).pictures()}


def close(one: list[float], other: list[float], bound: float = 1e-5) -> None:
    assert len(one) == len(other) > 1
    worst = max(abs(a - b) / max(abs(a), 1) for a, b in zip(one, other, strict=True))
    assert worst <= bound, (worst, one, other)


def assert_close(one: Path, other: Path, bound: float) -> None:
    """The same steps kept, the same rows, the same tensors, as far as they are rounded alike."""
    assert store.list_steps(one) == store.list_steps(other)
    here, there = rows(one), rows(other)
    assert [row.keys() for row in here] == [row.keys() for row in there]
    for row, its in zip(here, there, strict=True):
        for name, value in row.items():
            assert value == pytest.approx(its[name], rel=bound, abs=bound), (name, row, its)
    (tensors, _), (others, _) = left(one), left(other)
    assert tensors.keys() == others.keys()
    for name, tensor in tensors.items():
        assert torch.allclose(tensor, others[name], rtol=bound, atol=bound), name
