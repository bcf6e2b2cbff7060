"""Flow matching: with the exact velocity the loss is the least that there is, and samples are data."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from danlu.data import prepare
from danlu.distances import energy
from danlu.flows import Characteristics, Mixture, straight
from danlu.objectives import Draw, Flow, build, check_passes
from danlu.objectives.pictures import scattered
from danlu.spec import DanluError
from danlu.spec import Flow as Described
from danlu.spec import flows as specs
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
    [
        (Heun(), 16), (RungeKutta(), 8), (Euler(), 100),
        (specs.DPM2(), 32), (specs.DPM2M(), 40), (specs.Churn(churn=10), 64),
    ],
    ids=lambda one: getattr(one, "kind", one),
)  # fmt: skip
def test_the_exact_velocity_makes_data(sampler, steps: int) -> None:
    """Within three standard errors of what data are from themselves."""
    objective = made(sampler=sampler, steps=steps)
    samples = objective.generate(Exact(objective).eval(), 2048)
    data = objective.source.fresh(5, 2048)[0]
    found = energy(samples, data)
    assert abs(found.value) < 3 * found.error
    judged = objective.judge(Exact(objective).eval())
    assert abs(judged["energy_distance"]) < 4 * found.error


PLAIN = [Described().path, Trigonometric(), specs.VP(), specs.SubVP(), specs.VE()]
LEVELS = [specs.DPM2(), specs.DPM2M(), specs.Churn(high=30.0)]


@pytest.mark.parametrize("path", PLAIN, ids=lambda path: path.kind)
@pytest.mark.parametrize("sampler", LEVELS, ids=lambda one: one.kind)
def test_samplers_over_levels_are_those_of_diffusion(path: Path, sampler) -> None:
    """The levels are those of equal steps of time and 0; over them the exact denoiser gives the same samples
    to 1e-10, and what is seen on the way is α times what the solver has."""
    objective = made(path=path, sampler=sampler)
    model, steps, rows = Exact(objective).eval(), 12, 5
    noise = torch.randn(rows, 2, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    seen: list[torch.Tensor] = []
    found = objective.walk(lambda x, t: model(x, t), noise, noise[:, 0], steps, seen.append).x
    first, last = objective.path.ends
    times = torch.linspace(first, 1 - last, steps + 1, dtype=torch.float64)[:-1].clamp(min=1e-5)
    alpha, sigma, _ = objective.path.scales(times)
    levels, known = torch.cat([sigma / alpha, torch.zeros(1).double()]), []
    expected = objective.solver.sample(
        model.law.denoiser, levels[0] * noise, levels, objective.added(objective.solver, noise, steps),
        known.append,
    )  # fmt: skip
    torch.testing.assert_close(found, expected.x, rtol=0, atol=1e-10)
    for scale, x, y in zip([*alpha, 1.0], seen, known, strict=True):
        torch.testing.assert_close(x, scale * y, rtol=0, atol=1e-8)
    assert torch.equal(seen[-1], found)


def test_churn_stays_on_the_path() -> None:
    """It raises a level by √2 at most, and no level is above the path's highest, 50 of VE."""
    settings = {"path": specs.VE(), "steps": 6}
    found = made(sampler=specs.Churn(), **settings)
    same = made(sampler=specs.Churn(high=50 / math.sqrt(2)), **settings)
    model = Exact(found).eval()
    assert np.array_equal(found.generate(model, 16), same.generate(model, 16))


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


PRIORS = [specs.Uniform(), specs.Logistic(), specs.Uniform(half=1.0)]


class ByTracks(torch.nn.Module):
    """The velocity by characteristics of the eight Gaussians' centres, where these are the data."""

    def __init__(self, objective: Flow) -> None:
        super().__init__()
        angles = 2 * math.pi * torch.arange(8, dtype=torch.float64) / 8
        centres = 4.0 * torch.stack([angles.cos(), angles.sin()], 1)
        self.points = (centres - objective.centre) / objective.spread
        self.law = Characteristics(straight(objective.path), objective.prior)

    def forward(self, x, t, condition=None):
        t = torch.as_tensor(t).double().expand(len(x)).clamp(max=1 - 1e-9)
        return self.law.velocity(x.double(), t, self.points).to(x.dtype)


@pytest.mark.parametrize("prior", PRIORS, ids=lambda prior: prior.kind)
def test_any_prior_is_carried_to_the_data(prior: specs.Prior) -> None:
    """The construction by characteristics has the least loss, and its paths end in the data's points, each as
    often as it should."""
    objective = made(EightGaussians(sd=1e-6, held_out=2048), prior=prior, sampler=Euler(), steps=60)
    model = ByTracks(objective).eval()
    example = tensors(objective.held_out().example(range(2048), None))
    squares = objective.squares(model, example).double()

    class Moved(torch.nn.Module):
        def forward(self, x, t, condition=None):
            return model(x, t) + 0.1 * torch.sin(3 * x)

    x = objective.path.at(example["noise"], example["data"], example["times"]).double()
    more = (
        objective.squares(Moved().eval(), example).double()
        - squares
        - 0.01 * torch.sin(3 * x).square().sum(1)
    )
    assert more.mean().abs() < 4 * more.std() / math.sqrt(2048)
    samples = torch.from_numpy(objective.generate(model, 1024))
    goals = model.points * objective.spread + objective.centre
    apart, mode = torch.cdist(samples, goals).min(1)
    assert (apart > 0.05).float().mean() < 0.02  # the last step of Euler is to E[x₁|x]
    assert (torch.bincount(mode, minlength=8) / 1024 - 1 / 8).abs().max() < 4 * math.sqrt(7 / 64 / 1024)


