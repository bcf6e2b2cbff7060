"""Three methods, one optimum: that of logistic regression, of counted shares, of a Gaussian."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import sparse
from scipy.optimize import minimize

from danlu.maxent import (
    METHODS,
    MaxentError,
    Pairs,
    by_hand,
    compare,
    contexts,
    direction,
    duality,
    fit,
    gaussian_moments,
    gaussian_weights,
    indicators,
    linear,
    of_counts,
    of_labels,
    of_moments,
    powers,
)
from tests.maxent.cases import problem, table


@pytest.mark.parametrize("method", METHODS)
def test_the_optimum_is_that_of_logistic_regression(method: str) -> None:
    linear_model = pytest.importorskip("sklearn.linear_model")
    x, y = table(1, rows=120, columns=3)
    with_constant = np.column_stack([x, np.ones(len(x))])
    # Its default solver stops where the loss cannot tell weights apart, 1e-7 in probability from here.
    theirs = linear_model.LogisticRegression(
        C=np.inf, fit_intercept=False, tol=1e-10, solver="newton-cg", max_iter=1000
    )
    expected = theirs.fit(with_constant, y).predict_proba(with_constant)
    found = fit(of_labels(linear(x, range(3)), y), method, tolerance=1e-12)
    assert found.ending == "converged"
    np.testing.assert_allclose(found.found.p, expected, rtol=0, atol=1e-10)


@settings(max_examples=25, deadline=None)
@given(seed=st.integers(0, 10**6))
def test_no_other_minimiser_comes_lower(seed: int) -> None:
    """Signed columns of any scale, few passes."""
    generator = np.random.default_rng(seed)
    rows, classes, columns = (int(n) for n in generator.integers([3, 2, 1], [40, 6, 5]))
    x = generator.normal(size=(rows, columns)) * 10 ** generator.uniform(-2, 2, columns)
    here = of_counts(linear(x, range(classes)), generator.integers(0, 4, size=(rows, classes)), smooth=0.1)
    found = fit(here)
    assert found.ending == "converged" and found.course.passes <= 100

    def value(weights: np.ndarray) -> tuple[float, np.ndarray]:
        look = here.look(weights)
        return look.nll, look.expected - here.targets

    rival = minimize(value, np.zeros(len(here.targets)), jac=True, method="L-BFGS-B", tol=1e-12)
    assert found.found.nll <= rival.fun + 1e-14


@pytest.mark.parametrize("method", ["gis", "iis"])
@pytest.mark.parametrize("seed", range(3))
def test_scaling_raises_the_likelihood_at_every_pass(method: str, seed: int) -> None:
    course = fit(problem(seed), method, passes=200).course
    assert (np.diff(course.nll) < 1e-14).all()
    # Real values, with more levels of f# than are told apart, and features that are dropped.
    x = np.random.default_rng(seed).exponential(size=(1500, 3))
    y = (x[:, 0] > x[:, 1]).astype(int)
    real = of_labels(linear(x, ["0", "1", "never"]), y, smooth=0)
    assert len(real.unseen) == 4
    course = fit(real, method, passes=40).course
    assert (np.diff(course.nll) < 1e-14).all() and course.nll[-1] < course.nll[0] - 0.05


def test_gis_is_iis_where_the_features_sum_to_the_same() -> None:
    generator = np.random.default_rng(0)
    colour, size = generator.choice(list("abc"), 120), generator.choice(list("de"), 120)
    features = indicators({"colour": colour, "size": size}, range(3))
    here = of_labels(features, generator.integers(3, size=120))
    assert np.ptp(here.sums) == 0
    gis, iis = (fit(here, method, passes=30, tolerance=0) for method in ("gis", "iis"))
    np.testing.assert_allclose(gis.course.nll, iis.course.nll, rtol=1e-14)
    np.testing.assert_allclose(gis.weights, iis.weights, atol=1e-12)


@pytest.mark.slow
def test_passes_go_as_the_theory_says() -> None:
    """Measured once for 400 rows, 13 binary columns, 3 classes: 1,679 passes of GIS to 1e-8 nats, half as
    many of IIS, 22 of L-BFGS. These tables are others, so factors of 4 and 2 are allowed. Scaling's steps are
    as 1 to C / mean f#, and its convergence is linear."""
    for seed in range(2):
        here = problem(seed)
        found = compare(here)
        ratio = here.sums.max() / here.sums.mean()
        for gap, gis, iis, lbfgs in zip(found.gaps, *found.by_method.values(), strict=True):
            assert gis is not None and iis is not None and lbfgs is not None
            assert lbfgs <= 2 * 22
            if gap < 1e-2:
                assert gis / iis == pytest.approx(ratio, rel=0.15)
        last = found.by_method["gis"][-1]
        assert last is not None and 1679 / 4 < last < 1679 * 4
        _, second, third, fourth = (n or 0 for n in found.by_method["gis"])
        assert (fourth - third) == pytest.approx(third - second, rel=0.25)
        assert str(found).count("\n") == 3


