"""The best size for a budget: the closed form where there is one, else what no other size is better than."""

from __future__ import annotations

import numpy as np
import pytest

from danlu.laws import law
from danlu.laws.best import best_size
from danlu.laws.formulas.chinchilla import CHINCHILLA, optimum
from tests.laws.cases import CASES

TRUTH = CHINCHILLA.theta("besiroglu")
FLOPS = np.array([1e18, 1e20, 1e22, 1e24])


def test_many_budgets_and_many_parameters_by_the_closed_form() -> None:
    theta = TRUTH * np.array([[1], [1.05], [0.95], [1.1]])
    np.testing.assert_array_equal(best_size(CHINCHILLA, theta, FLOPS), optimum(theta, FLOPS)[0])


def test_the_search_finds_the_closed_form() -> None:
    """Chinchilla's law in other words: coupled with k = 1; data-constrained with endless new tokens."""
    expected = optimum(TRUTH, FLOPS)[0]
    one = best_size(law("coupled"), np.append(TRUTH, 1.0)[None], FLOPS)
    np.testing.assert_allclose(one, expected, rtol=1e-6)
    theta = np.array([[*TRUTH, 1e6, 1e6]])
    other = best_size(law("data-constrained"), theta, FLOPS, {"u": np.full(4, 1e20)})
    np.testing.assert_allclose(other, expected, rtol=1e-3)


@pytest.mark.parametrize(
    "name", ["kaplan-nd", "coupled", "farseer", "moe-granularity", "overtraining", "precision"]
)
def test_no_size_about_it_is_better(name: str) -> None:
    one, case = law(name), CASES[name]
    others = {key: np.full(4, values[0]) for key, values in case.columns.items() if key not in ("n", "d")}
    n = best_size(one, np.array([case.theta]), FLOPS, others)
    assert (n > 1e6).all() and (n < FLOPS / 6e6).all()
    for i, budget in enumerate(FLOPS / 6):
        sizes = n[i] * np.append(np.geomspace(0.03, 30, 400), 1)
        columns = {key: np.full(401, values[i]) for key, values in others.items()}
        told = one.predict(np.array(case.theta), {**columns, "n": sizes, "d": budget / sizes})
        assert told[-1] <= told.min() * (1 + 1e-12)


def test_where_nothing_is_best_it_is_an_end() -> None:
    """Without a term of the data the largest model is the best, of one token."""
    theta = np.array([[1.7, 400.0, 0.0, 0.34, 0.28, 0.7]])
    np.testing.assert_allclose(best_size(law("coupled"), theta, FLOPS), FLOPS / 6, rtol=1e-6)
