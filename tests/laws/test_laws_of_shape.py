"""Coupled sizes and data, width and depth, batch and steps, experts, mixtures; the lower hull."""

from __future__ import annotations

import csv

import numpy as np
import pytest
from scipy.spatial import ConvexHull

from danlu.laws import HUBER, SQUARES, LawError, Points, fit, law
from danlu.laws.best import best_size
from danlu.laws.formulas.additive import best_batch
from danlu.laws.formulas.chinchilla import optimum
from danlu.laws.formulas.experts import effective_experts
from danlu.laws.formulas.farseer import REFERENCE, from_paper
from danlu.laws.hull import lower_hull
from tests.laws.cases import CASES

CHINCHILLA = law("chinchilla")


def test_coupled_with_k_of_one_is_chinchilla():
    theta, data = CHINCHILLA.theta("hoffmann"), CASES["chinchilla"].columns
    np.testing.assert_allclose(
        law("coupled").predict(np.append(theta, 1.0), data), CHINCHILLA.predict(theta, data), rtol=1e-12
    )


def test_the_best_division_does_not_depend_on_k():
    coupled, theta = law("coupled"), np.array([1.2, 900.0, 2500.0, 0.42, 0.4, 0.6])
    n = best_size(coupled, theta[None], np.array([1e21]))
    np.testing.assert_allclose(n, optimum(theta[:5], 1e21)[0], rtol=1e-6)


@pytest.mark.parametrize("loss", [HUBER, SQUARES], ids=str)
def test_chinchillas_own_points_are_coupled_weakly(epoch, loss):
    """Videau et al. find k from .31 to .45 on two grids, and from .77 to .90 on these points and on code."""
    found = fit(law("coupled"), epoch, loss=loss)
    assert found.converged and 0.7 < found.theta["k"] < 0.9
    assert found.objective < fit(CHINCHILLA, epoch, loss=loss).objective  # one parameter more


def test_three_terms_find_step_laws_batch(scaling):
    """From runs at all batches, each at its best rate: the batch of Step Law for 10¹⁰ and 10¹¹ tokens, and
    that of the paper, .667·D^.566, within a quarter."""
    best: dict[tuple[float, ...], float] = {}
    with scaling("steplaw/dense_lr_bs_loss.csv").open(encoding="utf-8") as file:
        for row in csv.DictReader(file):
            cell = float(row["N"]), float(row["bs"]) * 2048, float(row["ti"])
            best[cell] = min(best.get(cell, np.inf), float(row["smooth loss"]))
    n, b, s = np.array(list(best)).T
    found = fit(law("three-terms"), Points(n=n, b=b, s=s, loss=list(best.values())))
    assert found.converged and np.abs(found.residuals).mean() < 0.005
    tokens = np.array([1e10, 1e11])
    batch, step_law = best_batch(found.vector, tokens), law("batch-d")
    np.testing.assert_allclose(batch, step_law.predict(step_law.theta("step-law"), {"d": tokens}), rtol=0.25)
    np.testing.assert_allclose(batch, 0.667 * tokens**0.566, rtol=0.25)


def test_farseer_is_the_papers_formula():
    s, q, S, B, b, Q, A, a, E = -0.06, 0.13, 0.13, 230.0, -0.17, -1.5, -1.7, 0.046, 3.1
    data = CASES["farseer"].columns
    n, d = data["n"], data["d"]
    written = np.exp(s * n**q + S) + np.exp(B * n**b + Q) * d ** -np.exp(A * n**a + E)
    np.testing.assert_allclose(law("farseer").predict(from_paper(s, q, S, B, b, Q, A, a, E), data), written)


def test_farseer_without_bends_is_a_power_of_the_size():
    """q = 0 is a limit: e^S·(N/10⁹)^s, and nothing jumps beside it."""
    farseer, data = law("farseer"), CASES["farseer"].columns
    level = np.array([-0.8, -0.12, 0.0, 4.9, -1.1, 0.0, -1.18, -0.2, 0.0])
    x = data["n"] / REFERENCE
    rate = np.exp(-1.18) * x**-0.2
    exact = np.exp(-0.8) * x**-0.12 + np.exp(4.9) * x**-1.1 * data["d"] ** -rate
    np.testing.assert_allclose(farseer.predict(level, data), exact, rtol=1e-12)
    for q in (1e-9, 1e-5, 4e-4, 6e-4):
        np.testing.assert_allclose(
            farseer.predict(level + q * (np.arange(9) % 3 == 2), data), exact, rtol=30 * q + 1e-12
        )