def test_bigrams_are_their_conditional_entropy() -> None:
    tokens = np.random.default_rng(2).choice(6, size=3000, p=[0.4, 0.3, 0.15, 0.1, 0.04, 0.01])
    features, counts = contexts(tokens, 6)
    share = counts / counts.sum(axis=1, keepdims=True)
    seen = counts > 0
    entropy = -np.sum(counts[seen] * np.log(share[seen])) / counts.sum()
    for method in METHODS:
        found = fit(of_counts(features, counts, zeros="bar"), method)
        assert found.found.nll == pytest.approx(entropy, rel=1e-13)
        np.testing.assert_allclose(found.found.p, share, atol=1e-9)
    assert fit(of_counts(features, counts, zeros="bar"), "gis").course.passes == 2
    smoothed = fit(of_counts(features, counts, smooth=0.5), "iis").found.p
    np.testing.assert_allclose(smoothed, (counts + 0.5) / (counts + 0.5).sum(1, keepdims=True), atol=1e-12)


def test_bigrams_of_a_text(shared_text) -> None:
    text = np.frombuffer(shared_text.read_bytes(), np.uint8)
    features, counts = contexts(text, 256)
    share = counts[counts > 0] / np.repeat(counts.sum(axis=1), (counts > 0).sum(axis=1))
    here = of_counts(features, counts, zeros="bar")
    found = fit(here, "gis")
    assert found.found.nll == pytest.approx(-(counts[counts > 0] @ np.log(share)) / counts.sum(), rel=1e-13)
    assert len(here.unseen) == 256 * 256 - (counts > 0).sum()
    score = found.model.score_counts(features, counts)
    assert (score.nats, score.count) == (pytest.approx(found.found.nll, rel=1e-13), len(text) - 1)


def test_wider_contexts_count_each_place() -> None:
    tokens = np.random.default_rng(3).integers(4, size=500)
    features, counts = contexts(tokens, 4, width=2)
    joint = {}
    for before, last, here in zip(tokens, tokens[1:], tokens[2:], strict=False):
        joint[before, last, here] = joint.get((before, last, here), 0) + 1
    for row, (before, last) in enumerate((a, b) for a in range(4) for b in range(4)):
        assert counts[row].tolist() == [joint.get((before, last, y), 0) for y in range(4)]
        assert np.flatnonzero(features.x[[row]].toarray()).tolist() == [last, 4 + before]
    assert features.names[:2] == ("-1: 0 & 0", "-1: 0 & 1") and features.names[-1] == "-2: 3 & 3"


@pytest.mark.parametrize("method", ["iis", "lbfgs"])
def test_x_and_its_square_give_a_gaussian(method: str) -> None:
    sample = np.random.default_rng(4).gamma(3.0, size=500) / 3
    mean, variance = sample.mean(), sample.var()
    step = 0.05
    grid = np.arange(0, 400) * step  # from 0 on, as scaling needs
    shift = 10.0
    here = of_moments(powers(grid), [mean + shift, variance + (mean + shift) ** 2])
    found = fit(here, method, passes=300, tolerance=1e-12)
    if method == "lbfgs":
        assert gaussian_moments(found.weights) == pytest.approx((mean + shift, variance), rel=1e-8)
        # The loss of the density is the entropy of the Gaussian.
        gaussian = 0.5 * np.log(2 * np.pi * np.e * variance)
        assert found.found.nll + np.log(step) == pytest.approx(gaussian, rel=1e-9)
        assert duality(here, found.weights).entropy == pytest.approx(found.found.nll, rel=1e-9)
    else:
        assert (np.diff(found.course.nll) < 1e-12).all()


def test_weights_of_a_gaussian_and_back() -> None:
    assert gaussian_moments(gaussian_weights(-1.5, 0.3)) == pytest.approx((-1.5, 0.3), rel=1e-14)
    with pytest.raises(MaxentError, match="needs one below 0"):
        gaussian_moments(np.array([1.0, 0.0]))


