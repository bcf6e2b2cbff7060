"""The curvature of runs: ``danlu.train.curvature``; the verb."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch

from danlu.cli.schemas import SCHEMAS
from danlu.curvature import flatten, split, top
from danlu.files.json import misfit
from danlu.lab import measures
from danlu.lab.errors import LabError
from danlu.train import checkpoint
from danlu.train.curvature import Curved
from danlu.train.curvature.stability import edge, rates_of, threshold
from danlu.train.errors import RunError
from tests.cli.test_train import danlu
from tests.train import small

STEPS = ["train.steps=2", "train.checkpoint_every=1", "train.evaluate_tokens=64", "train.batch=4"]
ADAM = ["optimizer={kind: adamw, lr: 0.01, beta1: 0.8, weight_decay: 0.0}", "schedule.kind=constant"]


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("curvature")
    small.run(small.corpus(folder), folder / "run", *ADAM, *STEPS)
    return folder / "run"


def test_the_product_is_that_of_the_runs_loss(run: Path) -> None:
    """Against central differences of gradients by the ordinary kernels, in float64."""
    loss = Curved(run)
    draw = torch.Generator().manual_seed(0)
    v = torch.randn(len(loss.like), dtype=torch.float64, generator=draw)
    example, sides = loss.example(0, 4), []
    for sign in (1, -1):
        with torch.no_grad():
            for p, part in zip(loss.parameters, split(v, loss.parameters), strict=True):
                p.add_(part, alpha=sign * 1e-6 * (1 if sign > 0 else 2))
        total = loss.objective.loss(loss.run.model, example).total / (4 * loss.objective.count)
        sides.append(flatten(torch.autograd.grad(total, loss.parameters)))
    with torch.no_grad():
        for p, part in zip(loss.parameters, split(v, loss.parameters), strict=True):
            p.add_(part, alpha=1e-6)
    wanted = (sides[0] - sides[1]) / 2e-6
    found = loss.hessian(v)
    assert float((found - wanted).norm() / wanted.norm()) < 1e-6
    loss.to("float32")
    off = (loss.hessian(v.float()).double() - found).norm() / found.norm()
    assert 0 < float(off) < 1e-3


def test_groups_are_all_parameters_once(run: Path) -> None:
    loss = Curved(run, 1)
    places = torch.cat(list(loss.groups().values()))
    assert torch.equal(places.sort().values, torch.arange(len(loss.like)))
    assert loss.step == 1 and {"embedding", "blocks.0.mixer", "blocks.0.feed_forward"} <= set(loss.groups())


def test_rates_are_those_of_the_update(run: Path) -> None:
    """Adam's last step is the rates times the averaged gradient, with nothing else."""
    rates = rates_of(Curved(run, 2))
    assert rates is not None and rates.rule == "AdamW" and rates.threshold == pytest.approx(3.6 / 0.2)
    kept, _ = checkpoint.load(run, 2)
    before, _ = checkpoint.load(run, 1)
    names = [name for name, _ in Curved(run, 2).named]
    step = flatten([before["model"][n].double() - kept["model"][n].double() for n in names])
    average = flatten([kept["optimizer"][f"{n}/exp_avg"].double() for n in names])
    torch.testing.assert_close(rates.each * average, step, rtol=1e-4, atol=1e-7)


def test_thresholds() -> None:
    assert threshold({"betas": (0.9, 0.99)})[0] == pytest.approx(38)
    sgd = {"momentum": 0.0, "nesterov": False}
    assert threshold(sgd)[0] == 2 and threshold(sgd | {"momentum": 0.9})[0] == pytest.approx(3.8)
    assert threshold({"momentum": 0.5, "nesterov": True})[0] == 1.5


