"""Denoising: with the exact denoiser the loss is the least that there is, and samples are data."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from danlu.data import prepare
from danlu.data.counter import normal
from danlu.distances import energy
from danlu.flows import Mixture
from danlu.objectives import Denoise, Draw, build
from danlu.spec import DanluError
from danlu.spec import Denoise as Described
from danlu.spec import flows as specs
from danlu.spec.data import Digits
from danlu.spec.points import EightGaussians
from danlu.spec.words import resolve
from danlu.train.evaluate import evaluate
from danlu.train.parallel import ALONE

POINTS = EightGaussians(sd=1e-6, held_out=4096)  # as good as eight points
KERNELS = [specs.Gaussian(), specs.StudentT(extra=8), specs.Poisson(), specs.Tanh(), specs.Exponential()]


def made(data=EightGaussians(held_out=4096), **settings) -> Denoise:
    found: Denoise = build(Described(**settings), prepare(data))
    return found


def tensors(example):
    return {name: torch.from_numpy(part) for name, part in example.items()}


def centres(objective: Denoise) -> torch.Tensor:
    angles = 2 * math.pi * torch.arange(8, dtype=torch.float64) / 8
    return (4.0 * torch.stack([angles.cos(), angles.sin()], 1) - objective.centre) / objective.spread


class Told(Denoise):
    """The objective, whose network answers the denoised data itself."""

    def field(self, model, x, t, classes):
        found: torch.Tensor = model(x, torch.as_tensor(t).expand(len(x)), classes)
        return found


def told(data=EightGaussians(held_out=4096), **settings) -> Told:
    spec = Described(**settings)
    kept = {name: getattr(spec, name) for name in type(spec).model_fields if name != "kind"}
    return Told(prepare(data), **kept)


class OfPoints(torch.nn.Module):
    """E[x₀|x] of eight points by the objective's kernel, or by another."""

    def __init__(self, objective: Denoise, kernel=None) -> None:
        super().__init__()
        self.kernel, self.points = kernel or objective.kernel, centres(objective)

    def forward(self, x, t, condition=None):
        return self.kernel.denoised(x.double(), t.double(), self.points).to(x.dtype)


class OfGaussians(torch.nn.Module):
    """E[x₀|x] of the eight Gaussians with normal noise; where a class is told, of that one."""

    def __init__(self, objective: Denoise) -> None:
        super().__init__()
        sds = torch.full((8, 2), 0.3 / objective.spread)
        self.each = [Mixture(torch.ones(1), mean[None], sds[:1]).denoised for mean in centres(objective)]
        self.all = Mixture(torch.full((8,), 1 / 8), centres(objective), sds).denoised

    def forward(self, x, t, condition=None):
        x64, t64 = x.double(), t.double()
        found = self.all(x64, 1.0, t64)
        if condition is not None:
            for k, denoised in enumerate(self.each):
                found = torch.where((condition == k)[:, None], denoised(x64, 1.0, t64), found)
        return found.to(x.dtype)


class Nothing(torch.nn.Module):
    def forward(self, x, t, condition=None):
        return torch.zeros_like(x)


@pytest.mark.parametrize("kernel", KERNELS, ids=lambda kernel: kernel.kind)
def test_the_exact_denoiser_has_the_least_loss(kernel: specs.Kernel) -> None:
    """The mean variance of what the data may have been, to four standard errors; and D + h costs the mean of
    ‖h‖² more, whatever h is: no other function has less."""
    objective = told(POINTS, kernel=kernel)
    model = OfPoints(objective).eval()
    example = tensors(objective.held_out().example(range(4096), None))
    x, level = example["noisy"].double(), example["levels"].double()
    squares = objective.squares(model, example).double()
    shares = objective.kernel.weights(x, level, model.points)
    apart = (model.points[None] - (shares @ model.points)[:, None]).square().sum(2)
    weight = objective.weight(objective.preconditioning.level(x, level))
    least = weight * (shares * apart).sum(1)
    error = squares - least
    assert error.mean().abs() < 4 * error.std() / math.sqrt(4096)

    def moved(x, t, classes=None):
        return model(x, t) + 0.1 * torch.sin(3 * x) / weight.sqrt()[:, None].float()

    more = objective.squares(moved, example).double() - squares - 0.01 * torch.sin(3 * x).square().sum(1)
    assert more.mean().abs() < 4 * more.std() / math.sqrt(4096)


