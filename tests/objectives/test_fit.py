"""Fits of signals: decibels by their formula, what is seen and what is not, gradients and their gradients."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from danlu.data import prepare
from danlu.distances import psnr
from danlu.models import build as network
from danlu.objectives import Draw, Fit, build
from danlu.objectives.fit import with_gradients, with_laplacians
from danlu.spec import CoordinateMLP, LipschitzMLP, Siren
from danlu.spec import Fit as Described
from danlu.spec.encodings import Octaves, Raw
from danlu.spec.signals import Chirp, Photograph, SignedDistance
from danlu.train.evaluate import evaluate
from danlu.train.parallel import ALONE

BOX = SignedDistance(pixels=16)


def made(signal=BOX, supervise: str = "values") -> Fit:
    found: Fit = build(Described(supervise=supervise), prepare(signal))
    return found


def tensors(example):
    return {name: torch.from_numpy(part) for name, part in example.items()}


class Off(torch.nn.Module):
    """A signal's own values, and a polynomial of the coordinates beside them."""

    def __init__(self, objective: Fit, weight: float, constant: float = 0.0, slope: float = 0.0) -> None:
        super().__init__()
        whole = objective.source.whole
        self.known = {x.tobytes(): y for x, y in zip(whole.coordinates, whole.values, strict=True)}
        self.weight, self.constant, self.slope = weight, constant, slope

    def forward(self, x):
        values = torch.from_numpy(np.stack([self.known[row.tobytes()] for row in x.detach().numpy()]))
        return values + self.weight * x[:, :1] ** 2 + self.slope * x[:, :1] + self.constant


@pytest.mark.parametrize("weight", [0.1, 3.0])
@pytest.mark.parametrize("rows", [7, 4096])
def test_decibels_are_those_of_the_formula(weight: float, rows: int) -> None:
    """10 log₁₀(4/MSE), of values within [−1, 1]; with a weight of 3 many are cut off there."""
    objective = made()
    model = Off(objective, weight)
    found = evaluate(model, objective, objective.held_out(), ALONE, rows=rows)
    source = objective.source
    for name, part in (("psnr", source.held_out), ("seen_psnr", source.seen)):
        answers = part.values + weight * part.coordinates[:, :1] ** 2
        error = np.mean((np.clip(answers, -1, 1) - part.values).astype(float) ** 2)
        assert found[name] == pytest.approx(10 * math.log10(4 / error), abs=1e-4)
    loss = np.mean((weight * source.held_out.coordinates[:, 0].astype(float) ** 2) ** 2)
    assert found["held_out_loss"] == pytest.approx(loss, rel=1e-5)


class Steep(torch.nn.Module):
    """A chirp's own function, x²/10, a slope and a constant."""

    def __init__(self, slope: float = 0.0) -> None:
        super().__init__()
        self.slope = slope

    def forward(self, x):
        u = (x + 1) / 2
        return torch.sin(2 * math.pi * (2 * u + u**2)) + 0.1 * x**2 + self.slope * x + 7.0


def test_gradients_are_scored_up_to_a_constant() -> None:
    """Of an error x²/10 + 7 the variance of x²/10 counts, and of gradients x²/25."""
    objective = made(Chirp(low=2, high=4, points=200), "gradients")
    found = evaluate(Steep(), objective, objective.held_out(), ALONE, rows=64)
    for name, part in (("psnr", objective.source.held_out), ("seen_psnr", objective.source.seen)):
        error = np.var(0.1 * part.coordinates.astype(float) ** 2)
        assert found[name] == pytest.approx(10 * math.log10(4 / error), abs=1e-3)
    x = objective.source.held_out.coordinates.astype(float)
    assert found["held_out_loss"] == pytest.approx(np.mean(x**2) / 25, rel=1e-3)
    example = tensors(objective.example(Draw(0, 0, 0, 0, 32)))
    loss = objective.loss(Steep(), example).total
    assert loss.item() == pytest.approx((0.04 * example["coordinates"] ** 2).sum().item(), rel=1e-3)


@pytest.mark.parametrize("signal", [Chirp(low=2, high=4, points=200), BOX], ids=lambda one: one.kind)
def test_laplacians_are_scored_up_to_an_affine_function(signal) -> None:
    """Of an error x²/10 + 3x + 7 the part counts that no affine function is, and of its Laplacian 1/5."""
    objective = made(signal, "laplacians")
    model = Off(objective, 0.1, 7.0, 3.0) if signal is BOX else Steep(3.0)
    found = evaluate(model, objective, objective.held_out(), ALONE, rows=64)
    for name, part in (("psnr", objective.source.held_out), ("seen_psnr", objective.source.seen)):
        x = part.coordinates.astype(float)
        affine, error = np.column_stack([np.ones(len(x)), x]), 0.1 * x[:, 0] ** 2
        left = error - affine @ np.linalg.lstsq(affine, error, rcond=None)[0]
        assert found[name] == pytest.approx(10 * math.log10(4 / np.mean(left**2)), abs=1e-3)
    told = (
        objective.source.held_out.laplacians if signal is BOX else 0
    )  # the model of a box has those of x²/10
    assert found["held_out_loss"] == pytest.approx(np.mean((0.2 - told) ** 2), rel=1e-2)


