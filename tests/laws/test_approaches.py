"""The three approaches: synthetic runs of a known division, published IsoFLOP data, what is refused."""

from __future__ import annotations

import csv

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from danlu.laws import LawError, Points, fit
from danlu.laws.approaches import envelope, isoflop, parametric
from danlu.laws.formulas.chinchilla import CHINCHILLA, allocation, optimum

THETA = np.array([1.8, 480.0, 2000.0, 0.35, 0.366])


def read(path, columns, **where):
    with path.open(encoding="utf-8") as file:
        rows = [row for row in csv.DictReader(file) if all(row[key] == value for key, value in where.items())]
    return Points({name: [float(row[title]) for row in rows] for name, title in columns.items()})


def curves(sizes=40, steps=60):
    """Training curves of the law itself: at each number of tokens the loss of a run that ends there."""
    n, d = np.geomspace(1e7, 1e11, sizes), np.geomspace(1e8, 1e13, steps)
    run, n, d = np.repeat(np.arange(sizes), steps), np.repeat(n, steps), np.tile(d, sizes)
    return Points(run=run, n=n, d=d, loss=CHINCHILLA.predict(THETA, {"n": n, "d": d}))


def profiles(theta=THETA, noise=0.0, reach=6.0, sizes=9, budgets=6, shift=1.0):
    """Sizes around the best of each budget times ``shift``, up to ``reach`` times smaller and larger."""
    c = np.repeat(np.geomspace(1e18, 1e21, budgets), sizes)
    n = optimum(theta, c)[0] * np.tile(np.geomspace(1 / reach, reach, sizes), budgets) * shift
    loss = CHINCHILLA.predict(theta, {"n": n, "d": c / (6 * n)})
    return Points(n=n, c=c, loss=loss + noise * np.random.default_rng(0).standard_normal(len(n)))


def test_the_envelope_of_exact_curves():
    found = envelope(curves(), resamples=200)
    exponents = allocation(THETA)
    # The sizes are 26 % apart, so that a single optimum is off by 13 % at most, over four powers of ten.
    assert found.a.value == pytest.approx(float(exponents.a), abs=0.01)
    assert found.a.value + found.b.value == pytest.approx(1, abs=1e-9)
    assert found.a.low < exponents.a < found.a.high
    n, d = found.optimum(1e21)
    best = optimum(THETA, 1e21)
    assert n.value == pytest.approx(best[0], rel=0.13) and d.value == pytest.approx(best[1], rel=0.13)
    assert 6 * n.value * d.value == pytest.approx(1e21)


def test_the_envelope_is_the_lowest_loss_between_rivals():
    points = curves(6, 30)
    found = envelope(points, budgets=50, resamples=20).optima
    sizes = np.unique(points["n"])
    # The smallest and the largest size have no rival on one side.
    assert sizes[0] < found["n"].min() and found["n"].max() < sizes[-1]
    for c, n, loss in zip(found["c"], found["n"], found["loss"], strict=True):
        at = {"n": sizes, "d": c / (6 * sizes)}
        there = (at["d"] >= 1e8) & (at["d"] <= 1e13)
        every = np.where(there, CHINCHILLA.predict(THETA, at), np.inf)
        # Between points the curves are interpolated, which lies above them by little.
        assert every.min() <= loss * (1 + 1e-9) and loss <= every.min() * 1.005
        assert CHINCHILLA.predict(THETA, {"n": np.array([n]), "d": np.array([c / 6 / n])})[0] <= loss + 1e-9


def test_smoothing_takes_out_noise():
    rough = curves(20, 400)
    noise = 1 + 0.01 * np.random.default_rng(0).standard_normal(rough.size)
    rough = rough.with_columns(loss=rough["loss"] * noise)
    target = float(allocation(THETA).a)
    assert envelope(rough, smooth=10, resamples=20).a.value == pytest.approx(target, abs=0.03)


def test_envelopes_say_what_they_cannot():
    with pytest.raises(LawError, match="the envelope needs a column run; there are n, d, loss"):
        envelope(Points({name: curves()[name] for name in ("n", "d", "loss")}))
    with pytest.raises(LawError, match="two sizes that are the best, between smaller and larger ones"):
        envelope(curves(3))
    with pytest.raises(LawError, match="run 0 has more than one size n"):
        envelope(curves().with_columns(run=np.zeros(2400)))