def test_farseers_own_constants_are_of_its_losses():
    """Its 404 runs, of 10⁸ to 6·10⁹ parameters and 10⁹ to 5·10¹¹ tokens, lie between .43 and .68 bits."""
    farseer = law("farseer")
    ends = farseer.predict(
        farseer.theta("farseer"), {"n": np.array([6.4e9, 1e8]), "d": np.array([5.12e11, 2e9])}
    )
    assert 0.41 < ends[0] < 0.46 and 0.62 < ends[1] < 0.74


def test_the_best_batch_of_three_terms():
    theta, tokens = np.array(CASES["three-terms"].theta), 1e10
    best = float(best_batch(theta, tokens))
    batch = best * np.exp(np.linspace(-0.1, 0.1, 201))
    loss = law("three-terms").predict(theta, {"n": np.full(201, 1e9), "b": batch, "s": tokens / batch})
    assert int(np.argmin(loss)) == 100
    grown = best_batch(theta, np.array([1e9, 1e10]))
    assert np.log10(grown[1] / grown[0]) == pytest.approx(0.5 / (0.35 + 0.5))  # γ/(β + γ)


def test_experts_are_worth_between_their_ends():
    worth = effective_experts(np.array([1.0, 2.0, 1e12]), np.array(1.88), np.array(470.0))
    assert worth[0] == pytest.approx(1.88) and worth[2] == pytest.approx(470.0)
    assert 1.88 < worth[1] < 2.88


def test_routed_models_of_clark():
    """More experts help, at every routing; the more, the smaller the model."""
    routed = law("moe-experts")
    for name in ("s-base", "rl-r", "hash"):
        loss = routed.predict(
            routed.theta(name),
            {"n": np.array([2.5e7, 2.5e7, 1.3e9, 1.3e9]), "e": np.array([1, 128, 1, 128.0])},
        )
        assert (loss > 1.5).all() and (loss < 4.5).all()
        assert loss[0] / loss[1] > loss[2] / loss[3] > 1


def test_finer_experts_of_krajewski():
    fine = law("moe-granularity")
    n, d, g = 7e9 * 64, 137.6e9, np.array([1.0, 8.0, 32.0])
    loss = fine.predict(fine.theta("krajewski"), {"n": np.full(3, n), "d": np.full(3, d), "g": g})
    assert (np.diff(loss) < 0).all() and loss[2] == pytest.approx(
        2.076, rel=0.04
    )  # the paper's, for this row


def test_a_mixture_without_its_floor_is_a_line():
    """ln loss is linear in the shares where the floor is none: least squares gives the rates."""
    mixing = law("mixture-3")
    columns, generator = CASES["mixture-3"].columns, np.random.default_rng(0)
    loss = np.exp(1.0 - columns["w1"] - 0.4 * columns["w2"] + 0.02 * generator.standard_normal(30))
    found = fit(mixing, Points({**columns, "loss": loss}), loss=SQUARES, fixed={"c": 0.0})
    design = np.stack(list(columns.values()), axis=1)
    expected = np.linalg.lstsq(design, np.log(loss), rcond=None)[0]
    np.testing.assert_allclose(found.vector[1:], expected, rtol=1e-7)


def test_a_share_may_be_none_but_not_less():
    columns = CASES["mixture-2"].columns
    assert 0.0 in columns["w1"]
    points = CASES["mixture-2"].points(law("mixture-2"))
    with pytest.raises(LawError, match="mixture-2 needs w1 ≥ 0, but point 1 has"):
        fit(law("mixture-2"), points.with_columns(w1=columns["w1"] - 0.5))


@pytest.mark.parametrize("seed", range(5))
def test_the_lower_hull_is_that_of_qhull(seed):
    generator = np.random.default_rng(seed)
    c = np.exp(generator.uniform(40, 50, 60))
    loss = 1.7 + 1e3 * c**-0.15 * np.exp(np.abs(generator.normal(0, 0.3, 60)))
    points = Points(c=c, loss=loss)
    xy = np.log(np.stack([c, loss], axis=1))
    hull = ConvexHull(xy)
    below = {int(i) for simplex, equation in zip(hull.simplices, hull.equations, strict=True)
             if equation[1] < 0 for i in simplex}  # fmt: skip
    found = lower_hull(points)
    lowest = int(np.argmin(loss))
    assert set(found.tolist()) == {i for i in below if c[i] <= c[lowest]}
    assert (np.diff(points["c"][found]) > 0).all() and (np.diff(points["loss"][found]) < 0).all()


def test_a_hull_needs_compute():
    with pytest.raises(LawError, match="the hull needs c > 0"):
        lower_hull(Points(n=[1.0, 2.0], loss=[1.0, 2.0]))


def test_farseer_of_one_amount_of_data_for_each_size():
    n = np.geomspace(1e6, 1e9, 10)
    with pytest.raises(LawError, match="farseer needs two sizes or more that were trained on several"):
        fit(law("farseer"), Points(n=n, d=20 * n, loss=1.7 + 100 / n**0.3))
