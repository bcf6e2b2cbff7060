"""Random numbers by their place: slices equal the whole, and the numbers are spread as they should be."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from danlu.data import Counter

KINDS = {
    "words": lambda c, *rows: c.words(*rows),
    "uniform": lambda c, *rows: c.uniform(*rows),
    "integers": lambda c, *rows: c.integers(*rows, 7),
    "normal": lambda c, *rows: c.normal(*rows),
}
each = pytest.mark.parametrize("kind", KINDS)


@each
@settings(max_examples=40, deadline=None)
@given(st.integers(), st.integers(0, 10**9), st.integers(0, 30), st.integers(0, 9), st.data())
def test_any_slice_equals_the_whole(
    kind: str, seed: int, step: int, rows: int, size: int, data: object
) -> None:
    start = data.draw(st.integers(0, rows))  # type: ignore[attr-defined]
    stop = data.draw(st.integers(start, rows))  # type: ignore[attr-defined]
    draw = KINDS[kind]
    whole = draw(Counter(seed, step, 5), 0, rows, size)
    part = draw(Counter(seed, step, 5), start, stop, size)
    assert whole.shape == (rows, size) and np.array_equal(part, whole[start:stop])


def test_seed_step_and_stream_are_streams_of_their_own() -> None:
    places = [(0, 0, 0), (1, 0, 0), (0, 1, 0), (0, 0, 1), (-1, 0, 0)]
    drawn = {Counter(*place).words(0, 4, 4).tobytes() for place in places}
    assert len(drawn) == len(places)


def test_uniform_and_normal_by_kolmogorov_and_smirnov() -> None:
    """p above 1e-4: a true generator fails in one of ten thousand seeds, and this seed is fixed."""
    from scipy import stats

    uniform = Counter(3, 1).uniform(0, 20_000, 3).ravel()
    assert stats.kstest(uniform, "uniform").pvalue > 1e-4 and uniform.min() >= 0 and uniform.max() < 1
    assert stats.kstest(Counter(3, 2).normal(0, 20_000, 3).ravel(), "norm").pvalue > 1e-4


def test_integers_are_all_there_and_alike() -> None:
    counts = np.bincount(Counter(1, 1).integers(0, 7_000, 10, 7).ravel(), minlength=7)
    assert len(counts) == 7 and np.abs(counts - 10_000).max() < 5 * np.sqrt(10_000 * 6 / 7)