@pytest.mark.parametrize("kernel", KERNELS[2:], ids=lambda kernel: kernel.kind)
def test_a_kernel_is_not_another(kernel: specs.Kernel) -> None:
    """The denoiser of normal noise costs more with other noise."""
    objective = told(POINTS, kernel=kernel)
    example = tensors(objective.held_out().example(range(4096), None))
    exact = objective.squares(OfPoints(objective), example).double()
    other = objective.squares(OfPoints(objective, told(POINTS).kernel), example).double()
    assert (other - exact).mean() > 3 * (other - exact).std() / math.sqrt(4096)


@pytest.mark.parametrize("levels", [specs.LogNormal(), specs.LogUniform(low=0.01, high=20)])
def test_a_network_that_answers_nothing_costs_one_a_number(levels: specs.Levels) -> None:
    """With EDM's weight and normal noise, in expectation (Karras et al. 2022, appendix B.6)."""
    objective = made(levels=levels)
    example = tensors(objective.held_out().example(range(4096), None))
    squares = objective.squares(Nothing(), example).double() / 2
    assert (squares.mean() - 1).abs() < 4 * squares.std() / math.sqrt(4096)
    found = evaluate(Nothing(), objective, objective.held_out(), ALONE, rows=1000)
    assert found["held_out_loss"] == pytest.approx(float(squares.mean()), rel=1e-4)


@pytest.mark.parametrize("kernel", [specs.Gaussian(), specs.Poisson()], ids=lambda kernel: kernel.kind)
def test_the_preconditioned_field_is_the_denoised_data(kernel: specs.Kernel) -> None:
    """The network that answers (D − c_skip x)/c_out makes D, for heavy tails too."""
    objective = made(POINTS, kernel=kernel)
    exact = OfPoints(objective)
    example = tensors(objective.held_out().example(range(512), None))
    x, level = example["noisy"].double(), example["levels"].double()
    plain = objective.preconditioning
    skip, out, *_ = plain.coefficients(plain.level(x, level))

    def network(into, noise, condition=None):
        torch.testing.assert_close(noise, level.log() / 4)
        return (exact(x, level) - skip[:, None] * x) / out[:, None]

    torch.testing.assert_close(objective.field(network, x, level, None), exact(x, level))


SAMPLERS = [
    (specs.Euler(), 200), (specs.Heun(), 32), (specs.RungeKutta(), 20), (specs.DPM2(), 32),
    (specs.DPM2M(), 40), (specs.Churn(churn=10), 64),
]  # fmt: skip


@pytest.mark.parametrize(("sampler", "steps"), SAMPLERS, ids=lambda one: getattr(one, "kind", one))
def test_the_exact_denoiser_makes_data(sampler, steps: int) -> None:
    """Within three standard errors of what data are from themselves."""
    objective = told(sampler=sampler, steps=steps)
    model = OfGaussians(objective).eval()
    found = energy(objective.generate(model, 2048), objective.source.fresh(5, 2048)[0])
    assert abs(found.value) < 3 * found.error
    assert abs(objective.judge(model)["energy_distance"]) < 4 * found.error


@pytest.mark.parametrize("kernel", KERNELS[1:], ids=lambda kernel: kernel.kind)
def test_every_kernel_makes_data(kernel: specs.Kernel) -> None:
    """All reach the data's points, each as often as it should. With Cauchy's noise a path between two points
    decides late: up to 2 in 100 have not arrived at level .002."""
    objective = told(POINTS, kernel=kernel, steps=64)
    samples = torch.from_numpy(objective.generate(OfPoints(objective), 2048))
    goals = centres(objective) * objective.spread + objective.centre
    apart, mode = torch.cdist(samples, goals).min(1)
    assert (apart > 0.02).float().mean() < (0.02 if isinstance(kernel, specs.Poisson) else 1e-9)
    shares = torch.bincount(mode, minlength=8) / 2048
    assert (shares - 1 / 8).abs().max() < 4 * math.sqrt(7 / 64 / 2048)


