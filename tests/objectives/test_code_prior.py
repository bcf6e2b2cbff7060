"""The mixture over codes: a table from known components gives them back, and draws have its law."""

from __future__ import annotations

import numpy as np
import pytest

from danlu.data import Counter
from danlu.objectives.code_prior import CodePrior


def table(rows: int) -> np.ndarray:
    """Two kinds of row of six places: all 3, or all 8, and every place is a 5 instead one time in four."""
    uniform = Counter(1, 0).uniform(0, rows, 7)
    kind = np.where(uniform[:, :1] < 0.7, 3, 8)
    return np.where(uniform[:, 1:] < 0.25, 5, kind)


def test_known_components_are_found() -> None:
    """To four standard errors of 4,000 rows."""
    prior = CodePrior(table(4000), 2)
    assert prior.known.tolist() == [3, 5, 8]
    order = prior.weights.argsort()
    assert prior.weights[order] == pytest.approx([0.3, 0.7], abs=4 * (0.21 / 4000) ** 0.5)
    first, second = prior.tables[order]
    assert np.abs(first - [0, 0.25, 0.75]).max() < 4 * (0.1875 / 1200) ** 0.5
    assert np.abs(second - [0.75, 0.25, 0]).max() < 4 * (0.1875 / 2800) ** 0.5


def test_draws_have_the_mixtures_law() -> None:
    """Rows are of one kind; the shares of codes are those of weights and tables, to four standard errors."""
    prior = CodePrior(table(4000), 2)
    rows = prior.draw(Counter(2, 0).uniform(0, 20_000, 7))
    assert not ((rows == 3).any(1) & (rows == 8).any(1)).mean() > 1e-3
    expected = np.einsum("m,mpk->k", prior.weights, prior.tables) / 6
    found = np.array([(rows == code).mean() for code in prior.known])
    assert np.abs(found - expected).max() < 4 * (0.25 / 20_000) ** 0.5
    assert np.array_equal(rows[5:9], prior.draw(Counter(2, 0).uniform(5, 9, 7)))


def test_one_component_is_independent_places() -> None:
    codes = table(500)
    prior = CodePrior(codes, 1)
    for code, share in zip(prior.known, prior.tables[0].T, strict=True):
        assert share == pytest.approx((codes == code).mean(0), abs=1e-3)


def test_as_many_components_as_rows_at_most() -> None:
    assert len(CodePrior(table(3), 64).weights) == 3
