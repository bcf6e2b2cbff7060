"""The best rate: where the parabola has it, what its interval covers, and when it is not known."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import pytest
from scipy import stats

from danlu.lab.errors import LabError
from danlu.lab.statistics.optimum import Optimum, locate

GRID = (-2.0, -1.0, 0.0, 1.0, 2.0)
BEND = 0.03  # bits per octave²
Points = dict[float, list[float]]


def runs(at: float, noise: float, seeds: int, random: np.random.Generator, shared: float = 0.0):
    """The losses of ``seeds`` at a rate whose best is x = ``at``; ``shared``: of a seed, at all rates."""
    of_seed = random.normal(0, shared, seeds) if shared else np.zeros(seeds)
    return lambda x: list(2 + BEND * (x - at) ** 2 + of_seed + random.normal(0, noise, seeds))


def extended(points: Points, at: Callable[[float], list[float]], times: int = 3) -> Optimum:
    """As tuning does it: the points that are asked for, at most three times."""
    found = locate(points)
    for _ in range(times):
        if found.interior:
            break
        found = locate(points := points | {x: at(x) for x in found.further})
    return found


def test_a_parabola_is_found_exactly() -> None:
    found = locate({x: [2 + BEND * (x - 0.7) ** 2] * 2 for x in GRID})
    assert found.interior and (found.extend, found.further, found.why) == (None, (), "")
    np.testing.assert_allclose([found.x, found.low, found.high, found.value], [0.7, 0.7, 0.7, 2], atol=1e-6)


def test_fiellers_interval_ends_where_the_slope_is_just_told_from_zero() -> None:
    """By NumPy's own covariance of the coefficients: (b + 2cx)² = t² Var(b + 2cx)."""
    random = np.random.default_rng(1)
    x = np.array(GRID)
    loss = 2 + BEND * (x - 0.3) ** 2 + random.normal(0, 0.003, len(x))
    found = locate({a: [b] for a, b in zip(x, loss, strict=True)})
    (c, b, _), covariance = np.polyfit(x, loss, 2, cov=True)
    t = stats.t.ppf(0.975, len(x) - 3)
    assert found.interior and found.x == pytest.approx(-b / (2 * c))
    for end in (found.low, found.high):
        slope = np.array([2 * end, 1, 0])
        assert (b + 2 * c * end) ** 2 == pytest.approx(t**2 * slope @ covariance @ slope, rel=1e-6)


def test_the_interval_covers_the_best_rate_whatever_seeds_have_in_common() -> None:
    random = np.random.default_rng(2)
    found = [
        locate({x: at(x) for x in GRID}) for at in (runs(0.2, 0.01, 2, random, 0.5) for _ in range(1500))
    ]
    known = [one for one in found if one.interior]
    covered = sum(one.low <= 0.2 <= one.high for one in known)
    assert len(known) >= 0.99 * len(found)
    assert abs(covered - 0.95 * len(known)) <= 3.5 * math.sqrt(len(known) * 0.95 * 0.05)


def test_the_vertex_costs_less_than_the_best_point() -> None:
    """Mean excess of loss σ²/(40 c · seeds) by least squares on five points an octave apart; the best point
    pays for the grid and for the luck of the runs too."""
    random = np.random.default_rng(3)
    noise, seeds, vertex, argmin = 0.02, 2, [], []
    for at in random.uniform(-0.5, 0.5, 1000):
        run = runs(at, noise, seeds, random)
        points = {x: run(x) for x in GRID}
        found = locate(points)
        vertex.append(BEND * (found.x - at) ** 2)
        argmin.append(BEND * (min(points, key=lambda x: sum(points[x])) - at) ** 2)
    theory = noise**2 / (40 * BEND * seeds)
    assert np.mean(vertex) <= 1.5 * theory and np.mean(argmin) >= 10 * theory


@pytest.mark.parametrize("side", [1, -1])
def test_a_best_two_octaves_outside_the_grid_is_found(side: int) -> None:
    random = np.random.default_rng(4)
    for _ in range(50):
        at = runs(4.0 * side, 0.01, 2, random)
        first = locate({x: at(x) for x in GRID})
        assert not first.interior and first.extend == ("high" if side > 0 else "low")
        assert first.further == ((3.0, 4.0) if side > 0 else (-4.0, -3.0))
        found = extended({x: at(x) for x in GRID}, at)
        assert found.interior and abs(found.x - 4 * side) < 0.25  # its standard deviation is about 0.04


def test_a_flat_curve_has_no_best_rate() -> None:
    """By chance c > 0 is shown in one look of forty, so in four looks of at most a tenth of such curves."""
    random = np.random.default_rng(5)
    studies = 300

    def at(x: float) -> list[float]:
        return list(random.normal(2, 0.01, 2))

    found = sum(extended({x: at(x) for x in GRID}, at).interior for _ in range(studies))
    assert found <= 0.1 * studies + 3.5 * math.sqrt(studies * 0.1 * 0.9)
    assert not locate({x: [2.0, 2.0] for x in GRID}).interior


