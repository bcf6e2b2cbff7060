"""Sign flips against the randomisation test that they invert; what is said of readings that differ."""

from __future__ import annotations

import math
from itertools import product

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from danlu.lab.statistics.multiverse import MOST_FLIPPED, Reading, differing, flipped

DIFFERENCES = st.lists(st.integers(-(2**20), 2**20).map(float), min_size=6, max_size=9, unique=True)


def share_as_far(differences: list[float], centre: float) -> float:
    """Of all sign patterns of the distances from ``centre``, those whose sum is at least as far from 0."""
    away = np.asarray(differences) - centre
    sums = np.abs([np.dot(signs, away) for signs in product((1, -1), repeat=len(away))])
    return float(np.mean(sums >= abs(away.sum()) - 1e-6))


@given(DIFFERENCES)
def test_what_lies_outside_is_rejected_by_the_randomisation_test(differences: list[float]) -> None:
    found = flipped(differences, 0.95)
    assert found is not None and found.value == pytest.approx(np.mean(differences))
    for end, out in ((found.low, -1), (found.high, 1)):
        assert (
            share_as_far(differences, end + out * 0.01) <= 0.05 < share_as_far(differences, end - out * 0.01)
        )


def test_it_covers_whatever_the_distribution() -> None:
    """Of seven Cauchy values: 122 of the 128 places are inside. 4,000 draws, within four standard errors."""
    random = np.random.default_rng(0)
    ends = [flipped(row, 0.95) for row in random.standard_cauchy((4000, 7)).tolist()]
    covered = np.mean([one is not None and one.low < 0 < one.high for one in ends])
    assert covered == pytest.approx(1 - 6 / 128, abs=4 * math.sqrt(0.047 * 0.953 / 4000))


def test_where_flips_say_nothing() -> None:
    assert flipped([-1.0] * 5, 0.95) is None  # 2 of 32 patterns are more than 5 %
    assert flipped([-1.0] * 6, 0.95) == (-1, -1, -1)
    assert flipped([-1.0] * 6, 0.975) is None  # as among two ideas
    assert flipped([-1.0] * (MOST_FLIPPED + 1), 0.95) is None


def test_readings_that_differ_are_told_and_others_are_not() -> None:
    readings = [
        Reading("a", "better"),
        Reading("b", "not shown"),
        Reading("c", "worse"),
        Reading("d", "worse"),
    ]
    assert differing(readings, "better") == "3 of 4 would say otherwise: not shown b; worse c and d"
    assert differing(readings[:1], "better") == differing([], "worse") == ""