def test_a_perfect_fit_has_a_finite_number_of_decibels() -> None:
    objective = made()
    found = evaluate(Off(objective, 0.0), objective, objective.held_out(), ALONE, rows=99)
    assert math.isfinite(found["psnr"]) and found["psnr"] > 1000 and found["held_out_loss"] == 0


@pytest.mark.parametrize("supervise", ["values", "gradients", "laplacians"])
def test_what_is_held_out_is_never_trained_on(supervise: str) -> None:
    """No example holds such a coordinate."""
    objective = made(supervise=supervise)
    unseen = {row.tobytes() for row in objective.source.held_out.coordinates}
    for step in range(3):
        rows = objective.example(Draw(1, step, 40 * step, 0, 40))["coordinates"]
        assert len(rows) == 40 and not {row.tobytes() for row in rows} & unseen


@pytest.mark.parametrize("supervise", ["gradients", "laplacians"])
def test_held_out_pixels_change_nothing_of_what_training_sees(
    monkeypatch: pytest.MonkeyPatch, supervise: str
) -> None:
    """Derivatives of a picture are differences of its pixels: those of the seen ones, of seen ones alone."""
    random = np.random.default_rng(0)
    pixels = random.integers(0, 256, (427, 640, 3))
    monkeypatch.setattr("danlu.data.coordinates._pixels", lambda name: pixels)
    before = made(Photograph(pixels=256), supervise).example(Draw(0, 0, 0, 0, 500))
    down, right = np.indices((256, 256))
    other = (down % 2 == 1) | (right % 2 == 1)
    pixels[100:356, 200:456][other] = random.integers(0, 256, (int(other.sum()), 3))
    after = made(Photograph(pixels=256), supervise).example(Draw(0, 0, 0, 0, 500))
    for name, array in before.items():
        assert np.array_equal(array, after[name]), name
    assert before[supervise].std() > 1


def test_a_batch_as_large_as_the_signal_holds_each_seen_point_once() -> None:
    objective = made()
    example = objective.example(Draw(5, 3, 3 * 64, 0, 64))
    assert np.array_equal(
        np.unique(example["coordinates"], axis=0), np.unique(objective.source.seen.coordinates, axis=0)
    )
    part = objective.example(Draw(5, 3, 3 * 64, 17, 40))
    for name, array in example.items():
        assert np.array_equal(array[17:40], part[name]), name
    assert not np.array_equal(
        example["coordinates"], objective.example(Draw(6, 3, 192, 0, 64))["coordinates"]
    )


def test_few_points_are_of_both_sides_and_padding_counts_for_nothing() -> None:
    objective = made()
    model = Off(objective, 0.1)
    held_out = objective.held_out(30)
    assert held_out.count == 60
    whole = objective.score(model, tensors(held_out.example(range(60), None)))
    assert whole["seen/points"] == whole["unseen/points"] == 30
    padded = tensors(held_out.example(range(60), 61))
    padded["coordinates"][60] = padded["coordinates"][0]  # a point that the model knows
    for name, value in objective.score(model, padded).items():
        torch.testing.assert_close(value, whole[name])


NETS = [
    Siren(width=8, layers=2, first_omega=3.0, omega=3.0),
    CoordinateMLP(width=8, encoding=Octaves(octaves=2), activation="gelu"),
    LipschitzMLP(width=8, layers=1),
    CoordinateMLP(width=8, encoding=Raw()),
]


