"""Signals as coordinates: values and gradients are those of the formulas, seen and held out share nothing."""

from __future__ import annotations

import numpy as np
import pytest
from pydantic import ValidationError

from danlu.data import DataError
from danlu.data.coordinates import middles, prepare_signal
from danlu.spec import signals as specs

DISTANCES = [specs.SignedDistance(of=of, pixels=24) for of in ("circle", "box", "ring")]
MADE = [specs.Chirp(points=200), *DISTANCES]
each = pytest.mark.parametrize("spec", MADE, ids=lambda spec: getattr(spec, "of", spec.kind))


def test_middles_are_row_by_row() -> None:
    assert middles((4,)).tolist() == [[-0.75], [-0.25], [0.25], [0.75]]
    assert middles((2, 2)).tolist() == [[-0.5, -0.5], [-0.5, 0.5], [0.5, -0.5], [0.5, 0.5]]


@each
def test_seen_are_the_even_places(spec: specs.Signals) -> None:
    signal = prepare_signal(spec)
    grid = signal.whole.values.reshape(*signal.shape, -1)
    even = grid[(slice(None, None, 2),) * len(signal.shape)]
    assert np.array_equal(signal.seen.values, even.reshape(-1, spec.outputs))
    seen, held_out = ({row.tobytes() for row in part.coordinates} for part in (signal.seen, signal.held_out))
    assert not seen & held_out and len(seen) + len(held_out) == len(signal.whole.values)
    assert signal.seen.coordinates.shape[1] == spec.inputs
    assert signal.seen.gradients.shape[1:] == (spec.outputs, spec.inputs)


@each
def test_an_epoch_of_rows_is_every_seen_point_once(spec: specs.Signals) -> None:
    signal = prepare_signal(spec)
    count = len(signal.seen.values)
    epochs = signal.rows(3, 0, 0, 0, 2 * count).coordinates
    for epoch in np.split(epochs, 2):
        assert np.array_equal(np.unique(epoch, axis=0), np.unique(signal.seen.coordinates, axis=0))
    part = signal.rows(3, 9, count - 5, 2, 8)
    assert np.array_equal(part.coordinates, epochs[count - 3 : count + 3])


def test_a_chirp_by_hand() -> None:
    """φ' / 2π is the number of periods that the whole interval would have at that rate; gradients against a
    fine difference."""
    spec = specs.Chirp(low=1.0, high=3.0, points=8)
    signal = prepare_signal(spec)
    x = signal.whole.coordinates[:, 0].astype(float)

    def value(x: np.ndarray) -> np.ndarray:
        u = (x + 1) / 2
        return np.sin(2 * np.pi * (u + u**2))

    assert signal.whole.values[:, 0] == pytest.approx(value(x), abs=1e-6)
    slope = (value(x + 1e-5) - value(x - 1e-5)) / 2e-5
    assert signal.whole.gradients[:, 0, 0] == pytest.approx(slope, abs=1e-4)
    bend = (value(x + 1e-4) - 2 * value(x) + value(x - 1e-4)) / 1e-8
    assert signal.whole.laplacians[:, 0] == pytest.approx(bend, abs=1e-3)


def _outline(of: str) -> np.ndarray:
    angles = np.linspace(0, 2 * np.pi, 20_001)
    circle = np.stack([np.cos(angles), np.sin(angles)], -1)
    if of == "box":
        return circle / np.abs(circle).max(-1, keepdims=True) / 2
    return circle / 2 if of == "circle" else np.concatenate([circle / 3, circle * 2 / 3])


@pytest.mark.parametrize("spec", DISTANCES, ids=lambda spec: spec.of)
def test_a_signed_distance_is_the_distance_from_the_outline(spec: specs.SignedDistance) -> None:
    """Against the nearest of 20,001 points of the outline, whose neighbours are at most 4e-4 apart; the
    gradient points away from it or to it."""
    from scipy.spatial import cKDTree

    signal = prepare_signal(spec)
    outline, x = _outline(spec.of), signal.whole.coordinates.astype(float)
    distance, which = cKDTree(outline).query(x)
    nearest = outline[which]
    values = signal.whole.values[:, 0]
    assert np.abs(values) == pytest.approx(distance, abs=2e-4)
    r = np.hypot(*x.T)
    inside = {
        "circle": r < 0.5, "ring": (r > 1 / 3) & (r < 2 / 3), "box": np.abs(x).max(-1) < 0.5
    }[spec.of]  # fmt: skip
    assert np.array_equal(values < 0, inside)
    gradients = signal.whole.gradients[:, 0]
    assert np.hypot(*gradients.T) == pytest.approx(1, abs=1e-6)
    clear = distance > 0.05  # where the direction to the nearest point is exact enough
    if spec.of == "box":  # on a diagonal inside, two sides are equally near
        clear &= ~(inside & (np.abs(np.abs(x[:, 0]) - np.abs(x[:, 1])) < 1e-6))
    direction = (x - nearest) / values[:, None]
    assert np.abs(direction - gradients)[clear].max() < 0.01