@pytest.mark.parametrize("prior", [specs.Normal(), *PRIORS], ids=lambda prior: prior.kind)
def test_noise_has_the_law_of_the_prior(prior: specs.Prior) -> None:
    """Kolmogorov and Smirnov, at one in a thousand; and each row's is its own."""
    from scipy import stats

    objective = made(prior=prior)
    whole = objective.example(Draw(2, 0, 0, 0, 20_000))["noise"]
    laws = {
        "normal": stats.norm(),
        "uniform": stats.uniform(-getattr(prior, "half", 1), 2 * getattr(prior, "half", 1)),
        "logistic": stats.logistic(scale=getattr(prior, "scale", 1)),
    }
    assert stats.kstest(whole.ravel().astype(np.float64), laws[prior.kind].cdf).pvalue > 1e-3
    assert np.array_equal(whole[17:40], objective.example(Draw(2, 0, 0, 17, 40))["noise"])
    noisy = made(prior=prior, path=Bridge()).example(Draw(2, 0, 0, 0, 20_000))["between"]
    assert stats.kstest(noisy.ravel().astype(np.float64), "norm").pvalue > 1e-3  # z is normal all the same


@pytest.mark.parametrize("path", PATHS, ids=lambda path: path.kind)
def test_the_likelihood_of_the_exact_velocity_is_the_density(path: Path) -> None:
    """Point by point."""
    objective = made(path=path)
    points, classes = objective.source.fresh(3, 64)
    found = objective.log_likelihood(Exact(objective).double(), points, classes)
    smoothed = path.kind == "lipman"  # ends with noise of .05 of the data's mean square
    np.testing.assert_allclose(found, objective.source.log_density(points), atol=0.5 if smoothed else 0.02)


def test_straightness_is_that_of_the_paths() -> None:
    """Of N(0, I) → N(m, s²I) it is (2 − π/2) s a number (Liu et al. 2022; notes of the closed form)."""
    objective = made(EightGaussians(modes=1, radius=1e-6, sd=0.5))
    law = Mixture(torch.ones(1), torch.zeros(1, 2), torch.full((1, 2), 0.5))

    class Gauss(torch.nn.Module):
        def forward(self, x, t, condition=None):
            return law.velocity(objective.path)(x.double(), torch.as_tensor(t).double()).to(x.dtype)

    found = objective.straightness(Gauss(), 4000, 50)
    assert found == pytest.approx(2 * 0.5 * (2 - math.pi / 2), rel=0.1)
    assert objective.judge(Gauss())["straightness"] == pytest.approx(found, rel=0.2)


def test_reflow_takes_the_pairs_of_its_teacher() -> None:
    """The same velocity has no loss on straight pairs of its own; without a teacher there are none."""
    teacher = made(EightGaussians(modes=1, radius=1e-6, sd=1.0, held_out=512))
    student = made(teacher.source.spec, coupling=specs.Reflow(run="runs/first", steps=8))

    class Still(torch.nn.Module):  # N(0, I) is carried to itself by the shift 0
        def forward(self, x, t, condition=None):
            return torch.zeros_like(x)

    example = tensors(student.example(Draw(0, 0, 0, 0, 64)))
    with pytest.raises(AssertionError, match="teach"):
        student.squares(Still().train(), example)
    student.teach(teacher, Still())
    assert float(student.squares(Still().train(), example).sum()) == 0
    held_out = tensors(student.held_out().example(range(512), None))
    torch.testing.assert_close(
        student.squares(Still().eval(), held_out), teacher.squares(Still().eval(), held_out)
    )  # held-out losses are of independent pairs, whatever the coupling
    for other, sentence in [
        (made(EightGaussians(sd=0.5)), "data is"),
        (made(teacher.source.spec, prior=specs.Uniform()), "objective.prior is"),
        (made(teacher.source.spec, conditional=True), "objective.conditional is true there and false here"),
    ]:
        with pytest.raises(ValueError, match=sentence):
            student.teach(other, Still())


