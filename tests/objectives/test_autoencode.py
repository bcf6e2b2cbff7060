"""Autoencoders: where the answer is known exactly the metrics are it."""

from __future__ import annotations

import math
import re

import numpy as np
import pytest
import torch

from danlu.data import prepare
from danlu.distances import energy
from danlu.models import build as model_of
from danlu.nn.bottlenecks import linear_vae
from danlu.objectives import Autoencode, Draw, build, check_passes
from danlu.spec import Autoencode as Described
from danlu.spec import DanluError, Digits, VectorPair, resolve
from danlu.spec.autoencode import Cycles, Rise
from danlu.spec.bottlenecks import FSQ, LFQ, VQ, Binary, Gaussian, Gumbel, Plain
from danlu.spec.metrics import DISTANCES
from danlu.spec.points import EightGaussians, Moons
from danlu.train.evaluate import evaluate
from danlu.train.parallel import ALONE
from tests.conftest import ROOT

POINTS = EightGaussians(held_out=2048)
ALL = [
    Plain(size=3), Gaussian(size=3), Gumbel(groups=2, codes=5), Binary(size=4), VQ(size=3, codes=6),
    FSQ(levels=(5, 4)), LFQ(size=4),
]  # fmt: skip


def made(points=POINTS, **settings) -> Autoencode:
    found: Autoencode = build(Described(samples=256, draws=8, **settings), prepare(points))
    return found


def tensors(example):
    return {name: torch.from_numpy(part) for name, part in example.items()}


def scored(objective: Autoencode, model: torch.nn.Module) -> dict[str, float]:
    return evaluate(model, objective, objective.held_out(), ALONE, rows=1000)


def water(objective: Autoencode, noise: float, size: int = 2) -> torch.nn.Module:
    """The linear VAE that is best for the Gaussian with the held-out points' mean and covariance."""
    x = (objective.source.held_out[0].astype(float) - objective.centre) / objective.spread
    values, vectors = np.linalg.eigh(np.cov(x.T, bias=True))
    values, vectors = torch.tensor(values[::-1].copy()), torch.tensor(vectors[:, ::-1].copy())
    best = linear_vae(values, size, noise)
    model = model_of(VectorPair(layers=0), *objective.inputs)
    decoder = vectors * best.gains
    encoder = (best.variances / noise)[:, None] * decoder.T
    mean = torch.tensor(x.mean(0))
    with torch.no_grad():
        model.readout.weight.copy_(decoder)
        model.readout.bias.copy_(mean)
        model.code.weight.copy_(torch.cat([encoder, torch.zeros(size, 2)]))
        model.code.bias.copy_(torch.cat([-encoder @ mean, best.variances.log()]))
    return model.eval()


@pytest.mark.parametrize("noise", [0.1, 0.3])
def test_the_best_linear_autoencoder_has_the_likelihood_of_its_gaussian(noise: float) -> None:
    """Its posterior is exact: ELBO and importance-weighted bound are ln p(x) of the Gaussian with covariance
    WWᵀ + s² (probabilistic PCA), which is that of the points; error and KL are reverse water-filling."""
    objective = made(bottleneck=Gaussian(size=2), noise=noise**0.5)
    model = water(objective, noise)
    found = scored(objective, model)
    points = objective.source.held_out[0].astype(float)
    covariance = np.cov(points.T, bias=True)
    nats = 0.5 * (2 * math.log(2 * math.pi) + np.linalg.slogdet(covariance)[1] + 2)
    assert found["iwae_bits_per_dimension"] == pytest.approx(nats / 2 / math.log(2), abs=1e-4)
    # 2,048 draws of z: four standard errors
    assert found["bits_per_dimension"] == pytest.approx(nats / 2 / math.log(2), abs=4 * 0.5 / 2048**0.5)
    error = 2 * noise / 2 * objective.spread**2
    assert found["reconstruction_error"] == pytest.approx(error, rel=4 / 2048**0.5)
    assert found["active_units"] == 2
    about = objective.sample(model).data
    values = np.linalg.eigvalsh(covariance)[::-1] / objective.spread**2
    assert about["nats_by_dimension"] == pytest.approx(0.5 * np.log(values / noise), abs=1e-4)
    assert about["decoder_noise"] == pytest.approx(noise**0.5 * objective.spread)
    assert 0 < found["information"] <= about["information_cap"] == pytest.approx(math.log(2048))