def test_a_die_with_a_given_mean() -> None:
    """Jaynes's: the mean 4.5 gives p_k ∝ z^k with z = 1.449254 (Jaynes 1978, Where do we stand)."""
    die = by_hand({"eyes": [np.arange(1.0, 7)]}, range(1, 7))
    for method in METHODS:
        p = fit(of_moments(die, [4.5]), method).found.p[0]
        np.testing.assert_allclose(p[1:] / p[:-1], 1.449254, rtol=1e-5)
    uniform = fit(of_moments(die, [3.5])).found.p[0]
    np.testing.assert_allclose(uniform, 1 / 6, atol=1e-12)
    assert fit(of_moments(die, [7.0])).ending == "infeasible"
    assert fit(of_moments(die, [6.0])).ending == "separable"
    assert "no distribution" in str(fit(of_moments(die, [0.5]), "gis"))


def test_both_forms_of_features_say_the_same() -> None:
    x, y = table(5, rows=80, columns=4)
    product = linear(x, range(3))
    pairs = Pairs(product.matrix(), product.names, product.classes)
    scattered = linear(x, range(3))
    scattered = type(scattered)(sparse.csr_array(scattered.x), scattered.columns, scattered.classes)
    q = np.random.default_rng(0).random((80, 3))
    level = np.random.default_rng(1).integers(9, size=(80, 3))
    for other in (pairs, scattered):
        np.testing.assert_allclose(other.expect(q), product.expect(q), rtol=1e-13)
        np.testing.assert_allclose(other.expect_squares(q), product.expect_squares(q), rtol=1e-13)
        np.testing.assert_allclose(other.by_level(q, level, 9), product.by_level(q, level, 9), rtol=1e-12)
        np.testing.assert_array_equal(other.bounds(), product.bounds())
    few = np.minimum(level, 1)
    np.testing.assert_allclose(product.by_level(q, few, 2), pairs.by_level(q, few, 2), rtol=1e-12)
    a, b = (fit(of_labels(features, y), tolerance=1e-12) for features in (product, pairs))
    np.testing.assert_allclose(a.found.p, b.found.p, atol=1e-10)


@pytest.mark.parametrize("method", METHODS)
def test_separable_data_are_recognised(method: str) -> None:
    x = np.concatenate([np.linspace(0.0, 0.9, 20), np.linspace(1.1, 2.0, 20)])
    y = np.repeat([0, 1], 20)
    parted = fit(of_labels(linear(x[:, None], range(2)), y), method, passes=5000)
    assert parted.ending == "separable" and parted.course.passes < 5000 and "no optimum" in str(parted)
    # Only in part: the last point of each class lies with the other, but the classes touch in one point.
    touching = np.concatenate([x, [1.0, 1.0]])
    half = of_labels(linear(touching[:, None], range(2)), [*y, 0, 1])
    found = fit(half, method, passes=300)
    assert found.ending == "separable" and found.direction is not None
    scores = half.features.scores(found.direction)
    margin = (scores[:, 1] - scores[:, 0]) * np.where(np.array([*y, 0, 1]) == 1, 1, -1)
    assert margin.min() >= -1e-6 and margin.max() > 0.01
    smooth = fit(of_labels(linear(x[:, None], range(2)), y, smooth=0.05), method)
    assert smooth.ending in ("converged", "passes")


def test_separable_are_those_whose_probabilities_vanish() -> None:
    answers = []
    for seed in range(8):
        here = problem(seed, rows=60, columns=4)
        vanish = fit(here, tolerance=1e-14).found.p.min() < 1e-10
        assert (direction(here) is not None) == vanish
        assert fit(here).ending == ("separable" if vanish else "converged")
        assert fit(here, "gis", passes=5).ending == ("separable" if vanish else "passes")
        answers.append(vanish)
    assert 0 < sum(answers) < 8
    with pytest.raises(MaxentError, match="no optimum to compare with"):
        compare(of_labels(linear([[0.0], [1.0]], range(2)), [0, 1]))


def test_features_never_seen_are_counted_and_dropped_or_barred() -> None:
    x = np.array([[1.0, 0], [1, 0], [0, 1], [0, 1], [0, 1]])
    y = [0, 1, 0, 0, 0]
    dropped = of_labels(linear(x, range(2), constant=False), y)
    assert dropped.unseen == ("x1 & 1",)
    assert "features that are never seen, dropped: 1" in str(fit(dropped))
    barred = fit(of_labels(linear(x, range(2), constant=False), y, zeros="bar"))
    np.testing.assert_allclose(barred.found.p, [[0.5, 0.5]] * 2 + [[1, 0]] * 3, atol=1e-9)
    assert barred.ending == "converged"
    assert of_labels(linear(x, range(2)), y, smooth=0.1).unseen == ()