def test_guidance_one_is_the_field_with_the_class() -> None:
    """n + 1·(c − n) = c; 0 is the field without it, and samples with a class are of it."""
    same = told(conditional=True, steps=16)
    model = OfGaussians(same)
    samples = same.generate(model, 64)
    mode = torch.cdist(torch.from_numpy(samples), centres(same) * same.spread + same.centre).argmin(1)
    assert torch.equal(mode, torch.arange(64) % 8)
    near = told(conditional=True, steps=16, guidance=1 + 1e-9).generate(model, 64)
    np.testing.assert_allclose(near, samples, atol=1e-5)
    without = told(conditional=True, steps=16, guidance=0.0).generate(model, 64)
    np.testing.assert_allclose(without, told(steps=16).generate(model, 64), atol=1e-6)


def test_the_likelihood_of_the_exact_denoiser_is_the_density() -> None:
    """Point by point; what is left is that the path ends at a level of 20, where data are a 40th of it."""
    objective = told(grid=specs.Geometric(low=1e-3, high=20.0))
    points, classes = objective.source.fresh(3, 64)
    found = objective.log_likelihood(OfGaussians(objective), points, classes, steps=128)
    np.testing.assert_allclose(found, objective.source.log_density(points), atol=0.02)


def test_labels_are_dropped_by_row() -> None:
    """Each row's coin is its own, and held-out rows keep their label."""
    objective = made(conditional=True, unlabelled=0.25)
    example = objective.example(Draw(0, 0, 0, 0, 40_000))
    untold = example["classes"] < 0
    assert abs(untold.mean() - 0.25) < 4 * math.sqrt(0.25 * 0.75 / 40_000)
    batches = untold.reshape(-1, 100).mean(1)  # one coin for a batch would give 0 or 1
    assert abs(batches.var() * 100 / (0.25 * 0.75) - 1) < 4 * math.sqrt(2 / 400)
    assert np.array_equal(
        example["classes"][~untold], prepare(EightGaussians()).rows(0, 0, 0, 0, 40_000)[1][~untold]
    )
    assert (objective.held_out().example(range(4096), None)["classes"] >= 0).all()


@pytest.mark.parametrize("kernel", KERNELS, ids=lambda kernel: kernel.kind)
def test_a_slice_is_that_part_of_the_whole(kernel: specs.Kernel) -> None:
    objective = made(kernel=kernel, conditional=True)
    whole, part = (objective.example(Draw(3, 7, 0, *rows)) for rows in [(0, 64), (17, 40)])
    for name, array in whole.items():
        assert np.array_equal(array[17:40], part[name]), name
    assert not np.array_equal(whole["noisy"], objective.example(Draw(3, 8, 0, 0, 64))["noisy"])


@pytest.mark.parametrize("extra", [1.0, 8.0])
def test_noise_has_the_law_of_its_kernel(extra: float) -> None:
    """(x − x₀)/σ of PFGM++ is Student's t of D degrees of freedom, in every number (Kolmogorov–Smirnov, at
    one in a thousand)."""
    from scipy.stats import kstest, t

    example = made(kernel=specs.StudentT(extra=extra)).example(Draw(1, 0, 0, 0, 20_000))
    apart = (example["noisy"] - example["data"]).astype(np.float64) / example["levels"][:, None]
    for number in apart.T:
        assert kstest(number, t(extra).cdf).pvalue > 1e-3


def test_levels_are_those_of_their_law_and_spread_evenly_where_held_out() -> None:
    from scipy.special import ndtr

    drawn = made().example(Draw(0, 0, 0, 0, 20_000))["levels"].astype(np.float64)
    logs = (np.log(drawn) + 1.2) / 1.2
    assert abs(logs.mean()) < 4 / math.sqrt(20_000) and abs(logs.var() - 1) < 4 * math.sqrt(2 / 20_000)
    even = np.sort(made().held_out().example(range(4096), None)["levels"].astype(np.float64))
    assert np.abs(ndtr((np.log(even) + 1.2) / 1.2) - (np.arange(4096) + 0.5) / 4096).max() < 2e-3


