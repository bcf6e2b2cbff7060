"""Values of arms and effects of seeds: plain numbers."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from danlu.lab.claims import values

NUMBERS = st.floats(-100, 100, width=32)
POINTS = [1e-3, 2e-3, 4e-3, 16e-3]


def one(of: values.Made, curve: dict[float, float]) -> float:
    """Made of the curve of one seed."""
    (found,) = values.of_points(of, [curve])
    return found


@given(st.lists(NUMBERS, min_size=4, max_size=4), st.sampled_from(["argbest", "ceiling"]))
def test_where_higher_is_better_it_is_the_mirror_image(numbers: list[float], of: values.Made) -> None:
    curve, mirrored = (
        {point: sign * v for point, v in zip(POINTS, numbers, strict=True)} for sign in (1, -1)
    )
    up = values.of_points(of, [curve], sign=-1, starts=[-200.0], level=0.5)
    down = values.of_points(of, [mirrored], sign=1, starts=[200.0], level=0.5)
    assert up == pytest.approx(down, nan_ok=True)


@given(st.lists(st.tuples(NUMBERS, NUMBERS), min_size=1))
def test_the_effect_of_a_seed_is_the_weighted_sum(rows: list[tuple[float, float]]) -> None:
    less, more = zip(*rows, strict=True)
    found = values.effects({"less": 1, "more": -1}, {"more": more, "less": less, "third": [0.0] * len(less)})
    assert found == [a - b for a, b in rows]


def test_log2_makes_ratios() -> None:
    arms = {"less": [8.0, 1.0, 0.0], "more": [2.0, 4.0, 1.0]}
    found = values.effects({"less": 1, "more": -1}, arms, "log2")
    assert found[:2] == [2.0, -2.0] and math.isnan(found[2])


def test_what_is_made_of_an_arm() -> None:
    measured = dict(zip(POINTS, [3.0, 1.0, 2.0, 5.0], strict=True))
    assert values.of_points(None, [{None: 2.5}, {None: 3.5}]) == [2.5, 3.5]
    assert one("drop", measured) == 3.0 - 5.0
    assert math.isnan(one("drop", measured | {POINTS[1]: math.nan}))


@given(st.floats(0.1, 5), st.floats(-2, 2), NUMBERS)
def test_lowest_is_the_vertex_of_a_parabola(bend: float, middle: float, height: float) -> None:
    x = [-4.0, -1.0, 0.5, 3.0]
    found = values.lowest(x, [bend * (a - middle) ** 2 + height for a in x])
    lowest = min(x, key=lambda a: abs(a - middle))
    assert found == (pytest.approx(middle, abs=1e-4) if lowest in x[1:-1] else lowest)


def test_lowest_at_an_end_or_beside_what_diverged_is_the_point() -> None:
    assert values.lowest([0.0, 1.0, 2.0], [3.0, 2.0, 1.0]) == 2.0
    assert values.lowest([0.0, 1.0, 2.0], [1.0, 1.0, 1.0]) == 0.0
    assert values.lowest([0.0, 1.0, 2.0], [3.0, 2.0, math.nan]) == 1.0
    assert math.isnan(values.lowest([0.0, 1.0], [math.nan, math.nan]))


@given(st.lists(NUMBERS, min_size=5, max_size=5))
def test_slope_agrees_with_numpy(y: list[float]) -> None:
    x = [0.0, 1.0, 2.0, 4.0, 7.0]
    assert values.slope(x, y) == pytest.approx(np.polyfit(x, y, 1)[0], abs=1e-6)


def test_the_slope_of_a_power_is_its_exponent() -> None:
    measured = {point: 5 * point**-0.75 for point in POINTS}
    assert one("slope", measured) == pytest.approx(-0.75)
    assert one("argbest", measured) == math.log2(POINTS[-1])


def test_sensitivity_is_the_mean_excess_over_log_rates() -> None:
    """ℓ = 1 + x on octaves x = 0 … 4: the mean of x over [0, 4] is 2."""
    curve = {2.0**x: 1.0 + x for x in range(5)}
    (found,) = values.of_points("sensitivity", [curve], starts=[9.0])
    assert found == pytest.approx(2.0)
    (uneven,) = values.of_points("sensitivity", [{2.0**x: 1.0 + x for x in (0, 1, 4)}], starts=[9.0])
    assert uneven == pytest.approx(2.0)


def test_what_diverged_counts_the_loss_at_the_start_and_no_more() -> None:
    """Flat at 1 but for the last octave, where it rises to ℓ₀ = 3 whether it diverged or stands at 100."""
    for last in (3.0, 100.0, math.nan):
        (found,) = values.of_points("sensitivity", [{1.0: 1.0, 2.0: 1.0, 4.0: last}], starts=[3.0])
        assert found == pytest.approx(0.5 * 2 / 2)


def test_the_best_of_a_sensitivity_is_not_each_seeds_luckiest_point() -> None:
    """Both points are the same but for noise of ±.1 that turns with the seed: on average nothing is lost. The
    lowest of each seed would say .05."""
    curves = [{1.0: 2.0 + noise, 2.0: 2.0 - noise} for noise in (0.1, -0.1)]
    found = values.of_points("sensitivity", curves, starts=[8.0, 8.0])
    assert sum(found) / 2 == pytest.approx(0.0)


def test_a_ceiling_is_counted_from_a_common_lowest() -> None:
    """One arm is lower everywhere: from its own best the other's ceiling would be two octaves, not one."""
    low = [{1.0: 1.0, 2.0: 1.0, 4.0: 1.2}]
    high = [{1.0: 1.1, 2.0: 1.1, 4.0: 1.3}]
    level = values.common_lowest([low, high]) + 0.2
    assert level == pytest.approx(1.2)
    assert values.of_points("ceiling", low, starts=[8.0], level=level) == [2.0]  # the end: censored
    assert values.of_points("ceiling", high, starts=[8.0], level=level) == [pytest.approx(1.5)]
    assert math.isnan(values.of_points("ceiling", high, starts=[8.0], level=1.0)[0])


