"""Rounds on slow links: exact without scatter, in order with it, as Streaming DiLoCo's authors simulate."""

from __future__ import annotations

from dataclasses import replace

import pytest

from danlu.planning import Rounds, simulate

EVEN = Rounds(workers=4, parameters=1e9, step=0.1, every=50, jitter=0, uneven=0, slowed=0)


@pytest.mark.parametrize("bandwidth", [1e7, 1e9, 1e11])
def test_without_scatter_it_is_a_fraction(bandwidth):
    # 50 steps of 0.1 s; 4 bytes a parameter, sent 2 · 3/4 times.
    sums = 4e9 * 2 * 3 / 4 / bandwidth
    found = simulate(EVEN, bandwidth, count=3)
    assert found.utilisation == pytest.approx(5 / (5 + sums))
    assert found.low == found.high == pytest.approx(found.utilisation)
    assert found.seconds == pytest.approx(5 + sums)


def test_one_step_a_round_is_data_parallel_without_overlap():
    bandwidth = 1e9
    assert simulate(replace(EVEN, every=1), bandwidth, count=2).seconds == pytest.approx(0.1 + 6)


def test_what_has_time_to_arrive_does_not_hold_up():
    streaming = replace(EVEN, fragments=5, delay=2)  # each of five sums may take 0.2 s
    assert simulate(streaming, 6e9 / 5 / 0.2, count=2).utilisation == pytest.approx(1)
    assert simulate(streaming, 6e9 / 5 / 0.3, count=2).seconds == pytest.approx(5 + 5 * 0.1)


def test_order():
    scatter = Rounds(workers=4, parameters=1e9, step=0.1, every=50)
    found = [simulate(scatter, bandwidth).utilisation for bandwidth in (1e7, 1e8, 1e9, 1e10)]
    assert found == sorted(found)
    at = 1e8
    assert simulate(replace(scatter, every=500), at).utilisation > found[1]
    assert simulate(replace(scatter, bits=4), at).utilisation > found[1]
    assert simulate(replace(scatter, workers=64), at).utilisation < found[1]  # one of more is slow
    assert simulate(scatter, at) == simulate(scatter, at)
    fast = simulate(scatter, 1e15)  # links cost nothing, but whoever is slow holds up the others
    assert fast.low < fast.utilisation < fast.high <= 1
    assert found[1] < simulate(EVEN, at).utilisation


# Gbit/s at which 50, 80, 90, 95, 99 % is computing (Douillard et al. 2025, arXiv:2501.18512, table 5: 1 B
# parameters, 24 layers in fragments of 3, 0.1 s a step). Their grid of bandwidths has steps of 1.2 to 1.4.
TABLE = [
    ({"bits": 16}, (1.4, 5.2, 9.1, 16.0, 28.1)),
    ({"bits": 4, "delay": 1}, (0.4, 0.9, 1.7, 2.0, 3.0)),
]


@pytest.mark.parametrize(("how", "published"), TABLE)
def test_it_agrees_with_the_published_simulation(how, published):
    rounds = replace(EVEN, workers=2, every=100, fragments=8, backward=2 / 3, **how)
    for share, theirs in zip((0.5, 0.8, 0.9, 0.95, 0.99), published, strict=True):
        below, above = (simulate(rounds, theirs * k * 1e9 / 8, count=1).utilisation for k in (1 / 1.25, 1.25))
        assert below <= share <= above
