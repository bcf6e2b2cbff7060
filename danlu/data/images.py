"""Small images that come with a package: nothing is downloaded."""

from __future__ import annotations

import gzip
import hashlib
from importlib import resources

import numpy as np
from numpy.typing import NDArray

from danlu.data.counter import Counter
from danlu.data.errors import DataError
from danlu.data.finite import Finite, Part
from danlu.spec.data import Digits
from danlu.spec.finite import ImageFolder

_SIZE, _SHADES = 8, 16
_STREAM = 0x696D6167  # "imag": keeps this random stream apart from others with the same seed


class Images(Finite):
    """Images, float32 [n, channels, height, width] from 0 to 1, and their classes."""

    spec: Digits | ImageFolder

    def rows(self, seed: int, step: int, first: int, start: int, stop: int) -> Part:
        """As of any finite set; what is moved depends on (seed, step, row) alone."""
        images, classes = super().rows(seed, step, first, start, stop)
        if self.spec.shift:
            moves = Counter(seed, step, _STREAM).integers(start, stop, 2, 2 * self.spec.shift + 1)
            images = _moved(images, moves - self.spec.shift)
        return images, classes


def prepare_digits(spec: Digits) -> Images:
    """The digits of scikit-learn, split by the hash of each image. Raises ``DataError`` where the package
    is missing."""
    try:
        packed = (resources.files("sklearn") / "datasets" / "data" / "digits.csv.gz").read_bytes()
    except (ModuleNotFoundError, FileNotFoundError):
        raise DataError(
            "data.kind = digits reads the images that come with scikit-learn, which is not installed; "
            "pip install 'danlu[images]'"
        ) from None
    table = np.loadtxt(gzip.decompress(packed).decode().splitlines(), delimiter=",", dtype=np.int64)
    pixels, classes = table[:, :-1].astype(np.uint8), table[:, -1]
    images = (pixels.reshape(-1, 1, _SIZE, _SIZE) / _SHADES).astype(np.float32)
    order = np.argsort([hashlib.sha256(row.tobytes()).digest() for row in pixels], kind="stable")
    out, into = np.split(order, [round(spec.held_out * len(order))])
    sides = {"train": np.sort(into), "held_out": np.sort(out)}
    record = {
        "corpus": "digits",
        "sha256": hashlib.sha256(table.tobytes()).hexdigest(),
        "tokenizer": None,
        "splits": {name: {"images": len(side)} for name, side in sides.items()},
    }
    train, held_out = ((images[side], classes[side]) for side in sides.values())
    if spec.label_noise:
        train = train[0], _mistaken(train[1], spec.label_noise, spec.classes)
    return Images(spec, train, held_out, record, tuple(map(str, range(spec.classes))))


def _mistaken(classes: NDArray[np.int64], share: float, count: int) -> NDArray[np.int64]:
    """``classes`` [n], so large a share of them replaced by one of the ``count`` − 1 others each."""
    random = np.random.default_rng(_STREAM)
    found = classes.copy()
    wrong = random.permutation(len(found))[: round(share * len(found))]
    found[wrong] = (found[wrong] + random.integers(1, count, len(wrong))) % count
    return found


def _moved(images: NDArray[np.float32], moves: NDArray[np.int64]) -> NDArray[np.float32]:
    """Each image moved by its (down, right) pixels; what comes in is empty."""
    edge = int(np.abs(moves).max())
    wide = np.pad(images, ((0, 0), (0, 0), (edge, edge), (edge, edge)))
    height, width = images.shape[2:]
    down, right = (edge - moves).T[:, :, None]
    rows, columns = down + np.arange(height), right + np.arange(width)
    each = np.arange(len(images))[:, None, None]
    return wide[each, :, rows[:, :, None], columns[:, None, :]].transpose(0, 3, 1, 2)