@pytest.mark.parametrize("supervise", ["gradients", "laplacians"])
@pytest.mark.parametrize("spec", NETS, ids=lambda spec: spec.kind)
def test_the_gradient_of_a_loss_of_derivatives(spec, supervise: str) -> None:
    """By weights, against central differences in float64: to 1e-6 of the largest. And derivatives by
    coordinates are those of reverse differentiation, and of it twice."""
    torch.manual_seed(0)
    objective = made(supervise=supervise)
    net = network(spec, *objective.inputs).double()
    net.compute = torch.float64
    example = {name: part.double() for name, part in tensors(objective.example(Draw(0, 0, 0, 0, 6))).items()}
    values, slopes = with_gradients(net, example["coordinates"])
    torch.testing.assert_close(values, net(example["coordinates"]))
    exact = torch.func.vmap(torch.func.jacrev(net))(example["coordinates"])
    torch.testing.assert_close(slopes, exact)
    values, laplacians = with_laplacians(net, example["coordinates"])
    torch.testing.assert_close(values, net(example["coordinates"]))
    hessian = torch.func.vmap(torch.func.jacrev(torch.func.jacrev(net)))(example["coordinates"])
    torch.testing.assert_close(laplacians, hessian.diagonal(dim1=-2, dim2=-1).sum(-1))

    def loss() -> float:
        with torch.no_grad():
            return float(objective.loss(net, example).total)

    weight = net.readout.weight if hasattr(net.readout, "weight") else net.readout.linear.weight
    first = next(p for p in net.parameters() if p.ndim == 2)
    objective.loss(net, example).total.backward()
    for tensor in (weight, first):
        found = []
        for place in range(tensor.numel()):
            row = tensor.data.view(-1)
            kept, step = row[place].item(), 1e-6
            row[place] = kept + step
            above = loss()
            row[place] = kept - step
            found.append((above - loss()) / (2 * step))
            row[place] = kept
        slope = torch.tensor(found, dtype=torch.float64)
        scale = slope.abs().max()
        assert (slope - tensor.grad.view(-1)).abs().max() < 1e-6 * scale + 1e-7


def test_the_laplacian_of_waves() -> None:
    """Of Σ a sin(w·x + b) it is −Σ a |w|² sin(w·x + b): each wave is multiplied by the square of its own
    frequency, at weights that were only drawn."""
    torch.manual_seed(0)
    net = network(Siren(width=8, layers=1, first_omega=5.0), 2, 3).double()
    net.compute = torch.float64
    x = torch.rand(20, 2, dtype=torch.float64) * 2 - 1
    values, laplacians = with_laplacians(net, x)
    layer, out = net.embedding.linear, net.readout
    weight, bias = 5.0 * layer.weight, 5.0 * layer.bias
    waves = torch.sin(x @ weight.T + bias)
    torch.testing.assert_close(values, waves @ out.weight.T + out.bias)
    torch.testing.assert_close(laplacians, -(waves * weight.square().sum(1)) @ out.weight.T)


def test_the_laplacian_of_a_relu_net_is_zero_and_of_a_siren_is_not() -> None:
    """So that no weights fit one."""
    torch.manual_seed(0)
    x = torch.rand(50, 2, dtype=torch.float64) * 2 - 1
    sizes = {}
    for spec in (CoordinateMLP(width=16, encoding=Raw()), Siren(width=16)):
        net = network(spec, 2, 1).double()
        net.compute = torch.float64
        hessian = torch.func.vmap(torch.func.hessian(lambda x, net=net: net(x)[0]))(x)
        sizes[spec.kind] = hessian.diagonal(dim1=-2, dim2=-1).sum(-1).abs()
    assert (sizes["coordinate-mlp"] == 0).all() and sizes["siren"].min() > 1e-3


@pytest.mark.parametrize(("supervise", "slope"), [("gradients", 0.0), ("laplacians", 3.0)])
def test_a_sample_stands_where_its_signal_does(supervise: str, slope: float) -> None:
    """Though nothing told the network its constant, or its slope."""
    objective = made(supervise=supervise)
    values = objective.values(Off(objective, 0.0, 7.0, slope))
    assert values.reshape(-1, 1) == pytest.approx(objective.source.whole.values, abs=1e-5)


def test_samples_are_the_whole_signal() -> None:
    torch.manual_seed(0)
    objective = made()
    sample = objective.sample(network(Siren(width=8), *objective.inputs).eval())
    assert sample.kind == "picture" and np.shape(sample.data["images"]) == (1, 1, 16, 16)
    objective = made(Chirp(points=50))
    model = network(Siren(width=8), *objective.inputs).eval()
    sample = objective.sample(model)
    assert sample.kind == "points" and np.shape(sample.data["points"]) == (50, 2)
    whole = torch.from_numpy(objective.source.whole.coordinates)
    assert np.array(sample.data["points"])[:, 1] == pytest.approx(model(whole)[:, 0].tolist())


@pytest.mark.parametrize("weight", [0.1, 3.0])
def test_the_error_of_decibels_is_that_of_the_measure(weight: float) -> None:
    """``danlu.distances.psnr``, of what is moved from [−1, 1] to [0, 1]."""
    objective = made()
    found = evaluate(Off(objective, weight), objective, objective.held_out(), ALONE, rows=7)
    for name, part in (("psnr", objective.source.held_out), ("seen_psnr", objective.source.seen)):
        answers = part.values + weight * part.coordinates[:, :1].astype(float) ** 2
        wanted = psnr((np.clip(answers, -1, 1) + 1) / 2, (part.values + 1) / 2)
        assert found[name] == pytest.approx(wanted.value, abs=1e-4)
        assert found[f"{name}_error"] == pytest.approx(wanted.error, rel=1e-3) and wanted.error > 0
