"""The objective of maximum entropy: its gradient is E_p f − Ẽf, its metrics are those of the fitted model."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest
import torch

from danlu import data, models, objectives, spec
from danlu.maxent import Model, Product
from danlu.objectives import Draw
from danlu.train.update import to_device

pytest.importorskip("sklearn")


@pytest.fixture(scope="module")
def source() -> data.Images:
    return data.prepare(spec.Digits())


def made(source: data.Images, **settings: float) -> tuple[objectives.Objective, torch.nn.Module]:
    objective = objectives.build(spec.MaximumEntropy(**settings), source)
    model = models.build(spec.Maxent(), *objective.inputs)
    with torch.no_grad():
        model.weight.copy_(
            torch.randn(65, 10, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
        )
    return objective, model


@pytest.mark.parametrize("settings", [{}, {"smoothing": 0.1}, {"threshold": 0.5}])
def test_the_gradient_is_what_the_constraints_lack(source: data.Images, settings: dict[str, float]) -> None:
    objective, model = made(source, **settings)
    example = to_device(objective.example(Draw(0, 0, 0, 0, 1)), torch.device("cpu"))
    loss = objective.loss(model, example)
    loss.minimised.backward()
    found = objective.problem.look(model.weight.detach().numpy().ravel())
    assert loss.total.item() == pytest.approx(found.nll, rel=1e-13)
    expected = (found.expected - objective.problem.targets).reshape(65, 10)
    np.testing.assert_allclose(model.weight.grad.numpy(), expected, atol=1e-14)


def test_held_out_metrics_are_those_of_the_model_by_name(source: data.Images) -> None:
    objective, model = made(source, smoothing=0.1)
    held_out = objective.held_out()
    sums: dict[str, float] = {}
    for start in range(0, held_out.count, 100):  # the last is padded
        places = range(start, min(start + 100, held_out.count))
        example = to_device(held_out.example(places, 100), torch.device("cpu"))
        for name, value in objective.score(model, example).items():
            sums[name] = sums.get(name, 0.0) + value.item()
    features, names = objective.problem.features, objective.problem.features.names
    theirs = Model(features.classes, names, model.weight.detach().numpy().ravel(), objective.problem.barred)
    x = objective.data.held_out[0]
    score = theirs.score(Product(x, features.columns, features.classes), source.held_out[1])
    found = objective.measure(sums)
    assert found["nats"] == pytest.approx(score.nats, rel=1e-13)
    assert found["accuracy"] == score.accuracy


def test_smoothing_leaves_no_feature_unseen(source: data.Images) -> None:
    plain, smooth = made(source)[0].problem, made(source, smoothing=0.01)[0].problem
    empty = int((source.train[0].reshape(-1, 64).max(axis=0) == 0).sum())
    assert len(smooth.unseen) == 10 * empty < len(plain.unseen)


def test_no_weights_are_the_uniform_guess(source: data.Images) -> None:
    objective, _ = made(source, smoothing=0.01)
    model = models.build(spec.Maxent(), *objective.inputs)
    judged = objective.judge(model)
    assert judged["train_nats"] == pytest.approx(math.log(10), rel=1e-14)
    assert judged["dual_gap"] == pytest.approx(0, abs=1e-13)  # λ = 0: entropy and nats are both ln 10
    assert "pixel 1.1 & 0" in objective.problem.features.names


def test_own_images_and_points_have_named_columns(tmp_path: Path) -> None:
    generator = np.random.default_rng(0)
    labels = np.arange(12) % 2
    for shape, named in [((3,), "number 3"), ((2, 3), "pixel 2.3"), ((3, 2, 2), "pixel 2.2.3")]:
        x = generator.random((12, *shape))
        np.savez(tmp_path / "own.npz", x=x, labels=labels)
        source = data.prepare(spec.Arrays(file=str(tmp_path / "own.npz"), array="x", labels="labels"))
        objective = objectives.build(spec.MaximumEntropy(smoothing=0.1), source)
        columns, last = objective.data.columns, tuple(n - 1 for n in shape)  # channels come first
        assert columns[-2:] == (named, "constant") and len(columns) == x[0].size + 1
        rows = np.concatenate([objective.data.train[0], objective.data.held_out[0]])[:, -2]
        assert sorted(rows) == sorted(float(row[last]) for row in x.astype(np.float32))
