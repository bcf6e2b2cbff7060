"""Features of 8×8 digits, for the Fréchet distance: a fixed network, whose weights are part of danlu.

A perceptron 64-64-32-10, trained once on 1,200 of scikit-learn's digits by ``bench/digit_features.py``. Its
features are the 32 values before the last layer. Another network would give other distances: compare only
within these. Fréchet distances of 1,797 images to the data: halves of the data .71 ± .2 (898 images), a
Gaussian of each class .85, one Gaussian 5.3, shuffled pixels 74, the mean image 127, uniform noise 132.
"""

from __future__ import annotations

from functools import lru_cache
from importlib import resources

import numpy as np
from numpy.typing import ArrayLike, NDArray

from danlu.distances.errors import DistanceError
from danlu.distances.result import Array

WEIGHTS = "digit-features.safetensors"
PIXELS = 64


def digit_features(images: ArrayLike) -> Array:
    """(n, 32) float64, of images from 0 to 1, (n, 64) or (n, 8, 8) or (n, 1, 8, 8). Raises DistanceError."""
    values = np.asarray(images, dtype=np.float64)
    if values.ndim < 2 or values[0].size != PIXELS:
        raise DistanceError(f"images have the shape {values.shape}; give (n, 64) or (n, 8, 8)")
    if not np.isfinite(values).all() or values.min() < -1 or values.max() > 2:
        raise DistanceError(
            f"pixels go from {values.min():g} to {values.max():g}; digits go from 0 to 1, so divide by 16"
        )
    hidden = values.reshape(len(values), PIXELS)
    for matrix, bias in _layers()[:-1]:
        hidden = np.maximum(hidden @ matrix + bias, 0.0)
    return hidden


def digit_classes(images: ArrayLike) -> NDArray[np.intp]:
    """The class, 0 to 9, that the network sees in each image, (n,)."""
    matrix, bias = _layers()[-1]
    return np.argmax(digit_features(images) @ matrix + bias, axis=1)


@lru_cache(maxsize=1)
def _layers() -> list[tuple[Array, Array]]:
    from safetensors.numpy import load

    found = load((resources.files("danlu") / "catalog" / WEIGHTS).read_bytes())
    count = len(found) // 2
    return [(found[f"{i}.weight"].astype(float), found[f"{i}.bias"].astype(float)) for i in range(count)]