@pytest.mark.parametrize("spec", DISTANCES, ids=lambda spec: spec.of)
def test_a_laplacian_of_a_distance_is_the_divergence_of_its_direction(spec: specs.SignedDistance) -> None:
    """By central differences of the gradients that are known; where these do not jump."""
    from danlu.data.coordinates import _signed_distance

    x = np.random.default_rng(0).uniform(-1, 1, (400, 2))
    _, here, found = _signed_distance(spec, x)
    step, divergence, smooth = 1e-6, np.zeros(len(x)), np.ones(len(x), bool)
    for axis in (0, 1):
        ahead, behind = (_signed_distance(spec, x + sign * step * np.eye(2)[axis])[1] for sign in (1, -1))
        divergence += (ahead - behind)[:, 0, axis] / (2 * step)
        smooth &= np.abs(ahead - here).max((1, 2)) < 1e-3
    assert smooth.sum() > 390
    assert found[smooth, 0] == pytest.approx(divergence[smooth], rel=1e-5, abs=1e-5)


class TestPhotograph:
    """The crop is the one of which figures are known: without a network, bilinear interpolation of the seen
    pixels gives 22.5 dB on the others at 64², 21.3 at 128², and their mean 11.1 and 10.8."""

    @pytest.mark.parametrize(("pixels", "bilinear", "constant"), [(64, 22.5, 11.1), (128, 21.3, 10.8)])
    def test_figures(self, pixels: int, bilinear: float, constant: float) -> None:
        pytest.importorskip("PIL")
        pytest.importorskip("sklearn")
        from scipy.interpolate import RegularGridInterpolator

        signal = prepare_signal(specs.Photograph(pixels=pixels))
        image = signal.whole.values.reshape(pixels, pixels, 3)
        even = np.arange(0, pixels, 2)
        between = RegularGridInterpolator((even, even), image[::2, ::2])
        places = np.minimum(np.indices((pixels, pixels)).reshape(2, -1).T, pixels - 2)
        guesses = between(places)[~signal.even], signal.seen.values.mean(0)
        for guess, decibels in zip(guesses, (bilinear, constant), strict=True):
            error = ((guess - signal.held_out.values) ** 2).mean()
            assert -10 * np.log10(error) == pytest.approx(decibels, abs=0.06)

    def test_gradients_of_a_smooth_image(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """A plane has its slope everywhere: by a whole side of the crop, down and right."""
        down, right = np.mgrid[0:427, 0:640]
        plane = np.stack([0.25 * (down - 100), 0.5 * (right - 200), 0 * down], -1)
        monkeypatch.setattr("danlu.data.coordinates._pixels", lambda name: plane)
        signal = prepare_signal(specs.Photograph(pixels=32))
        slopes = np.array([[32 / 255, 0], [0, 64 / 255], [0, 0]])  # 256 pixels are 2 units
        assert signal.whole.gradients == pytest.approx(np.broadcast_to(slopes, (1024, 3, 2)), abs=1e-5)

    def test_laplacians_of_a_parabola(self) -> None:
        """a·down² + b·right² + c·down·right has 2a + 2b everywhere, at edges too; a picture with two seen
        pixels a side has none."""
        from danlu.data.coordinates import _curvatures

        down, right = middles((8, 8)).reshape(8, 8, 2).transpose(2, 0, 1)
        image = np.stack([3 * down**2 - 0.5 * right**2 + down * right, down**2 + 2 * right], -1)
        assert _curvatures(image, 2 / 8) == pytest.approx(np.tile([5.0, 2.0], (64, 1)))
        assert np.isnan(_curvatures(image[:4, :4], 1.0)[0]).all()

    @pytest.mark.parametrize(("module", "name"), [("PIL", "Pillow"), ("sklearn", "scikit-learn")])
    def test_what_is_missing_is_named(self, module: str, name: str, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(
            "danlu.data.coordinates.find_spec", lambda wanted: None if wanted == module else True
        )
        with pytest.raises(DataError, match=f"{name} is not installed; pip install 'danlu"):
            prepare_signal(specs.Photograph())

    def test_sizes_that_do_not_fit_are_refused(self) -> None:
        with pytest.raises(ValidationError, match="100 does not divide the 256 pixels"):
            specs.Photograph(pixels=100)
