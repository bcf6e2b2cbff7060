"""Points and pictures in characters, as a terminal shows them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

_SHADES = " .:-=+*#%@"
_CROWDS = " .:+*#@"
_WIDTH = 110  # characters of a line of pictures


def shaded(images: Any, below: Sequence[str] = ()) -> str:
    """Images [n, channels, height, width] side by side, or points [n, numbers] as lines of pixels, each
    with a text below it.

    Two characters are a pixel, from 0 to 1, or from the least to the largest number where these are beyond.
    Colours become grey, and large images smaller.
    """
    images = np.asarray(images, np.float64)
    images = images.mean(1) if images.ndim == 4 else images[:, None]
    images = _smaller(images, -(-images.shape[2] // max(1, _WIDTH // len(images) // 2 - 1)))
    low, high = min(0.0, images.min()), max(1.0, images.max())
    inside = low >= -0.5 and high <= 1.5  # of a model, not quite within
    images = images.clip(0, 1) if inside else (images - low) / (high - low)
    shades = (images * (len(_SHADES) - 1)).round().astype(int)
    rows = ["  ".join("".join(2 * _SHADES[s] for s in line) for line in row) for row in shades.swapaxes(0, 1)]
    if below:
        rows.append("  ".join(text.ljust(2 * shades.shape[2]) for text in below))
    return "\n".join(row.rstrip() for row in rows)


def _smaller(images: NDArray[np.float64], factor: int) -> NDArray[np.float64]:
    """Each ``factor`` × ``factor`` pixels [n, height, width] are one, their mean; what is left over goes."""
    n, height, width = images.shape
    if factor <= 1:
        return images
    down = min(factor, height)
    cut = images[:, : height // down * down, : width // factor * factor]
    return cut.reshape(n, height // down, down, width // factor, factor).mean((2, 4))


def inked(images: Any, data: Any) -> NDArray[np.float64]:
    """Images so that 0 is black and 1 is white: as they are, or as their ``data`` reach beyond."""
    low, high = min(0.0, float(np.min(data, initial=0))), max(1.0, float(np.max(data, initial=1)))
    return (np.asarray(images, np.float64) - low) / (high - low)


def scattered(points: Any, width: int = 60, height: int = 24) -> str:
    """Points [n, numbers] by their first two numbers: the darker, the more. Of one number: how many there
    are."""
    if points.shape[1] == 1:
        counts, edges = np.histogram(points[:, 0], height)
        bars = (counts / counts.max() * width).round().astype(int)
        return "\n".join(f"{edge:9.3g} {'#' * bar}" for edge, bar in zip(edges, bars, strict=False))
    low, high = points.min(0), points.max(0)
    counts, *_ = np.histogram2d(
        points[:, 1], points[:, 0], (height, width), ((low[1], high[1]), (low[0], high[0]))
    )
    crowds = np.minimum(len(_CROWDS) - 1, counts).astype(int)
    lines = ["".join(_CROWDS[c] for c in row).rstrip() for row in crowds[::-1]]
    return "\n".join(lines if points.shape[1] == 2 else [*lines, first_two(points.shape[1])])


def first_two(numbers: int) -> str:
    """What a picture of points of more numbers shows."""
    return f"the first two of {numbers} numbers"
