"""The stored features of digits: what their network knows, and how far things lie in them."""

from __future__ import annotations

import numpy as np
import pytest

from danlu.distances import DistanceError, between_halves
from danlu.distances.digits import digit_classes, digit_features
from danlu.distances.frechet import between

# As bench/digit_features.py measured them: halves of the data .71 ± .2, a Gaussian of each class .85, one
# Gaussian 5.3, shuffled pixels 74, noise 132, the mean image 127.


@pytest.fixture(scope="module")
def digits() -> tuple[np.ndarray, np.ndarray]:
    found = pytest.importorskip("sklearn.datasets").load_digits()
    return found.data / 16, found.target


def test_it_knows_the_digits_that_it_was_not_trained_on(digits) -> None:
    images, classes = digits
    rest = np.random.default_rng(0).permutation(1797)[1200:]
    assert np.mean(digit_classes(images[rest]) == classes[rest]) >= 0.96


def test_the_forms_of_images_are_one(digits) -> None:
    images = digits[0][:5]
    whole = digit_features(images)
    assert whole.shape == (5, 32) and whole.min() == 0
    for shape in ((5, 8, 8), (5, 1, 8, 8)):
        np.testing.assert_array_equal(digit_features(images.reshape(shape)), whole)
    np.testing.assert_allclose(digit_features(images[2:3]), whole[2:3], rtol=1e-13)


def test_distances_rank_what_is_more_and_less_like_digits(digits) -> None:
    images, classes = digits
    data, generator = digit_features(images), np.random.default_rng(1)

    def gaussian(of: np.ndarray) -> np.ndarray:
        drawn = generator.multivariate_normal(of.mean(axis=0), np.cov(of.T), size=len(of), method="eigh")
        return np.clip(drawn, 0, 1)

    floor = between_halves("halves", between, data)
    by_class = between(
        digit_features(np.concatenate([gaussian(images[classes == y]) for y in range(10)])), data
    )
    one = between(digit_features(gaussian(images)), data)
    shuffled = between(digit_features(generator.permuted(images, axis=1)), data)
    noise = between(digit_features(generator.random(images.shape)), data)
    assert 0 < floor.value < by_class + 2 * floor.error
    assert by_class < 2.5 * floor.value  # the bar for a good sampler
    assert one > 5 * floor.value and shuffled > 5 * one and noise > shuffled


@pytest.mark.parametrize(
    ("images", "said"),
    [
        (np.zeros((3, 63)), r"\(3, 63\)"),
        (np.full((3, 64), 16.0), "divide by 16"),
        (np.full((3, 64), np.nan), "divide by 16"),
    ],
)
def test_what_are_no_digits_gets_its_sentence(images: np.ndarray, said: str) -> None:
    with pytest.raises(DistanceError, match=said):
        digit_features(images)
