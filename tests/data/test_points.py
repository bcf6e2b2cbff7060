"""Point sets: slices equal the whole, densities are those of the points and integrate to 1."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from danlu.data.points import Points
from danlu.spec import points as specs

SETS = [
    specs.EightGaussians(),
    specs.Moons(sd=0.2),
    specs.Checkerboard(),
    specs.Spiral(turns=1.0, sd=0.3),
    specs.Rings(sd=0.2),
]
MADE = [Points(spec) for spec in SETS]
each = pytest.mark.parametrize("points", MADE, ids=lambda points: points.spec.kind)
MANY = 10_000
STEP, EDGE = 0.1, 6.0  # of a grid over the plane, whose midpoints are


def grid() -> np.ndarray:
    """Midpoints of the cells, [n, 2]: a sum over them is exact for the checkerboard, whose sides are whole
    steps, and up to e^{−2π²(sd/step)²} < 1e-30 for the others (Poisson's formula)."""
    ticks = np.arange(-EDGE, EDGE - STEP / 2, STEP) + STEP / 2
    return np.stack(np.meshgrid(ticks, ticks, indexing="ij"), -1).reshape(-1, 2)


@each
@settings(max_examples=25, deadline=None)
@given(seed=st.integers(), step=st.integers(0, 10**9), ends=st.tuples(st.integers(0, 40), st.integers(0, 40)))
def test_a_slice_equals_the_whole(points: Points, seed: int, step: int, ends: tuple[int, int]) -> None:
    start, stop = sorted(ends)
    whole, classes = points.rows(seed, step, 0, 0, 40)
    part, of_part = points.rows(seed, step, 7, start, stop)
    assert whole.shape == (40, 2) and whole.dtype == np.float32 and classes.dtype == np.int64
    assert np.array_equal(part, whole[start:stop]) and np.array_equal(of_part, classes[start:stop])


@each
def test_what_is_held_out_is_fixed_and_apart(points: Points) -> None:
    spec = points.spec
    held_out, classes = points.held_out
    assert len(held_out) == len(classes) == spec.held_out
    assert np.array_equal(held_out[5:9], points.fresh(0, 9)[0][5:])
    fresh = points.fresh(1, points.spec.held_out)[0]
    train = np.concatenate([points.rows(0, step, 0, 0, spec.held_out)[0] for step in range(2)])
    known = {row.tobytes() for row in held_out}
    assert not known & {row.tobytes() for row in [*fresh, *train]}


@each
def test_every_class_has_its_share(points: Points) -> None:
    """χ² of the classes: p above 1e-4, and the seed is fixed."""
    from scipy import stats

    _, classes = points.rows(1, 0, 0, 0, MANY)
    counts = np.bincount(classes, minlength=points.classes)
    assert len(counts) == points.classes and stats.chisquare(counts).pvalue > 1e-4


@each
def test_the_density_integrates_to_one(points: Points) -> None:
    assert np.exp(points.log_density(grid())).sum() * STEP**2 == pytest.approx(1, abs=1e-9)


@each
def test_the_points_have_the_density(points: Points) -> None:
    """In cells of a coarse grid: χ² of counts against the integrals of the density, p above 1e-4. Cells where
    fewer than 5 points are expected count as one."""
    from scipy import stats

    cells, fine = 12, 10
    mass = np.exp(points.log_density(grid())).reshape(cells, fine, cells, fine).sum((1, 3)) * STEP**2
    counts, *_ = np.histogram2d(*points.rows(2, 5, 0, 0, MANY)[0].T, bins=cells, range=[(-EDGE, EDGE)] * 2)
    often = MANY * mass > 5
    seen = np.append(counts[often], MANY - counts[often].sum())
    expected = np.append(MANY * mass[often], MANY * (1 - mass[often].sum()))
    if expected[-1] < 1e-6:  # nothing is elsewhere
        assert seen[-1] == 0
        seen, expected = seen[:-1], expected[:-1]
    assert stats.chisquare(seen, expected, sum_check=False).pvalue > 1e-4


@pytest.mark.parametrize(
    ("spec", "nats"),
    [
        (specs.EightGaussians(), 2.509),
        (specs.Checkerboard(), math.log(32)),
        (specs.Checkerboard(squares=2, side=0.5), math.log(0.5)),
        (specs.EightGaussians(modes=1, radius=1.0, sd=1.0), math.log(2 * math.pi * math.e)),
    ],
)
def test_entropies_in_closed_form(spec: specs.Points, nats: float) -> None:
    assert Points(spec).entropy == pytest.approx(nats, abs=5e-4)


@each
def test_the_entropy_is_that_of_the_points(points: Points) -> None:
    """−ln p at points of the stream: within 4 standard errors of the entropy, where it is known; elsewhere of
    −∫ p ln p over the plane."""
    surprise = -points.log_density(points.rows(3, 1, 0, 0, MANY)[0])
    entropy = points.entropy
    if entropy is None:
        log_p = points.log_density(grid())
        entropy = float((-np.exp(log_p) * log_p).sum() * STEP**2)
    assert abs(surprise.mean() - entropy) <= 4 * surprise.std() / math.sqrt(MANY) + 1e-12


def test_gaussians_that_overlap_have_no_entropy_in_closed_form() -> None:
    assert Points(specs.EightGaussians(sd=1.0)).entropy is None


def test_a_moon_is_scikit_learns() -> None:
    """Without noise, and up to the centre (½, ¼): both moons lie where ``make_moons`` puts them."""
    datasets = pytest.importorskip("sklearn.datasets")
    theirs, moon = datasets.make_moons(2_000, shuffle=False, noise=None)
    ours, classes = Points(specs.Moons(radius=1.0, sd=1e-6)).rows(0, 0, 0, 0, 500)
    for which in (0, 1):
        mine, other = ours[classes == which], theirs[moon == which] - (0.5, 0.25)
        distance = np.sqrt(((mine[:, None] - other) ** 2).sum(-1)).min(1)
        assert distance.max() < 2e-3  # half of what neighbours of theirs are apart, π/1000, and more


def test_what_cannot_be_is_refused() -> None:
    with pytest.raises(ValidationError, match="names one twice"):
        specs.Rings(radii=(1.0, 1.0))
    with pytest.raises(ValidationError, match="multiple of 2"):
        specs.Checkerboard(squares=3)
    with pytest.raises(ValueError, match=r"allowed: \[n, 2\]"):
        Points(specs.Moons()).log_density(np.zeros(2))