def test_its_samples_are_that_gaussian() -> None:
    """Draws of a decoder's mean have covariance WWᵀ, the points' less s²: to four standard errors."""
    objective = made(bottleneck=Gaussian(size=2), noise=0.1)
    samples = objective.generate(water(objective, 0.01), 4096)
    found, wanted = np.cov(samples.T), np.cov(objective.source.held_out[0].astype(float).T, bias=True)
    wanted -= 0.01 * objective.spread**2 * np.eye(2)
    assert np.abs(found - wanted).max() < 4 * wanted.max() * (2 / 4096) ** 0.5


def nearest(objective: Autoencode) -> torch.nn.Module:
    """A pair that lets points through as they are, with the centres of the eight modes as words."""
    angles = 2 * math.pi * torch.arange(8) / 8
    words = 4.0 * torch.stack([angles.cos(), angles.sin()], 1)
    pair = model_of(VectorPair(layers=0), *objective.inputs)
    with torch.no_grad():
        pair.bottleneck.words.copy_((words - objective.centre) / objective.spread)
        for layer in (pair.code, pair.readout):
            layer.weight.copy_(torch.eye(2))
            layer.bias.zero_()
    return pair.eval()


def test_codes_of_modes_are_told_and_drawn() -> None:
    """Every mode is a code: perplexity 8 but for how many points each has, squared error that of a mode, and
    samples are the centres as often as data are near them."""
    objective = made(bottleneck=VQ(size=2, codes=8), noise=1.0)
    pair = nearest(objective)
    found = scored(objective, pair)
    shares = np.bincount(objective.source.held_out[1], minlength=8) / 2048
    assert found["code_perplexity"] == pytest.approx(math.exp(-(shares * np.log(shares)).sum()), rel=1e-5)
    assert found["used_codes"] == 8
    assert found["reconstruction_error"] == pytest.approx(0.09, rel=4 * (2 / 4096) ** 0.5)
    samples, data = objective.generate(pair, 2048), objective.source.fresh(5, 2048)[0]
    near = energy(samples, data)
    assert near.value < 0.05  # a mode's width: noise from data is 1.4
    assert found["energy_distance"] < 0.1


def test_whole_numbers_become_real_ones_in_their_step() -> None:
    """Shade k of 17 is uniform from k − ½ to k + ½, sixteenths of what data are, and bits are of a shade."""
    objective: Autoencode = build(Described(), prepare(Digits()))
    example = objective.example(Draw(3, 0, 0, 0, 64))
    shown = objective.scaled_back(example["data"]) * 16
    images, _ = objective.source.rows(3, 0, 0, 0, 64)
    off = shown - images * 16
    assert -0.5001 < off.min() < -0.49 and 0.49 < off.max() < 0.5001
    assert abs(off.mean()) < 4 * (1 / 12 / off.size) ** 0.5
    # A density that is uniform over [−½, 16½] steps costs log2 17 bits a pixel
    density = -math.log(1 / (17 * objective.step))
    assert objective.bits(64 * density) == pytest.approx(math.log2(17))


MORE = [*ALL, LFQ(size=40)]  # whose codes fit no table


@pytest.mark.parametrize("bottleneck", MORE, ids=lambda part: f"{part.kind}-{getattr(part, 'size', '')}")
def test_what_is_measured_is_what_the_specification_says(bottleneck) -> None:
    described = Described(samples=64, draws=4, bottleneck=bottleneck)
    objective: Autoencode = build(described, prepare(Moons(held_out=128)))
    torch.manual_seed(0)
    model = model_of(VectorPair(width=16, places=2), *objective.inputs).eval()
    found = scored(objective, model)
    errors = {m.error for m in described.metrics if m in DISTANCES.values()}
    assert {m.name for m in described.metrics} | errors == set(found)
    assert all(math.isfinite(value) for value in found.values())
    example = tensors(objective.example(Draw(0, 0, 0, 0, 32)))
    losses = objective.loss(model.train(), example)
    passed = model(example["data"], example["keys"])
    expected = passed.nats.sum() + 32 * passed.bottled.penalty
    torch.testing.assert_close(losses.minimised, expected)
    assert objective.sample(model.eval()).text