@pytest.mark.parametrize("guidance", [1.0, 2.0])
@pytest.mark.parametrize(
    "sampler", [Euler(), Heun(), RungeKutta(), specs.DPM2(), specs.DPM2M()], ids=lambda one: one.kind
)
def test_reflow_counts_each_pass_of_its_teacher(sampler, guidance: float) -> None:
    """As often as the network is asked for an example, so often its FLOPs."""
    settings = {"conditional": True, "guidance": guidance, "sampler": sampler}
    teacher = made(EightGaussians(held_out=64), **settings)
    student = made(teacher.source.spec, coupling=specs.Reflow(run="first", steps=5), **settings)
    asked = 0

    class Counted(torch.nn.Module):
        def forward(self, x, t, condition=None):
            nonlocal asked
            asked += 1
            return torch.zeros_like(x)

        def flops(self, examples: int) -> int:
            return 1000 * examples

    class Student(Counted):
        def forward(self, x, t, condition=None):
            return torch.zeros_like(x)

    assert student.beside(Student()) == 0  # of no teacher nothing is known
    student.teach(teacher, Counted())
    student.squares(Student().train(), tensors(student.example(Draw(0, 0, 0, 0, 8))))
    assert student.beside(Student()) == 1000 * asked > 0


def test_rows_beyond_the_places_count_for_nothing() -> None:
    objective = made()
    model, held_out = Exact(objective).eval(), objective.held_out(100)
    whole = objective.score(model, tensors(held_out.example(range(100), None)))
    padded = objective.score(model, tensors(held_out.example(range(100), 128)))
    assert held_out.count == 100
    for name, value in whole.items():
        torch.testing.assert_close(padded[name], value)


def test_entropic_pairs_are_drawn_by_the_rows_own_numbers() -> None:
    """They are a function of the example; a slice has its numbers; held-out pairs are as they come."""
    objective = made(coupling=specs.Entropic(epsilon=0.5), path=Bridge(sigma=0.5))
    example = objective.example(Draw(3, 7, 0, 0, 64))
    part = objective.example(Draw(3, 7, 0, 17, 40))
    for name, array in example.items():
        assert np.array_equal(array[17:40], part[name]), name
    plain = made(path=Bridge(sigma=0.5)).example(Draw(3, 7, 0, 0, 64))
    assert set(example) - set(plain) == {"pairs"} and 0 <= example["pairs"].min() < example["pairs"].max() < 1
    model = Exact(objective)
    first, again = (objective.squares(model.train(), tensors(example)) for _ in range(2))
    assert torch.equal(first, again) and not torch.equal(
        first, objective.squares(model.eval(), tensors(example))
    )


@pytest.mark.parametrize("coupling", [OptimalTransport(), specs.Entropic()], ids=lambda one: one.kind)
def test_a_coupling_of_the_batch_is_refused_under_accumulation(coupling) -> None:
    objective = made(coupling=coupling)
    with pytest.raises(ValueError, match="a term of the loss spans the whole batch"):
        check_passes(objective, 256, 64)


def test_what_cannot_be_is_refused_in_a_sentence() -> None:
    for words, sentence in [
        (["objective.sampler=dpm2m", "+bridge"], "has noise between its ends besides"),
        (["objective.sampler=churn", "+uniform-prior"], r"prior\.kind = uniform starts from other noise"),
        (["objective.sampler=churn", "+ot-coupling"], "kind = ot pairs noise with data; set"),
        (["objective.kind=causal"], "takes data of kind text"),
        (["data=text"], "objective.kind = flow takes data of kind"),
        (["model=decoder"], "is for a model of kind point-mlp or unet"),
        (["objective.path={kind: bridge, sigma: 0}"], "sigma"),
    ]:
        with pytest.raises(DanluError, match=sentence):
            resolve(["flow-8gaussians", *words])
    assert resolve(["flow-8gaussians", "objective.path=bridge"]).objective.path == Bridge()


class Affine(torch.nn.Module):
    """The velocity A x + t b."""

    matrix = torch.tensor([[0.5, -2.0], [1.0, 0.25]])
    moves = torch.tensor([3.0, -1.0])

    def forward(self, x, t, condition=None):
        return x @ self.matrix.T + t[:, None] * self.moves


def test_the_drawn_field_is_the_velocity_as_data_are() -> None:
    """dx/dt of x = c + s y is s (A y + t b) = A (x − c) + t s b, at each of the times that are shown."""
    objective = made(path=Lipman(sigma=0.05))
    points = np.random.default_rng(0).normal(size=(20, 2)) * 4
    found = objective.directions(Affine(), points)
    assert list(found) == list(objective.shown_at) and len(found) == 4
    times = list(objective.shown_at.values())
    assert times == sorted(times) and 0 <= times[0] < times[-1] < 1
    for name, time in objective.shown_at.items():
        wanted = (points - objective.centre) @ Affine.matrix.double().numpy().T
        wanted += time * objective.spread * Affine.moves.double().numpy()
        assert found[name] == pytest.approx(wanted, rel=1e-5, abs=1e-5)


def test_a_picture_of_three_numbers_says_that_it_shows_two() -> None:
    drawn = np.random.default_rng(0).normal(size=(50, 3))
    assert scattered(drawn) == f"{scattered(drawn[:, :2])}\nthe first two of 3 numbers"
