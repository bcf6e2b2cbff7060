"""Compute-equivalent gains: exact laws, what does not move them, what they say of their own error."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from danlu.lab.errors import LabError
from danlu.lab.statistics.elasticity import curve, sensitivity
from danlu.lab.statistics.gain import AtCost, correlation, gains

COMPUTE = [1e15 * 4**r for r in range(5)]
FLOOR, SCALE, ALPHA = 1.6, 8.0, 0.12


def law(compute: float, floor: float = FLOOR, alpha: float = ALPHA) -> float:
    return floor + SCALE * compute**-alpha


def exact(
    gain: float, compute: list[float] = COMPUTE, floor: float = FLOOR, alpha: float = ALPHA
) -> list[AtCost]:
    """Two seeds of the law without noise, and of a variant that is worth ``gain`` times the compute."""
    return [AtCost(c, (law(c, floor, alpha),) * 2, (law(gain * c, floor, alpha),) * 2) for c in compute]


def drawn(
    gain: float, noise: float, seeds: tuple[int, ...], random: np.random.Generator, shared: float = 0.0
) -> list[AtCost]:
    """``noise``: of a run, in units of ln compute; ``shared``: its share that both sides of a seed have."""
    found = []
    for c, n in zip(COMPUTE, seeds, strict=True):
        scale = noise * ALPHA * (law(c) - FLOOR)
        common = math.sqrt(shared) * random.normal(size=n)
        sides = [
            law(c * g) + scale * (common + math.sqrt(1 - shared) * random.normal(size=n)) for g in (1, gain)
        ]
        found.append(AtCost(c, tuple(sides[0]), tuple(sides[1])))
    return found


@given(st.floats(0.05, 0.4), st.floats(0.4, 2.5), st.floats(0, 3), st.floats(2, 16))
def test_exact_laws_give_their_gain(alpha: float, gain: float, floor: float, step: float) -> None:
    compute = [1e3 * step**r for r in range(5)]
    found = gains(exact(gain, compute, floor, alpha))
    inside = [one for one in found if not one.bound]
    assert inside
    np.testing.assert_allclose([math.exp(one.value) for one in inside], gain, rtol=1e-6)
    for one in found:
        if one.bound == ">=":
            assert 0 < one.value <= math.log(gain) + 1e-9


@given(st.floats(0.05, 0.4), st.floats(0.7, 1.5), st.lists(st.floats(1.5, 8), min_size=3, max_size=5))
def test_uneven_steps_give_it_within_three_percent(alpha: float, gain: float, steps: list[float]) -> None:
    compute = list(np.cumprod([1e3, *steps]))
    for one in gains(exact(gain, compute, 1.0, alpha)):
        if not one.bound:
            assert math.exp(one.value) == pytest.approx(gain, rel=0.03)


def test_a_floor_that_is_off_moves_nothing() -> None:
    random = np.random.default_rng(1)
    rungs = drawn(1.2, 0.02, (5, 5, 4, 3, 3), random)
    moved = [
        AtCost(r.cost, *(tuple(x + 0.1 for x in side) for side in (r.baseline, r.variant))) for r in rungs
    ]
    for a, b in zip(gains(rungs), gains(moved), strict=True):
        np.testing.assert_allclose([a.value, a.variance, a.df], [b.value, b.variance, b.df], rtol=1e-9)


def test_marins_example() -> None:
    """Gate 2 of marin's `grug`, issue 8350: −.0036 at a loss of 3.0208, floor 1.6, α = .0941, is printed as
    1.03 times the compute."""
    alpha, floor, loss = 0.0941, 1.6, 3.0208
    compute = [4.0**r for r in (-2, -1, 0, 1)]
    losses = [floor + (loss - floor) * c**-alpha for c in compute]
    found = gains([AtCost(c, (b,), (b - 0.0036,)) for c, b in zip(compute, losses, strict=True)])[2]
    assert math.exp(found.value) == pytest.approx(((loss - floor) / (loss - 0.0036 - floor)) ** (1 / alpha))
    assert round(math.exp(found.value), 2) == 1.03


def test_a_variant_that_costs_more_pays_for_it() -> None:
    dear = [AtCost(r.cost, r.baseline, r.variant, 1.25 * r.cost) for r in exact(1.25)]
    np.testing.assert_allclose([one.value for one in gains(dear)], 0, atol=1e-6)


def test_elasticity_and_how_it_answers_to_each_loss() -> None:
    x = np.log(COMPUTE)
    losses = np.array([law(c) for c in COMPUTE])
    found = curve(x, losses)
    np.testing.assert_allclose(found.e, ALPHA * (losses - FLOOR), rtol=1e-9)
    np.testing.assert_allclose(found.alpha, ALPHA, rtol=1e-9)
    step = 1e-6
    by_loss = [(np.log(curve(x, losses + step * one).e) - np.log(found.e)) / step for one in np.eye(len(x))]
    # What is left out is that α moves too, by which a slope over a step exceeds the one at its middle.
    np.testing.assert_allclose(sensitivity(x, losses), np.transpose(by_loss), rtol=0.05, atol=2.5)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("gain", "shared"), [(1.05, 0.0), (1.05, 0.6), (1.25, 0.0), (0.8, 0.6), (1.6, 0.0), (0.6, 0.6)]
)
def test_the_variance_is_that_of_repeated_studies(gain: float, shared: float) -> None:
    """Both by the delta method and, beyond |ln gain| = .3, by draws. 600 studies know a variance to 6 %; the
    delta method's tangent leaves out some percent where the gain is large."""
    random = np.random.default_rng(2)
    studies = [gains(drawn(gain, 0.02, (5, 5, 4, 3, 3), random, shared)) for _ in range(600)]
    told = np.mean([[one.variance for one in study] for study in studies], axis=0)
    seen = np.var([[one.value for one in study] for study in studies], axis=0)
    np.testing.assert_allclose(told, seen, rtol=0.2)