@settings(max_examples=20, deadline=None)
@given(alpha=st.floats(0.25, 0.5), beta=st.floats(0.25, 0.5))
def test_narrow_profiles_find_the_division(alpha, beta):
    # Within 10 % of the optimum a profile is a parabola; farther off the law's asymmetry shows.
    theta = np.array([1.8, 480.0, 2000.0, alpha, beta])
    for method, tolerance in (("parabola", 1e-4), ("akima", 2e-2)):
        found = isoflop(profiles(theta, reach=1.1), method=method, noise=0.0, resamples=20)
        assert found.a.value == pytest.approx(float(allocation(theta).a), abs=tolerance)
        best = optimum(theta, found.optima["c"])
        np.testing.assert_allclose(found.optima["n"], best[0], rtol=5e-3)
        np.testing.assert_allclose(found.optima["d"], best[1], rtol=5e-3)
        np.testing.assert_allclose(found.optima["loss"], CHINCHILLA.predict(theta, found.optima), rtol=1e-6)
        assert not found.refused and not found.warnings


@pytest.mark.parametrize("method", ["parabola", "akima"])
def test_profiles_cover_the_truth(method):
    found = isoflop(profiles(noise=0.003), method=method)
    assert found.a.low < allocation(THETA).a < found.a.high
    assert found.b.low < allocation(THETA).b < found.b.high
    n, _ = found.optimum(1e22)
    assert n.low < optimum(THETA, 1e22)[0] < n.high


@pytest.mark.parametrize("method", ["parabola", "akima"])
def test_each_budgets_interval_covers_what_is_found_without_noise(method):
    """Of 200 intervals of nominal 95 %, more than 88 % and less than all: a binomial has fewer or more once
    in 10⁴. Akima's curve takes the median of copies, whose noise is drawn twice, and so covers more."""
    clean = profiles(reach=3.0, budgets=200)
    truth = isoflop(clean, method=method, noise=0.0, resamples=20, tolerance=0.01).optima
    noise = 0.002
    drawn = noise * np.random.default_rng(1).standard_normal(clean.size)
    points = clean.with_columns(loss=clean["loss"] + drawn)
    found = isoflop(points, method=method, noise=noise, resamples=200, tolerance=0.01).optima
    true = truth["n"][np.isin(truth["c"], found["c"])]
    held = (found["n_low"] <= true) & (true <= found["n_high"])
    assert 0.88 < held.mean() < 1


def test_more_noise_is_more_doubt():
    errors = [isoflop(profiles(reach=3.0), noise=noise).a.error for noise in (0.0, 0.001, 0.004)]
    assert errors[0] < errors[1] < errors[2]


# Porian et al. 2024, arXiv:2406.19146: from Kaplan's exponent to Chinchilla's, the slopes of the published
# optima. The README of the data states them.
PORIAN = {
    "base|long|kaplan|kaplan|train": 0.834,
    "base|long|kaplan|standard|val": 0.701,
    "base|short|kaplan|standard|val": 0.604,
    "base|short|chinchilla|standard|val": 0.571,
    "tuned|short|const|standard|val": 0.497,
}


@pytest.mark.parametrize(("config", "exponent"), PORIAN.items())
def test_porians_five_exponents(scaling, config, exponent):
    path, columns = (
        scaling("porian/isoflop_points_refinedweb.csv"),
        {"n": "params", "c": "flops", "loss": "loss"},
    )
    points = read(path, columns, config=config)
    # 0.002 is their noise of seeds at low loss; the published optima are medians of such copies.
    found = isoflop(points, method="akima", noise=0.002)
    assert found.a.value == pytest.approx(exponent, abs=0.005)
    assert found.a.low < exponent < found.a.high
    with scaling("porian/optimal_pairs_refinedweb.csv").open(encoding="utf-8") as file:
        rows = [row for row in csv.DictReader(file) if row["config"] == config and row["n"]]
    flops, n, std = np.array([[float(row[key]) for key in ("flops", "n", "n_star_std")] for row in rows]).T
    assert len(found.optima["c"]) == len(
        flops
    )  # the one budget without a published optimum is refused here too
    np.testing.assert_allclose(found.optima["c"], flops)
    assert np.abs(np.log(found.optima["n"] / n)).max() < 0.1
    weighted = isoflop(points, method="akima", noise=0.002, weighted=True)
    published = np.polyfit(np.log(flops), np.log(n), 1, w=1 / std)[0]
    assert weighted.a.value == pytest.approx(published, abs=0.005)


