"""Peak signal-to-noise ratio."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import ArrayLike

from danlu.distances.errors import DistanceError
from danlu.distances.result import Distance, tables


def psnr(made: ArrayLike, truth: ArrayLike, peak: float = 1.0) -> Distance:
    """−10 log₁₀(mean square error / peak²), dB, of (rows, dimensions): pixels with their channels, or images.

    What was made is clipped to 0 … ``peak`` first. The standard error is the delta method's over rows, which
    takes rows as independent: neighbouring pixels are not, images are. Infinite where nothing differs.
    """
    a, b = tables(made, truth)
    if a.shape != b.shape:
        raise DistanceError(f"there are {len(a)} rows for {len(b)}; give one for each")
    if not 0 < peak < math.inf:
        raise DistanceError(f"peak = {peak:g}; give the largest value that a pixel may have")
    squares = ((np.clip(a, 0.0, peak) - b) ** 2).mean(axis=1) / peak**2
    mean = float(squares.mean())
    how, counts = "delta method over rows", (len(a),)
    if mean == 0:
        return Distance("PSNR in dB", math.inf, 0.0, how, counts)
    spread = float(squares.std(ddof=1)) / math.sqrt(len(a)) if len(a) > 1 else math.nan
    return Distance("PSNR in dB", -10 * math.log10(mean), 10 / math.log(10) * spread / mean, how, counts)
