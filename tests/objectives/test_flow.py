"""Flow matching: with the exact velocity the loss is the least that there is, and samples are data."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from danlu.data import prepare
from danlu.distances import energy
from danlu.flows import Mixture
from danlu.objectives import Draw, Flow, build, check_passes
from danlu.spec import DanluError
from danlu.spec import Flow as Described
from danlu.spec.flows import (
    Bridge,
    Euler,
    Heun,
    Interpolant,
    Lipman,
    OptimalTransport,
    Path,
    RungeKutta,
    Trigonometric,
)
from danlu.spec.points import EightGaussians
from danlu.spec.words import resolve
from danlu.train.evaluate import evaluate
from danlu.train.parallel import ALONE


def made(points: EightGaussians = EightGaussians(held_out=4096), **settings) -> Flow:
    found: Flow = build(Described(**settings), prepare(points))
    return found


def tensors(example):
    return {name: torch.from_numpy(part) for name, part in example.items()}


class Exact(torch.nn.Module):
    """The velocity that the eight Gaussians have on the objective's path."""

    def __init__(self, objective: Flow) -> None:
        super().__init__()
        angles = 2 * math.pi * torch.arange(8, dtype=torch.float64) / 8
        centres = 4.0 * torch.stack([angles.cos(), angles.sin()], 1)
        scaled = (centres - objective.centre) / objective.spread
        self.law = Mixture(torch.full((8,), 1 / 8), scaled, torch.full((8, 2), 0.3 / objective.spread))
        self.path = objective.path

    def forward(self, x, t, condition=None):
        return self.law.velocity(self.path)(x.double(), torch.as_tensor(t).double()).to(x.dtype)


PATHS = [Described().path, Lipman(sigma=0.05), Trigonometric(), Interpolant(scale=0.5)]


@pytest.mark.parametrize("path", PATHS, ids=lambda path: path.kind)
def test_the_exact_velocity_has_the_least_loss(path: Path) -> None:
    """To four standard errors of the held-out points."""
    objective = made(path=path)
    model = Exact(objective).eval()
    example = tensors(objective.held_out().example(range(4096), None))
    squares = objective.squares(model, example).double()
    x = objective.path.at(example["noise"], example["data"], example["times"], example.get("between"))
    least = model.law.least_loss(objective.path, x.double(), example["times"].double())
    apart = (squares - least).mean().abs()
    assert apart < 4 * (squares - least).std() / math.sqrt(4096)
    found = evaluate(model, objective, objective.held_out(), ALONE, rows=1000)
    assert found["held_out_loss"] == pytest.approx(float(squares.mean()) / 2, rel=1e-4)


@pytest.mark.parametrize(
    ("sampler", "steps"),
    [(Heun(), 16), (RungeKutta(), 8), (Euler(), 100)],
    ids=lambda one: getattr(one, "kind", one),
)
def test_the_exact_velocity_makes_data(sampler, steps: int) -> None:
    """Within three standard errors of what data are from themselves."""
    objective = made(sampler=sampler, steps=steps)
    samples = objective.generate(Exact(objective).eval(), 2048)
    data = objective.source.fresh(5, 2048)[0]
    found = energy(samples, data)
    assert abs(found.value) < 3 * found.error
    judged = objective.judge(Exact(objective).eval())
    assert abs(judged["energy_distance"]) < 4 * found.error


@pytest.mark.parametrize("path", PATHS, ids=lambda path: path.kind)
def test_a_slice_is_that_part_of_the_whole(path: Path) -> None:
    objective = made(path=path, conditional=True)
    whole = objective.example(Draw(3, 7, 0, 0, 64))
    part = objective.example(Draw(3, 7, 0, 17, 40))
    for name, array in whole.items():
        assert np.array_equal(array[17:40], part[name]), name
    other = objective.example(Draw(3, 8, 0, 0, 64))
    assert not np.array_equal(whole["noise"], other["noise"])


def test_noise_and_times_are_what_they_should_be() -> None:
    example = made(conditional=True, unlabelled=0.25).example(Draw(0, 0, 0, 0, 40_000))
    noise, times, untold = example["noise"], example["times"], example["classes"] < 0
    assert abs(noise.mean()) < 4 / math.sqrt(noise.size) and abs(noise.var() - 1) < 4 * math.sqrt(
        2 / noise.size
    )
    assert abs(times.mean() - 0.5) < 4 * math.sqrt(1 / 12 / len(times))
    assert abs(untold.mean() - 0.25) < 4 * math.sqrt(0.25 * 0.75 / len(untold))
    even = np.sort(made().held_out().example(range(4096), None)["times"])
    assert np.abs(even - (np.arange(4096) + 0.5) / 4096).max() < 2e-3


def test_rows_beyond_the_places_count_for_nothing() -> None:
    objective = made()
    model, held_out = Exact(objective).eval(), objective.held_out(100)
    whole = objective.score(model, tensors(held_out.example(range(100), None)))
    padded = objective.score(model, tensors(held_out.example(range(100), 128)))
    assert held_out.count == 100
    for name, value in whole.items():
        torch.testing.assert_close(padded[name], value)


def test_a_coupling_of_the_batch_is_refused_under_accumulation() -> None:
    objective = made(coupling=OptimalTransport())
    with pytest.raises(ValueError, match="a term of the loss spans the whole batch"):
        check_passes(objective, 256, 64)


def test_what_cannot_be_is_refused_in_a_sentence() -> None:
    for words, sentence in [
        (["objective.sampler=dpm2m"], "goes over noise levels"),
        (["objective.kind=causal"], "takes data of kind text"),
        (["data=text"], "objective.kind = flow takes data of kind"),
        (["model=decoder"], "is for a model of kind point-mlp or unet"),
        (["objective.path={kind: bridge, sigma: 0}"], "sigma"),
    ]:
        with pytest.raises(DanluError, match=sentence):
            resolve(["flow-8gaussians", *words])
    assert resolve(["flow-8gaussians", "objective.path=bridge"]).objective.path == Bridge()