@pytest.mark.parametrize("shared", [0.0, 0.7])
def test_a_rungs_own_interval_covers(shared: float) -> None:
    random = np.random.default_rng(3)
    covered, count = 0, 0
    for _ in range(300):
        for one in gains(drawn(1.05, 0.02, (5, 5, 4, 3, 3), random, shared)):
            low, high = one.interval()[1:]
            covered, count = covered + (low <= math.log(1.05) <= high), count + 1
    # Rungs of a study share their smoothed variance, so these are not 1,500 independent cases.
    assert abs(covered / count - 0.95) <= 0.025


def test_pairs_are_used_where_seeds_have_something_in_common() -> None:
    random = np.random.default_rng(4)
    alike, unlike = (drawn(1.05, 0.02, (8,) * 5, random, shared) for shared in (0.8, 0.0))
    assert correlation(alike) > 0.5 and all(one.paired for one in gains(alike))
    upside_down = [
        AtCost(r.cost, r.baseline, tuple(2 * np.mean(r.baseline) - x for x in r.variant)) for r in alike
    ]
    assert correlation(upside_down) == pytest.approx(-correlation(alike))
    assert not any(one.paired for one in gains(upside_down))
    odd = [AtCost(r.cost, r.baseline, r.variant[:-1]) for r in unlike]
    assert correlation(odd) == 0 and not any(one.paired for one in gains(odd))


def test_what_cannot_be_said() -> None:
    rungs = exact(1.1)
    lost = [*rungs[:-1], AtCost(COMPUTE[-1], rungs[-1].baseline, (math.nan, math.nan))]
    assert [math.isnan(one.value) for one in gains(lost)] == [False] * 4 + [True]
    assert gains(lost)[-1].lost == (0, 2) and gains(lost)[-1].variance == math.inf
    rising = [AtCost(c, (2.0 + i, 2.1 + i), (2.0, 2.1)) for i, c in enumerate(COMPUTE)]
    assert all(math.isnan(one.value) for one in gains(rising))
    single = [AtCost(r.cost, r.baseline[:1], r.variant[:1]) for r in rungs]
    assert all(
        one.variance == math.inf and one.value == pytest.approx(math.log(1.1)) for one in gains(single)
    )
    with pytest.raises(LabError, match="1 rung says nothing of what compute buys"):
        gains(rungs[:1])
    with pytest.raises(LabError, match="must be positive and differ"):
        gains([rungs[0], rungs[0]])


@pytest.mark.parametrize("place", range(6))
def test_one_interval_that_rises_is_unknown_where_it_counts(place: int) -> None:
    """Six rungs of an exact law. Beyond one of them the loss of both sides is lifted, so that the baseline
    rises there. The gain is that of the law at each rung of which this interval is none of the two nearest,
    and the others say which interval it is."""
    compute = [1e15 * 4**r for r in range(6)]
    lift = [0.0 if r <= place else 1.0 for r in range(6)]
    rungs = [
        AtCost(one.cost, *(tuple(loss + more for loss in side) for side in (one.baseline, one.variant)))
        for one, more in zip(exact(1.1, compute), lift, strict=True)
    ]
    found = gains(rungs)
    nearest = [{min(max(r - 1, 0), 3), min(max(r - 1, 0), 3) + 1} for r in range(6)]
    for one, intervals in zip(found, nearest, strict=True):
        if place in intervals:
            assert math.isnan(one.value) and one.variance == math.inf
            assert one.why == f"the baseline does not fall from rung {place + 1} to rung {place + 2}"
        else:
            assert math.exp(one.value) == pytest.approx(1.1, rel=1e-6) and one.variance == 0 and not one.why


def test_why_a_gain_is_not_known() -> None:
    rungs = exact(1.1)
    nothing = (math.nan, math.nan)
    lost = gains([*rungs[:-1], AtCost(COMPUTE[-1], rungs[-1].baseline, nothing)])
    assert [one.why for one in lost] == [""] * 4 + ["no run of the variant ended at rung 5"]
    lost = gains([AtCost(COMPUTE[0], nothing, rungs[0].variant), *rungs[1:]])
    assert [one.why for one in lost] == ["no run of the baseline ended at rung 1"] * 2 + [""] * 3
    single = gains([AtCost(r.cost, r.baseline[:1], r.variant[:1]) for r in rungs])
    assert {one.why for one in single} == {"with one run of a side nobody knows how much runs scatter"}
    random = np.random.default_rng(5)
    noisy = gains(drawn(1.5, 1.5, (5, 5, 4, 3, 3), random))
    assert any(one.why == "the baseline falls too little there for how much runs scatter" for one in noisy)
    assert all(bool(one.why) == (not math.isfinite(one.variance)) for one in noisy)


def test_beyond_the_baselines_rungs_there_are_bounds() -> None:
    found = gains(exact(40.0))
    assert [one.bound for one in found] == ["", "", ">=", ">=", ">="]
    assert all(one.value < math.log(40) for one in found if one.bound)
    assert gains(exact(0.01))[0].bound == "~" and gains(exact(0.01))[4].bound == ""