def test_llama_3s_exponent_of_tokens(scaling):
    # Grattafiori et al. 2024, arXiv:2407.21783, section 3.2.1: tokens grow as C^0.53 by parabolas.
    columns = {"n": "params", "c": "budget", "d": "tokens", "loss": "loss"}
    path = scaling("isoflops/isoflops.csv")
    found = isoflop(read(path, columns, source="llama_3", condition="raw_loss"))
    assert found.b.value == pytest.approx(0.53, abs=0.01)
    assert not found.refused


@pytest.mark.parametrize("source", ["epochai_chinchilla", "ml_scalefit"])
def test_chinchillas_own_profiles(scaling, source):
    # Hoffmann et al. 2022, table 2: approach 2 gives a = 0.49 (0.462, 0.534). The figure was read off twice.
    columns = {"n": "params", "c": "budget", "d": "tokens", "loss": "loss"}
    found = isoflop(read(scaling("isoflops/isoflops.csv"), columns, source=source))
    assert 0.462 < found.a.value < 0.534
    assert found.a.low < 0.49 < found.a.high and found.b.low < 0.51 < found.b.high
    # Table A3, approach 2: the budgets for which these sizes are the best; the lines are within 15 % of them.
    for n, flops in ((4e8, 1.84e19), (1e9, 1.2e20), (1e10, 1.32e22), (6.7e10, 6.88e23)):
        ends = found.optimum(flops)[0]
        assert ends.low < n < ends.high and ends.value == pytest.approx(n, rel=0.15)


def test_the_law_on_epochs_points(epoch):
    # Besiroglu et al. 2024: a = .513 with a standard error of .020.
    found = parametric(epoch, resamples=300)
    assert found.a.value == pytest.approx(0.513, abs=1e-3)
    assert found.a.error == pytest.approx(0.020, rel=0.15)
    assert found.a.value + found.b.value == pytest.approx(1)
    n, d = found.optimum(5.76e23)
    assert 6 * n.value * d.value == pytest.approx(5.76e23) and n.low < n.value < n.high
    best = optimum(fit(CHINCHILLA, epoch).vector, 5.76e23)
    assert n.value == pytest.approx(best[0]) and d.value == pytest.approx(best[1])


def test_an_optimum_outside_the_sampled_sizes_is_refused():
    off, centred = profiles(shift=50.0, budgets=2), profiles()
    high = off.with_columns(c=off["c"] * 1e4, n=off["n"] * 3)  # beyond the others: no overlap of budgets
    both = Points({name: np.concatenate([centred[name], high[name]]) for name in ("n", "c", "loss")})
    found = isoflop(both, noise=0.0, resamples=50)
    assert [line.split(":")[0] for line in found.refused] == ["1e+22 FLOP", "1e+25 FLOP"]
    assert "no optimum inside the sampled sizes" in found.refused[0]
    assert found.a.value == pytest.approx(isoflop(centred, noise=0.0, resamples=50).a.value)
    for method in ("parabola", "akima"):
        with pytest.raises(LawError, match=r"optima of two budgets, not 0: 1e.18 FLOP: no optimum inside"):
            isoflop(off, method=method)


def test_sizes_off_centre_are_warned_of():
    small, large = (
        isoflop(profiles(shift=shift, reach=3.0), noise=0.0, resamples=50) for shift in (2.2, 0.45)
    )
    assert len(small.warnings) == 6 and "off centre, near the smallest size sampled" in small.warnings[0]
    assert len(large.warnings) == 6 and "off centre, near the largest size sampled" in large.warnings[0]


def test_profiles_say_what_they_cannot():
    points = profiles()
    with pytest.raises(LawError, match="IsoFLOP profiles need a column c or d; there are n, loss"):
        isoflop(Points({name: points[name] for name in ("n", "loss")}))
    with pytest.raises(LawError, match="loss must be positive, but point 1 has -1"):
        isoflop(points.with_columns(loss=np.where(np.arange(54) == 0, -1.0, points["loss"])))
    with pytest.raises(LawError, match="3 sizes are too few for a profile"):
        isoflop(profiles(sizes=3))
    two = isoflop(profiles(budgets=2), noise=0.001)
    assert "only two budgets" in two.warnings[-1]
