"""Paired differences over x: what pairs share cancels, intervals are Student's, captions name the band."""

from __future__ import annotations

import math
import random

import pytest
from scipy import stats

from danlu.lab.reading.differences import chart, paired_over

STEPS = (1.0, 10.0, 100.0)


def test_the_intervals_are_those_of_a_paired_t_test() -> None:
    draw = random.Random(0)
    pairs = []
    for _ in range(5):
        shared = [draw.gauss(0, 100) for _ in STEPS]  # of the seed: far larger than the difference
        first = [(x, noise) for x, noise in zip(STEPS, shared, strict=True)]
        pairs.append((first, [(x, y + draw.gauss(0.5, 0.1)) for x, y in first]))
    found = paired_over(pairs)
    assert [x for x, _ in found] == list(STEPS)
    for i, (_, interval) in enumerate(found):
        before, after = ([curve[i][1] for curve in side] for side in zip(*pairs, strict=True))
        known = stats.ttest_rel(after, before).confidence_interval(0.95)
        assert interval[1:] == pytest.approx((known.low, known.high), rel=1e-6)


def test_between_measurements_it_is_linear_in_log_x_and_beyond_them_there_is_nothing() -> None:
    first = [(1.0, 0.0), (10.0, 0.0), (100.0, 0.0), (1000.0, 0.0)]
    second = [(1.0, 0.0), (100.0, 2.0), (300.0, math.nan)]
    (one, two, three) = paired_over([(first, second)])
    assert [x for x, _ in (one, two, three)] == [1.0, 10.0, 100.0]
    assert two[1].value == pytest.approx(1.0) and math.isinf(two[1].high)


def test_the_caption_says_what_is_shown() -> None:
    pairs = [([(1.0, 0.0), (2.0, 0.0)], [(1.0, 1.0), (2.0, d)]) for d in (1.0, 2.0)]
    drawn = chart({"swiglu": paired_over(pairs)}, "updates", "loss", "bed", {"swiglu": 2})
    assert "swiglu − bed, the mean over 2 pairs of equal seed" in drawn.caption
    assert "Band: the 95 % interval of the mean, at each point alone." in drawn.caption
    alone = chart({"swiglu": paired_over(pairs[:1])}, "updates", "loss", "bed", {"swiglu": 1})
    assert "Band" not in alone.caption and "polygon" not in alone.svg()
