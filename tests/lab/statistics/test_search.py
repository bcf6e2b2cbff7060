"""The points of a search for the best rate."""

from __future__ import annotations

import itertools
import math
import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from danlu.lab.errors import LabError
from danlu.lab.statistics.optimum import NEAR
from danlu.lab.statistics.search import EXTENSIONS, Search


def searched(search: Search, loss, seeds: int = 2) -> int:
    """Carry out a search on a curve; how often it was extended."""
    for extension in range(EXTENSIONS + 1):
        search.learn([[loss(x) + 1e-6 * seed for seed in range(seeds)] for x in search.asked])
        if search.found.interior or extension == EXTENSIONS:
            return extension
        search.extend()
    raise AssertionError


@settings(deadline=None)
@given(st.floats(-7, 7), st.floats(0.01, 0.06), st.sampled_from([0.5, 1.0]))
def test_the_best_is_found_wherever_the_grid_reaches(best: float, bend: float, step: float) -> None:
    """Five points and three times two reach 2 + 6 steps to one side; the best must lie well inside."""
    search = Search(0.0, 5, step, NEAR)
    extended = searched(search, lambda x: bend * (x - best) ** 2)
    inside = abs(best) <= (2 + 2 * EXTENSIONS - 0.51) * step
    assert search.found.interior or not inside
    if search.found.interior:
        assert search.found.x == pytest.approx(best, abs=1e-3)
    assert len(search.costs) == 5 + 2 * extended


def test_a_side_that_is_done_looks_beside_its_best_and_nowhere_twice() -> None:
    search = Search(3.0, 5, 1.0, NEAR)
    searched(search, lambda x: 0.03 * (x - 3.2) ** 2)
    assert search.found.interior
    search.extend()
    assert search.asked == (2.5, 3.5)  # half a step apart, nearest to 3.2
    search.learn([[0.03 * (x - 3.2) ** 2 + 1e-6 * seed for seed in range(2)] for x in search.asked])
    for _ in range(4):
        tried = set(search.costs)
        search.extend()
        assert len(search.asked) == 2 and not tried & set(search.asked)
        assert all(1 <= x <= 5 for x in search.asked)
        search.learn([[0.03 * (x - 3.2) ** 2 + 1e-6 * seed for seed in range(2)] for x in search.asked])


def test_what_is_near_may_follow_from_the_curve() -> None:
    """Walls far above the bottom bend a parabola through all points, and not one through those near it."""

    def loss(x: float) -> float:
        return 0.03 * (x - 0.4) ** 2 + (100.0 if x < -1 else 0.0)

    every, near = Search(0.0, 5, 1.0, math.inf), Search(0.0, 5, 1.0, None)
    for search in (every, near):
        search.learn([[loss(x), loss(x) + 1e-6] for x in search.asked])
    assert near.found.x == pytest.approx(0.4, abs=1e-3)
    assert not every.found.interior or abs(every.found.x - 0.4) > 0.1


def fitted_line(rate: float, momentum: float, seed: int) -> float:
    """The program of docs/referee.md, after 300 steps."""
    chance, w, v = random.Random(seed), [0.0, 0.0], [0.0, 0.0]
    for _ in range(300):
        x = chance.uniform(-1, 1)
        error = w[0] * x + w[1] - (3 * x + 1 + chance.gauss(0, 0.1))
        for i, slope in enumerate((error * x, error)):
            v[i] = momentum * v[i] - rate * slope
            w[i] += v[i]
    return (w[0] - 3) ** 2 / 3 + (w[1] - 1) ** 2 if max(map(abs, w)) < 1e150 else math.nan


def test_the_rate_of_a_program_with_walls_and_a_flat_bottom() -> None:
    """Its loss falls from 2 to .001, stays there for three octaves, and is 1e59 two farther. Of sixty
    searches from six starts at most two end without a rate."""
    chance, done = random.Random(7), 0
    for start, momentum in itertools.product([0.01, 0.03, 0.1], [0.0, 0.9] * 10):
        search, seeds = Search(math.log2(start), 5, 1.0, None), [chance.randrange(10**9) for _ in range(2)]
        for extension in range(EXTENSIONS + 1):
            search.learn([[fitted_line(2**x, momentum, seed) for seed in seeds] for x in search.asked])
            if search.found.interior or extension == EXTENSIONS:
                break
            search.extend()
        done += search.found.interior
    assert done >= 58


def test_a_flat_bottom_is_looked_at_more_closely() -> None:
    """Walls on both sides of two points: the next ones lie between these, and the first five are the same."""
    search = Search(0.0, 5, 1.0, None)
    assert search.asked == (-2.0, -1.0, 0.0, 1.0, 2.0)
    search.learn([[9e9, 8e9], [100.0, 101.0], [1.0, 1.02], [1.01, 1.0], [1e40, 1e41]])
    search.extend()
    assert search.asked == (0.5, 1.5)


def test_nothing_is_found_before_anything_was_tried() -> None:
    with pytest.raises(LabError, match="nothing was tried yet"):
        Search(0.0, 5, 1.0, NEAR).extend()
