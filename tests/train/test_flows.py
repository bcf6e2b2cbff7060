"""An experiment on points goes the whole way: trained, resumed, sampled, tried."""

from __future__ import annotations

from pathlib import Path

import pytest
from typer.testing import CliRunner

from danlu.cli.main import app
from danlu.spec import resolve
from danlu.train.errors import RunError
from danlu.train.trainer import Trainer
from tests.train import small
from tests.train.test_resume import Died, at_call, die

WORDS = [
    "flow-8gaussians",
    "train.precision=float32",
    "train.device=cpu",
    "train.log_every=1",
    "train.steps=8",
]
WORDS += ["train.evaluate_every=4", "train.checkpoint_every=2", "train.batch=32", "objective.samples=64"]


@pytest.mark.parametrize(
    "more", [[], ["objective.conditional=true"], ["objective.path=bridge"], ["+ot-coupling"]]
)
def test_a_run_resumes_bit_for_bit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, more: list[str]) -> None:
    experiment = resolve([*WORDS, *more])
    summary = small.go(experiment, tmp_path / "whole")
    assert (summary["unit"], summary["points"], summary["metric"]["name"]) == (
        "point",
        8 * 32,
        "energy_distance",
    )
    at_call(monkeypatch, Trainer, "step", 6, die)
    with pytest.raises(Died):
        small.go(experiment, tmp_path / "cut")
    monkeypatch.undo()
    small.go(experiment, tmp_path / "cut")
    small.assert_same(tmp_path / "whole", tmp_path / "cut")


def test_accumulation_changes_nothing(tmp_path: Path) -> None:
    for micro in (32, 8):
        small.go(resolve([*WORDS, f"train.microbatch={micro}"]), tmp_path / str(micro))
    small.close(small.losses(tmp_path / "32"), small.losses(tmp_path / "8"))


def test_a_coupling_is_refused_under_accumulation(tmp_path: Path) -> None:
    with pytest.raises(RunError, match="a term of the loss spans the whole batch"):
        small.go(resolve([*WORDS, "+ot-coupling", "train.microbatch=8"]), tmp_path / "run")


def test_a_run_shows_its_points(tmp_path: Path) -> None:
    small.go(resolve(WORDS), tmp_path / "run")
    said = CliRunner().invoke(app, ["sample", str(tmp_path / "run")])
    assert said.exit_code == 0 and len(said.output.splitlines()) >= 20


@pytest.mark.slow
def test_eight_gaussians_are_learned(tmp_path: Path) -> None:
    """As near to the data as data are: three standard deviations of that (.003 at 2,048 points)."""
    summary = small.go(resolve(["flow-8gaussians", "train.device=cpu"]), tmp_path / "run")
    assert abs(summary["metric"]["value"]) < 3 * 0.0032
