"""A part in a run of a few updates: the same again, the same after a resume."""

from __future__ import annotations

import shutil
from pathlib import Path

import torch

from danlu import spec
from danlu.testing.place import STEPS
from danlu.testing.report import Report, Wrong
from danlu.train import checkpoint, metrics, store
from danlu.train.interrupt import Interrupt
from danlu.train.reporter import Silent
from danlu.train.run import train


def in_a_run(experiment: spec.Experiment, folder: Path, report: Report) -> None:
    """Add what holds of runs of ``experiment``, made in ``folder``."""

    def go(name: str) -> Path:
        train(experiment, folder / name, Silent(), interrupt=Interrupt(), sample=False)
        return folder / name

    def repeated() -> str:
        return _same(go("first"), go("second"))

    def resumed() -> str:
        half = shutil.copytree(folder / "first", folder / "half")
        shutil.rmtree(store.step_folder(half, STEPS))
        (half / "summary.json").unlink()
        return _same(folder / "first", go("half"))

    report.add("a run, repeated", repeated)
    report.add("a run, resumed", resumed)


def _same(one: Path, other: Path) -> str:
    here, there = _tensors(one), _tensors(other)
    if moved := [n for n in here.keys() | there.keys() if not _equal(here.get(n), there.get(n))]:
        raise Wrong(f"{min(moved)} is another")
    losses = [[row.get("loss") for row in metrics.read(run / "metrics.jsonl")] for run in (one, other)]
    if losses[0] != losses[1]:
        raise Wrong("the losses are others")
    return f"{len(here)} tensors and every loss, bit for bit"


def _tensors(run: Path) -> dict[str, torch.Tensor]:
    """Of the last checkpoint: weights, the rules' state."""
    groups, _ = checkpoint.load(run, STEPS)
    return {f"{group}/{name}": tensor for group, named in groups.items() for name, tensor in named.items()}


def _equal(one: torch.Tensor | None, other: torch.Tensor | None) -> bool:
    return one is not None and other is not None and torch.equal(one, other)