def flat(width: float, bend: float, random: np.random.Generator, at: float = 0.0):
    """The loss of a bottom that is so wide to both sides, ``bend`` per octave² in units of a run's noise, and
    what two runs of a rate give. The walls rise by e⁴ an octave."""

    def loss(x: float) -> float:
        beyond = max(0.0, abs(x - at) - width)
        return bend * (x - at) ** 2 + 20 * math.expm1(4 * beyond)

    return loss, lambda x: list(loss(x) + random.normal(0, 1, 2))


@pytest.mark.parametrize("near", [0.3, None])
@pytest.mark.parametrize("bend", [0.0, 0.1])
def test_a_flat_bottom_between_walls_is_decided_by_the_loss(near: float | None, bend: float) -> None:
    """Seven points on a bottom in the noise, between walls: nearly always one of them is taken, which costs
    less than half of the noise of a run on average, of which five pairs see 1.8 at best."""
    random = np.random.default_rng(6)
    excess = []
    for _ in range(100):
        loss, at = flat(3.2, bend, random)
        found = locate({float(x): at(x) for x in range(-5, 6)}, near)
        if found.interior:
            excess.append(loss(found.x))
            assert found.low <= found.x <= found.high and not found.why
    assert len(excess) >= 85 and np.mean(excess) < 0.5


def test_where_points_are_missing_about_a_flat_bottom() -> None:
    """Beyond the side without a wall; between the points where there are walls on both, and too few between
    them to say."""
    noisy = {
        -2.0: [9.0, 9.01],
        -1.0: [2.0, 2.001],
        0.0: [1.999, 2.001],
        1.0: [2.001, 2.0],
        2.0: [2.0, 1.9995],
    }
    found = locate(noisy, None)
    assert not found.interior and (found.extend, found.further) == ("high", (3.0, 4.0))
    mirrored = locate({-x: losses for x, losses in noisy.items()}, None)
    assert (mirrored.extend, mirrored.further) == ("low", (-4.0, -3.0))
    for near in (0.3, None):
        steep = {
            -2.0: [2.31, 2.3],
            -1.0: [2.3, 2.3],
            0.0: [0.5, 0.51],
            1.0: [0.002, 0.003],
            2.0: [4e59, 1e58],
        }
        found = locate(steep, near)
        assert not found.interior and (found.extend, found.further, found.x) == (None, (), 1.0)


def test_a_rate_that_diverges_is_worse_than_any_other() -> None:
    """Only one seed diverges at the highest rate, and the other looks best there."""
    curve = {x: [2 + BEND * (x - 0.3) ** 2 + e for e in (1e-4, -1e-4)] for x in GRID}
    found = locate(curve | {2.0: [math.nan, 1.0]})
    assert found.interior and found.fitted == 4 and found.x == pytest.approx(0.3, abs=0.01)


def test_a_loss_that_falls_until_it_diverges_has_its_best_before() -> None:
    falling = {x: [2 - 0.1 * x, 2.01 - 0.1 * x] for x in (-2.0, -1.0, 0.0, 1.0)}
    found = locate(falling | {2.0: [math.nan, math.nan]})
    assert (found.x, found.low, found.high, found.interior) == (1.0, 0.0, 2.0, True)
    assert found.why == "the loss falls until it diverges"
    assert locate(falling).extend == "high" and not locate(falling).interior


def test_few_points_are_not_made_more_of_than_they_are() -> None:
    three = {-1.0: [2.03], 0.0: [2.0], 1.0: [2.04]}  # no degree of freedom is left: any parabola fits
    found = locate(three)
    assert not found.interior and "too flat for its noise" in found.why and found.x == 0.0
    one = locate({0.0: [2.0, 2.1]})
    assert not one.interior and one.further == (-2.0, -1.0)
    none = locate({0.0: [math.nan], 1.0: [math.nan]})
    assert (none.extend, none.further) == ("low", (-2.0, -1.0)) and math.isnan(none.x)
    with pytest.raises(LabError, match="losses at some values, and there are none"):
        locate({})


def test_far_points_do_not_bend_the_parabola() -> None:
    """Walls that rise faster than a parabola, .3 bits above the bottom, move nothing."""
    bottom = {x: [2 + BEND * (x - 0.4) ** 2 + e for e in (1e-4, -1e-4)] for x in GRID}
    walls = {-4.0: [9.0, 9.0], -3.0: [5.0, 5.0], 3.0: [4.0, 4.0]}
    assert locate(bottom | walls).x == pytest.approx(locate(bottom).x)
