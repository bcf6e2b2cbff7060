"""Random numbers by their place: any slice of an update's rows draws what the whole would.

Philox (Salmon et al. 2011) is a function of a key and a counter. The key is (seed, step, stream); every row
owns a range of the counter, so nothing depends on how rows are divided among passes and processes.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

_WORDS = 4  # of 64 bits that one count gives
TURN = 0.6180339887498949  # of the golden ratio: t + i · this, mod 1, is spread evenly however many i


class Counter:
    """The random numbers of update ``step``; ``stream`` keeps apart what an example draws for different ends.

    The methods return ``size`` numbers for each of the rows ``start`` to ``stop``: [stop − start, size].
    """

    def __init__(self, seed: int, step: int, stream: int = 0) -> None:
        self._key = np.random.SeedSequence([seed % 2**64, step, stream]).generate_state(2, np.uint64)

    def words(self, start: int, stop: int, size: int) -> NDArray[np.uint64]:
        """Uniform 64-bit words."""
        counts = -(-size // _WORDS)
        made: Any = np.random.Philox(key=self._key).advance(start * counts)
        rows, each = stop - start, counts * _WORDS
        return made.random_raw(rows * each).reshape(rows, each)[:, :size]

    def uniform(self, start: int, stop: int, size: int) -> NDArray[np.float64]:
        """Uniform in [0, 1), multiples of 2⁻⁵³."""
        whole = self.words(start, stop, size) >> np.uint64(11)
        return whole.astype(np.float64) * 2.0**-53

    def integers(self, start: int, stop: int, size: int, below: int) -> NDArray[np.int64]:
        """Uniform whole numbers from 0 to ``below`` − 1 (a bias of at most below/2⁵³)."""
        return (self.uniform(start, stop, size) * below).astype(np.int64)

    def normal(self, start: int, stop: int, size: int) -> NDArray[np.float64]:
        """Standard normal, by the inverse of the distribution function."""
        return normal(self.uniform(start, stop, size))


def normal(uniform: NDArray[np.float64]) -> NDArray[np.float64]:
    """Standard normal numbers of uniform ones in [0, 1), multiples of 2⁻⁵³, moved by half a step so that none
    is at an end."""
    from scipy.special import ndtri

    return np.asarray(ndtri(np.minimum(uniform + 2.0**-54, 1 - 2.0**-53)))