@pytest.mark.parametrize(("momentum", "nesterov"), [(0.0, False), (0.9, False), (0.9, True)])
def test_beyond_the_threshold_a_quadratic_diverges(momentum: float, nesterov: bool) -> None:
    limit, _ = threshold({"momentum": momentum, "nesterov": nesterov})
    for share, grows in ((0.98, False), (1.02, True)):
        w = torch.ones(1, dtype=torch.float64, requires_grad=True)
        rule = torch.optim.SGD([w], lr=share * limit, momentum=momentum, nesterov=nesterov)
        for _ in range(600):
            rule.zero_grad()
            (0.5 * w.square().sum()).backward()
            rule.step()
        assert (abs(float(w.detach())) > 10) == grows


def test_of_rules_without_a_threshold_nothing_is_said(tmp_path: Path) -> None:
    small.run(small.corpus(tmp_path), tmp_path / "run", "train.steps=1", "train.evaluate_tokens=64")
    assert edge(Curved(tmp_path / "run")) is None  # muon


def test_the_verb(run: Path, capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    page = tmp_path / "page.html"
    words = ["curvature", str(run), "--error", "0.5", "--sparsity", "--json", "--html", str(page)]
    assert danlu(*words) == 0
    found = json.loads(capsys.readouterr().out)
    assert misfit(found, SCHEMAS["curvature"].shape) == ""
    parts = sum(part["trace"] for part in found["parts"])
    assert parts == pytest.approx(found["trace"]["value"], rel=1e-4)
    assert found["top"]["values"] == sorted(found["top"]["values"], reverse=True)
    assert sum(found["density"]["weights"][0]) == pytest.approx(1, abs=1e-5)
    assert found["edge"]["lr_at_edge"] * found["edge"]["value"] == pytest.approx(18 * 0.01, rel=1e-6)
    text = page.read_text()
    assert "Density of the eigenvalues" in text and "Gauss-Newton" in text
    assert danlu(*words[:-2]) == 0
    assert json.loads(capsys.readouterr().out)["trace"] == found["trace"]


def test_what_a_person_reads(run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert danlu("curvature", str(run), "--step", "1", "--error", "0.9", "--precision", "float64") == 0
    out = capsys.readouterr().out
    for words in ("step 1: 4 examples", "in float64", "trace", "edge of stability", "blocks.0.mixer"):
        assert words in out


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--step", "7"], "step-7 is missing; steps with a checkpoint: 1, 2"),
        (["--precision", "bfloat16"], "precision = 'bfloat16'; allowed: auto, float64, float32"),
        (["--error", "0"], "error = 0.0; allowed: any number above 0"),
        (["--batches", "0"], "--batches"),
    ],
)
def test_a_mistake_is_one_sentence(
    run: Path, words: list[str], said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert danlu("curvature", str(run), *words) == 2
    captured = capsys.readouterr()
    assert captured.out == "" and said in captured.err and captured.err.count("danlu: ") == 1


def test_no_run(tmp_path: Path) -> None:
    with pytest.raises(RunError, match="is not a run's folder"):
        Curved(tmp_path)


def test_measures(tmp_path: Path) -> None:
    """Of a run by gradient descent the largest eigenvalue times the rate over 2; of a rule without an edge,
    what to take instead."""
    sgd = "optimizer={kind: sgd, lr: 0.3, momentum: 0.0, weight_decay: 0.0}"
    small.run(small.corpus(tmp_path), tmp_path / "sgd", sgd, "schedule.kind=constant", *STEPS)
    names = ["at-the-edge", "nonzeros-of-loss", "nonzeros-of-output"]
    found = measures.of_run(tmp_path / "sgd", names)
    loss = Curved(tmp_path / "sgd")
    largest = top(loss.hessian, loss.like, tolerance=1e-4).values[0]
    assert found["at-the-edge"] == pytest.approx(0.3 * largest / 2, rel=0.02)
    assert 0 < found["nonzeros-of-output"] < found["nonzeros-of-loss"] <= 1
    small.run(small.corpus(tmp_path), tmp_path / "muon", "train.steps=1", "train.evaluate_tokens=64")
    with pytest.raises(LabError, match=r"trained by muon.*take a run with optimizer = sgd"):
        measures.of_run(tmp_path / "muon", ["at-the-edge"])
