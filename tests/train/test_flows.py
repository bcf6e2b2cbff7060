"""An experiment on points goes the whole way: trained, resumed, sampled, tried."""

from __future__ import annotations

from pathlib import Path

import pytest
from typer.testing import CliRunner

from danlu.cli.main import app
from danlu.lab.budget import flops
from danlu.lab.reading.run import read_run
from danlu.spec import resolve
from danlu.train.costs import costs
from danlu.train.errors import RunError
from danlu.train.trainer import Trainer
from tests.train import small
from tests.train.test_resume import Died, at_call, die, dies_and_goes_on

COMMON = [
    "train.precision=float32", "train.device=cpu", "train.log_every=1", "train.steps=8", "train.batch=32",
    "train.evaluate_every=4", "train.checkpoint_every=2", "train.evaluate_tokens=256", "objective.samples=64",
]  # fmt: skip
WORDS, DENOISE = ["flow-8gaussians", *COMMON], ["denoise-8gaussians", *COMMON]
DIGITS = [
    "flow-digits", *COMMON, "model.width=8", "model.scales=[1]", "model.groups=4", "objective.steps=2",
]  # fmt: skip
MORE = [
    [*WORDS, "objective.conditional=true"],
    [*WORDS, "objective.path=bridge"],
    [*WORDS, "+ot-coupling"],
    [*WORDS, "+entropic-coupling"],
    [*WORDS, "objective.sampler=dpm2m"],
    [*DENOISE, "+pfgm", "objective.conditional=true"],
    [*DENOISE, "+churn"],
    DIGITS,
]
RUNS = [WORDS, DENOISE, *(pytest.param(words, marks=pytest.mark.slow) for words in MORE)]


def names(words: list[str]) -> str:
    return " ".join(word for word in words if word not in COMMON)


@pytest.mark.parametrize("words", RUNS, ids=names)
def test_a_run_resumes_bit_for_bit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, words: list[str]) -> None:
    experiment = resolve(words)
    summary = small.go(experiment, tmp_path / "whole")
    unit, metric = ("image", "frechet_distance") if words is DIGITS else ("point", "energy_distance")
    assert (summary["unit"], summary[f"{unit}s"], summary["metric"]["name"]) == (unit, 8 * 32, metric)
    dies_and_goes_on(experiment, tmp_path / "cut", monkeypatch)
    small.assert_same(tmp_path / "whole", tmp_path / "cut")
    ending = "png" if words is DIGITS else "svg"
    assert list(small.pictures(tmp_path / "cut")) == [f"step-{step}.{ending}" for step in (4, 8)]


def test_a_metric_of_samples_comes_with_its_error(tmp_path: Path) -> None:
    """Beside it in the rows, with it in the summary, of the average where one decides; and among the facts of
    a run."""
    summary = small.go(resolve([*WORDS, "train.average=ema"]), tmp_path / "run")
    row = next(row for row in reversed(small.rows(tmp_path / "run")) if "energy_distance" in row)
    assert row["energy_distance_error"] > 0 < row["energy_distance_average_error"]
    decides = summary["metric"]
    assert (decides["value"], decides["error"]) == (
        row["energy_distance_average"],
        row["energy_distance_average_error"],
    )
    assert summary["metrics"]["energy_distance"]["error"] == row["energy_distance_error"]
    assert "error" not in summary["metrics"]["held_out_loss"]
    assert read_run(tmp_path / "run").value("energy_distance_error") == row["energy_distance_error"]


@pytest.mark.slow
@pytest.mark.parametrize("words", [WORDS, DENOISE, DIGITS], ids=names)
def test_accumulation_changes_nothing(tmp_path: Path, words: list[str]) -> None:
    for micro in (32, 8):
        small.go(resolve([*words, f"train.microbatch={micro}"]), tmp_path / str(micro))
    small.close(small.losses(tmp_path / "32"), small.losses(tmp_path / "8"))