def test_a_ceiling_is_the_upper_edge_alone() -> None:
    curve = {1.0: 5.0, 2.0: 1.0, 4.0: 5.0, 8.0: 1.0, 16.0: math.nan}
    (found,) = values.of_points("ceiling", [curve], starts=[9.0], level=1.0)
    assert found == 3.0


def test_a_common_lowest_is_of_means_and_of_what_ended() -> None:
    curves = [{1.0: 1.0, 2.0: 0.0}, {1.0: 3.0, 2.0: math.nan}]
    assert values.common_lowest([curves]) == 2.0
    assert values.common_lowest([[{1.0: 0.5}]], sign=-1) == -0.5


def curves(rows: np.ndarray) -> list[values.Curve]:
    """Rows of costs at points 1, 2, 4, …"""
    return [{2.0**i: float(value) for i, value in enumerate(row)} for row in rows]


@given(st.lists(st.floats(0, 3, width=32), min_size=3, max_size=7))
def test_a_hump_rises_and_falls(heights: list[float]) -> None:
    """The least of rise and fall; of two equal seeds it is that of the best three points of all."""
    brute = max(
        heights[j] - max(heights[i], heights[k])
        for j in range(1, len(heights) - 1)
        for i in range(j)
        for k in range(j + 1, len(heights))
    )
    found = values.of_points("hump", curves(np.array([heights, heights])))
    assert found == pytest.approx([brute, brute])


def test_noise_alone_makes_no_hump() -> None:
    """Of a flat curve with noise the greatest hump is well above 0; that at the others' place is not."""
    noise = np.random.default_rng(0).normal(size=(400, 6, 9))
    found = [np.mean(values.of_points("hump", curves(rows))) for rows in noise]
    assert np.mean(found) < 0
    assert np.mean([max(values.of_points("hump", curves(rows[[0, 0]]))) for rows in noise]) > 1


def test_a_jump_is_the_share_of_the_steepest_step() -> None:
    (straight, _) = values.of_points("jump", curves(np.array([[4.0, 3.0, 2.0, 1.0, 0.0]] * 2)))
    assert straight == pytest.approx(0.25)
    found = values.of_points("jump", curves(np.array([[1.0, 0.9, 0.1, 0.0]] * 3)))
    assert found == pytest.approx([0.8] * 3)
    higher = values.of_points("jump", curves(np.array([[0.0, 0.1, 0.9, 1.0]] * 3)), sign=-1)
    assert higher == pytest.approx([0.8] * 3)
    rising = values.of_points("jump", curves(np.array([[0.0, 1.0, 2.0]] * 2)))
    assert all(map(math.isnan, rising))  # nothing falls


def test_one_seed_has_no_others() -> None:
    for of in ("hump", "jump"):
        assert math.isnan(one(of, dict(zip(POINTS, [3.0, 4.0, 2.0, 1.0], strict=True))))


@given(st.lists(st.floats(-3, 3, width=32), min_size=5, max_size=5), st.floats(0.05, 5))
def test_the_vertex_is_that_of_numpys_parabola(noise: list[float], bend: float) -> None:
    x = np.array([0.0, 1.0, 2.5, 3.0, 5.0])
    y = bend * (x - 2) ** 2 + 0.1 * np.array(noise)
    c, b, _ = np.polyfit(x, y, 2)
    found = one("vertex", dict(zip((2**x).tolist(), y.tolist(), strict=True)))
    assert math.isnan(found) if c <= 0 else found == pytest.approx(-b / (2 * c), rel=1e-6, abs=1e-6)


def test_the_vertex_has_no_bias_by_noise() -> None:
    """With a quotient for each seed, a bend that is near 0 by chance would throw the mean off."""
    random, x = np.random.default_rng(1), np.arange(5.0)
    y = 0.05 * (x - 2.5) ** 2 + 0.03 * random.normal(size=(2000, 5))
    found = np.array(values.of_points("vertex", curves(y)))
    assert abs(found.mean() - 2.5) < 4 * found.std() / len(found) ** 0.5
    assert found.std() == pytest.approx(0.03 / np.sqrt(((x - 2) ** 2).sum()) / 0.1, rel=0.1)


def test_a_run_that_is_missing_leaves_no_number() -> None:
    rows = np.array([[3.0, 4.0, 2.0], [3.0, math.nan, 2.0]])
    for of in ("hump", "jump", "vertex"):
        assert all(map(math.isnan, values.of_points(of, curves(rows))))
