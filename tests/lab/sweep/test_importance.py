"""Importance: exact on whole grids, against functions whose variance is known by hand."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays

from danlu.lab.grids import dimension
from danlu.lab.sweep.importance import anova, importance
from danlu.lab.sweep.space import Space
from danlu.lab.sweep.trials import Trial
from tests.lab.sweep.fake import trial


def grid(costs: dict[tuple[str, str], float]) -> list[Trial]:
    return [trial(n, {"a": a, "b": b}, cost) for n, ((a, b), cost) in enumerate(costs.items(), 1)]


def test_an_additive_function_by_hand() -> None:
    # a adds 0, 3, 6 (variance 6), b adds 0, 4 (variance 4): shares 0.6 and 0.4, nothing together.
    costs = {(str(i), str(j)): 3.0 * i + 4.0 * j for i in range(3) for j in range(2)}
    found = importance(grid(costs), ["a", "b"])
    assert found.shares == pytest.approx({"a": 0.6, "b": 0.4})
    assert found.pairs == pytest.approx({"a × b": 0.0}) and found.rest is None
    assert list(found.shares) == ["a", "b"]


def test_what_two_do_only_together_by_hand() -> None:
    # +1 where the signs agree, −1 where not: no value of either matters alone.
    costs = {(str(i), str(j)): float(i * j) for i, j in itertools.product((-1, 1), repeat=2)}
    found = importance(grid(costs), ["a", "b"])
    assert found.shares == pytest.approx({"a": 0.0, "b": 0.0}) and found.pairs == pytest.approx(
        {"a × b": 1.0}
    )


@given(arrays(np.float64, array_shapes(min_dims=1, max_dims=4, max_side=4), elements=st.floats(-10, 10)))
def test_the_parts_add_up_to_the_variance_and_none_is_negative(table: np.ndarray) -> None:
    found = anova(table)
    assert sum(found.values()) == pytest.approx(table.var(), abs=1e-9)
    assert min(found.values()) >= -1e-9
    assert len(found) == 2**table.ndim - 1


def test_what_diverged_counts_as_the_worst() -> None:
    costs = {("0", "0"): 1.0, ("0", "1"): 1.0, ("1", "0"): 3.0, ("1", "1"): math.inf}
    assert importance(grid(costs), ["a", "b"]).shares == pytest.approx({"a": 1.0, "b": 0.0})


def test_a_grid_is_told_apart_from_the_random_trials_beside_it() -> None:
    costs = {(str(i), str(j)): 3.0 * i + 4.0 * j for i in range(3) for j in range(2)}
    mixed = [*grid(costs), trial(7, {"a": "1.5", "b": "0.5"}, 99.0, by="random")]
    assert importance(mixed, ["a", "b"]) == importance(grid(costs), ["a", "b"])


def test_at_random_the_dimension_that_does_nothing_comes_last() -> None:
    dimensions = map(dimension, ["lr=1e-4..1e0", "width=16..512", "kind=a|b|c"])
    space = Space(tuple(found for found in dimensions if found is not None))
    found = []
    for n, point in enumerate(space.drawn(60), 1):
        lr, width = math.log10(float(point["lr"])), math.log10(float(point["width"]))
        found.append(trial(n, point, (lr + 2) ** 2 + 0.3 * (width - 2) ** 2, by="random"))
    shares = importance(found, space.names).shares
    assert [*shares] in (["lr", "width", "kind"], ["width", "lr", "kind"])
    assert sum(shares.values()) == pytest.approx(1)


def test_nothing_is_said_where_nothing_can_be() -> None:
    few = [trial(n, {"a": str(n)}, float(n), by="random") for n in range(1, 4)]
    assert importance(few, ["a"]).shares == {"a": pytest.approx(1.0)}  # one dimension is a grid by itself
    holes = [trial(1, {"a": "1", "b": "1"}, 1.0), trial(2, {"a": "2", "b": "2"}, 2.0)]
    assert importance(holes, ["a", "b"]).shares == {} and "too few" in importance(holes, ["a", "b"]).by
    assert importance([trial(1, {"a": "1"}, math.nan)], ["a"]).by == "nothing differs"