def test_a_slice_is_that_part_of_the_whole() -> None:
    objective: Autoencode = build(Described(), prepare(Digits()))
    whole, part = objective.example(Draw(3, 7, 0, 0, 64)), objective.example(Draw(3, 7, 0, 17, 40))
    for name, array in whole.items():
        assert np.array_equal(array[17:40], part[name]), name
    assert len(set(whole["keys"].tolist())) == 64
    assert not np.array_equal(whole["keys"], objective.example(Draw(3, 8, 0, 0, 64))["keys"])


def test_rows_beyond_the_places_count_for_nothing() -> None:
    objective = made(bottleneck=Gaussian(size=2))
    model = model_of(VectorPair(width=16), *objective.inputs).eval()
    held_out = objective.held_out(100)
    whole = objective.score(model, tensors(held_out.example(range(100), None)))
    padded = objective.score(model, tensors(held_out.example(range(100), 128)))
    for name, value in whole.items():
        torch.testing.assert_close(padded[name], value)


@pytest.mark.parametrize(
    ("anneal", "factors"),
    [(None, [1, 1, 1]), (Rise(steps=10), [0, 0.5, 1]), (Cycles(period=10, rise=1.0), [0, 0.5, 0])],
)
def test_annealing_multiplies_what_the_bottleneck_costs(anneal, factors: list[float]) -> None:
    objective = made(bottleneck=Gaussian(size=2, beta=3.0), anneal=anneal)
    model = model_of(VectorPair(width=16), *objective.inputs)
    for step, factor in zip((0, 5, 10), factors, strict=True):
        example = tensors(objective.example(Draw(0, step, 0, 0, 8)))
        passed, losses = model(example["data"], example["keys"]), objective.loss(model, example)
        kl = passed.bottled.kl.sum()
        torch.testing.assert_close(losses.total, passed.nats.sum() + kl)
        torch.testing.assert_close(losses.minimised, passed.nats.sum() + 3 * factor * kl)


@pytest.mark.parametrize("bottleneck", [Gaussian(free_nats=0.1), LFQ()])
def test_what_is_not_additive_is_refused_under_accumulation(bottleneck) -> None:
    objective = made(bottleneck=bottleneck)
    with pytest.raises(ValueError, match="a term of the loss spans the whole batch"):
        check_passes(objective, 64, 16)
    check_passes(made(bottleneck=Gaussian()), 64, 16)


def test_the_page_has_the_metrics_and_commands_that_there_are() -> None:
    page = (ROOT / "docs" / "bottlenecks.md").read_text(encoding="utf-8")
    commands = re.findall(r"^danlu train (.*?) *(?:#.*)?$", page, flags=re.MULTILINE)
    assert len(commands) >= 5
    for command in commands:
        assert resolve(command.partition(" --run")[0].split())
    for kind, bottleneck in (("gaussian", Gaussian()), ("plain", Plain()), ("others", VQ())):
        (row,) = re.findall(rf"^\| [a-z ]*`?{kind}`? \| (`\w+_\w+`.*?) \|$", page, flags=re.MULTILINE)
        names = [metric.name for metric in Described(bottleneck=bottleneck).metrics]
        assert re.findall(r"`(\w+)`", row) == [name for name in names if not name.endswith("_distance")]


def test_what_cannot_be_is_refused_in_a_sentence() -> None:
    for words, sentence in [
        (["data=moons"], "objective.judge = frechet measures features of digits"),
        (["model=unet"], "is for a model of kind vector-pair or image-pair"),
        (["data=moons", "objective.judge=energy", "model=image-pair"], "this network is for images"),
        (["objective.noise=0"], "objective.noise"),
        (["objective.bottleneck={kind: fsq, levels: [2]}"], "levels"),
    ]:
        with pytest.raises(DanluError, match=sentence):
            resolve(["vae-digits", *words])