def test_rows_beyond_the_places_count_for_nothing() -> None:
    objective = told()
    model, held_out = OfGaussians(objective).eval(), objective.held_out(100)
    whole = objective.score(model, tensors(held_out.example(range(100), None)))
    padded = objective.score(model, tensors(held_out.example(range(100), 128)))
    for name, value in whole.items():
        torch.testing.assert_close(padded[name], value)


def test_images_are_held_out_and_padded_alike() -> None:
    pytest.importorskip("sklearn")
    objective = made(Digits())
    images = objective.source.held_out[0]
    held_out = objective.held_out()
    assert held_out.count == 16 * len(images)
    example = held_out.example([0, len(images), 5], 8)
    assert np.array_equal(example["data"][0], example["data"][1])  # another round: other noise
    assert not np.array_equal(example["noisy"][0], example["noisy"][1])
    assert example["weight"].tolist() == [1, 1, 1, 0, 0, 0, 0, 0]
    np.testing.assert_allclose(objective.scaled_back(example["data"][0]), images[0], atol=1e-6)
    squares = objective.score(Nothing(), tensors(example))
    short = objective.score(Nothing(), tensors(held_out.example([0, len(images), 5], None)))
    torch.testing.assert_close(squares, short)
    train = objective.example(Draw(0, 0, 0, 0, 512))["data"]
    assert (train.astype(np.float64) ** 2).mean() == pytest.approx(0.25, rel=0.1)
    shown = objective.sample(Nothing())
    assert shown is not None and shown.kind == "picture" and np.shape(shown.data["images"])[1:] == (1, 8, 8)


def test_what_a_sampler_adds_is_its_own_in_every_step() -> None:
    """Churn draws from a stream of its own, of which samples are a function."""
    objective = told(sampler=specs.Churn(), steps=8)
    model = OfGaussians(objective)
    first, again = objective.generate(model, 32), objective.generate(model, 32)
    assert np.array_equal(first, again)
    assert np.array_equal(objective.generate(model, 16), first[:16])


def test_the_normal_numbers_of_uniform_ones() -> None:
    found = normal(np.array([0.0, 0.5, 1 - 2.0**-53]))
    assert np.isfinite(found).all() and abs(found[1]) < 1e-12 and found[0] < -8 and found[2] > 8


def test_what_cannot_be_is_refused_in_a_sentence() -> None:
    for words, sentence in [
        (["objective.sampler=churn", "objective.kernel=poisson"], "adds normal noise"),
        (["objective.kernel={kind: student, extra: 0.5}"], "extra"),
        (["objective.levels={kind: loguniform, low: 2, high: 1}"], "is not below"),
        (["objective.grid={kind: karras, low: 2, high: 1}"], "is not below"),
        (["objective.judge=frechet"], "measures features of digits"),
    ]:
        with pytest.raises(DanluError, match=sentence):
            resolve(["denoise-8gaussians", *words])


class Zero(torch.nn.Module):
    def forward(self, x, t, condition=None):
        return torch.zeros_like(x)


@pytest.mark.parametrize("kernel", KERNELS[:2])
def test_the_drawn_field_leads_to_the_data(kernel) -> None:
    """A network that answers 0 denoises x to c_skip x, so that samples go −dx/dσ = −σ/(σ² + σ_d²) (x − c)."""
    objective = made(kernel=kernel)
    points = np.random.default_rng(0).uniform(-1, 1, (20, 2))
    found = objective.directions(Zero(), points)
    levels = list(objective.shown_at.values())
    assert levels == sorted(levels, reverse=True) and len(found) == 4
    for name, level in objective.shown_at.items():
        wanted = -level / (level**2 + 0.25) * (points - objective.centre)
        assert found[name] == pytest.approx(wanted, rel=1e-4, abs=1e-5)
        assert f"{level * objective.spread:.2g}" in name
