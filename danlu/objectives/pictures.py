"""Points and pictures in characters, as a terminal shows them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

_SHADES = " .:-=+*#%@"
_CROWDS = " .:+*#@"


def shaded(images: Any, below: Sequence[str] = ()) -> str:
    """Images [n, height, width] from 0 to 1 side by side, two characters for a pixel, each with a text below
    it."""
    shades = (np.clip(images, 0, 1) * (len(_SHADES) - 1)).round().astype(int)
    rows = ["  ".join("".join(2 * _SHADES[s] for s in line) for line in row) for row in shades.swapaxes(0, 1)]
    if below:
        rows.append("  ".join(text.ljust(2 * shades.shape[2]) for text in below))
    return "\n".join(row.rstrip() for row in rows)


def scattered(points: Any, width: int = 60, height: int = 24) -> str:
    """Points of a plane [n, 2]: the darker, the more."""
    low, high = points.min(0), points.max(0)
    counts, *_ = np.histogram2d(
        points[:, 1], points[:, 0], (height, width), ((low[1], high[1]), (low[0], high[0]))
    )
    crowds = np.minimum(len(_CROWDS) - 1, counts).astype(int)
    return "\n".join("".join(_CROWDS[c] for c in row).rstrip() for row in crowds[::-1])