@pytest.mark.slow
def test_reflow_learns_from_a_run_and_from_no_other(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It resumes bit for bit, accumulates, and goes on with the teacher it began with alone."""
    small.go(resolve(WORDS), tmp_path / "first")
    small.go(resolve([*WORDS, "train.seed=1"]), tmp_path / "other")
    words = [*WORDS, "+reflow", f"objective.coupling.run={tmp_path / 'first'}", "objective.coupling.steps=2"]
    summary = small.go(resolve(words), tmp_path / "whole")
    told = costs(resolve(words))["flops"]
    passes = 2 * 2  # two steps of Heun's; the student's own pass counts three times
    assert told["training"] == (3 + passes) * sum(told["forward"].values())
    assert summary["flops"] == told["training"] * 8 * 32 == flops(resolve(words))
    at_call(monkeypatch, Trainer, "step", 6, die)
    with pytest.raises(Died):
        small.go(resolve(words), tmp_path / "cut")
    monkeypatch.undo()
    (tmp_path / "first").rename(tmp_path / "kept")
    (tmp_path / "other").rename(tmp_path / "first")
    with pytest.raises(RunError, match=r"began with another teacher: .*first holds other weights"):
        small.go(resolve(words), tmp_path / "cut")
    (tmp_path / "first").rename(tmp_path / "other")
    (tmp_path / "kept").rename(tmp_path / "first")
    small.go(resolve(words), tmp_path / "cut")
    small.assert_same(tmp_path / "whole", tmp_path / "cut")
    small.go(resolve([*words, "train.microbatch=8"]), tmp_path / "parts")
    small.close(small.losses(tmp_path / "whole"), small.losses(tmp_path / "parts"))
    said = CliRunner().invoke(app, ["sample", str(tmp_path / "whole")])  # which needs no teacher
    assert said.exit_code == 0


@pytest.mark.parametrize(
    ("run", "taught", "sentence"),
    [
        ("", [], "is not a run's folder"),
        ("denoised", DENOISE, "its objective is no flow"),
        ("told", [*WORDS, "+class-condition"], "objective.conditional is true there and false here"),
        (
            "moons",
            [*WORDS, "data=moons"],
            r"data is \{.*kind: moons.*\} there and \{.*eight-gaussians.*\} here",
        ),
    ],
)
def test_what_cannot_teach_is_refused(tmp_path: Path, run: str, taught: list[str], sentence: str) -> None:
    if run:
        small.go(resolve([*taught, "train.steps=1"]), tmp_path / run)
    words = [*WORDS, "+reflow", f"objective.coupling.run={tmp_path / (run or 'nothing')}"]
    with pytest.raises(RunError, match=f"objective.coupling.run = .*{sentence}"):
        small.go(resolve(words), tmp_path / "run")
    assert not (tmp_path / "run").exists()


@pytest.mark.slow
@pytest.mark.parametrize("words", [WORDS, DENOISE, DIGITS], ids=names)
def test_two_processes_are_one(tmp_path: Path, words: list[str]) -> None:
    """The losses of training, and what is measured of samples."""
    small.assert_two_are_one(words, tmp_path)


@pytest.mark.parametrize("coupling", ["+ot-coupling", "+entropic-coupling"])
def test_a_coupling_is_refused_under_accumulation(tmp_path: Path, coupling: str) -> None:
    with pytest.raises(RunError, match="a term of the loss spans the whole batch"):
        small.go(resolve([*WORDS, coupling, "train.microbatch=8"]), tmp_path / "run")


def test_a_run_shows_its_points(tmp_path: Path) -> None:
    small.go(resolve(WORDS), tmp_path / "run")
    said = CliRunner().invoke(app, ["sample", str(tmp_path / "run")])
    assert said.exit_code == 0 and len(said.output.splitlines()) >= 20


@pytest.mark.slow
def test_eight_gaussians_are_learned(tmp_path: Path) -> None:
    """As near to the data as data are: three standard deviations of that (.003 at 2,048 points)."""
    summary = small.go(resolve(["flow-8gaussians", "train.device=cpu"]), tmp_path / "run")
    assert abs(summary["metric"]["value"]) < 3 * 0.0032


@pytest.mark.slow
@pytest.mark.parametrize("idea", [[], ["+pfgm"], ["+pfgm-plus"], ["+tanh-kernel"], ["+exponential-kernel"]])
def test_every_kernel_learns_eight_gaussians(tmp_path: Path, idea: list[str]) -> None:
    """In 16 evaluations, to the bound of flow matching."""
    summary = small.go(resolve(["denoise-8gaussians", *idea, "train.device=cpu"]), tmp_path / "run")
    assert abs(summary["metric"]["value"]) < 3 * 0.0032
