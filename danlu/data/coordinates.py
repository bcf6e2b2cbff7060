"""Signals as coordinate data: where, and what is there. Pictures, a chirp, the signed distance of a curve.

Coordinates run from −1 to 1 each way and are the middles of equal cells. On an image the first goes down, the
second to the right.
"""

from __future__ import annotations

import hashlib
import importlib
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from importlib.machinery import ModuleSpec
from importlib.util import find_spec
from pathlib import Path
from typing import Any, NamedTuple, cast

import numpy as np
from numpy.typing import NDArray

from danlu.data.errors import DataError
from danlu.data.pictures import picture, pillow, why
from danlu.files.paths import expanded
from danlu.files.read import open_file, read_bytes
from danlu.spec import signals as specs
from danlu.spec.signals import CROP

Floats = NDArray[np.float64]
Made = tuple[Floats, Floats, Floats]  # values, gradients, Laplacians

_STREAM = 0x636F6F72  # "coor": keeps this random stream apart from others with the same seed
_CORNERS = {"china": (100, 200), "flower": (100, 200)}  # of the crop: down, right


class Part(NamedTuple):
    """Points of a signal, float32: ``coordinates`` [n, inputs], ``values`` [n, outputs], ``gradients`` [n,
    outputs, inputs] by the coordinates, ``laplacians`` [n, outputs], the sum of the second derivatives."""

    coordinates: NDArray[np.float32]
    values: NDArray[np.float32]
    gradients: NDArray[np.float32]
    laplacians: NDArray[np.float32]


@dataclass(frozen=True, eq=False)
class Signal:
    """A signal on a grid of ``shape``, in two parts: ``seen`` at even places, and the rest, ``held_out``.
    ``whole``: all points, the last place first. ``record`` says, in JSON, what it was made from."""

    spec: specs.Signals
    shape: tuple[int, ...]
    whole: Part
    even: NDArray[np.bool_]
    record: dict[str, Any]

    @property
    def seen(self) -> Part:
        """What training sees."""
        return Part(*(array[self.even] for array in self.whole))

    @property
    def held_out(self) -> Part:
        """What it does not see."""
        return Part(*(array[~self.even] for array in self.whole))

    def rows(self, seed: int, step: int, first: int, start: int, stop: int) -> Part:
        """Samples ``first + start`` to ``first + stop`` of the endless stream of seen points: whole epochs,
        each in an order of its own."""
        seen = np.flatnonzero(self.even)
        samples = range(first + start, first + stop)
        places = [_order(seed % 2**64, i // len(seen), len(seen))[i % len(seen)] for i in samples]
        chosen = seen[np.array(places, np.int64)]
        return Part(*(array[chosen] for array in self.whole))


@lru_cache(maxsize=4)  # only a memo: a batch may span two epochs
def _order(seed: int, epoch: int, count: int) -> NDArray[np.int64]:
    return np.random.default_rng([_STREAM, seed, epoch]).permutation(count)


def prepare_signal(spec: specs.Signals) -> Signal:
    """The signal of ``spec``. Raises ``DataError`` where scikit-learn or Pillow is missing, ``DataError`` or
    ``FileError`` for a picture that is none."""
    shape = (spec.points,) if isinstance(spec, specs.Chirp) else (spec.pixels, spec.pixels)
    coordinates = middles(shape)
    made = _MADE[type(spec)](spec, coordinates)
    even = np.ones(shape, bool)
    for places in np.indices(shape):
        even &= places % 2 == 0
    whole = Part(*(np.ascontiguousarray(array, np.float32) for array in (coordinates, *made)))
    of = {"file_sha256": _digest(read_bytes(expanded(spec.file)))} if isinstance(spec, specs.Picture) else {}
    record = {
        "corpus": spec.model_dump(mode="json"),
        "sha256": _digest(whole.values.tobytes()),
        "splits": {
            "train": {"points": int(even.sum()), **of},
            "held_out": {"points": int((~even).sum()), **of},
        },
    }
    return Signal(spec, shape, whole, even.ravel(), record)


def _digest(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def middles(shape: tuple[int, ...]) -> Floats:
    """The middles of the cells of a grid over [−1, 1]^d, row by row: [cells, d]."""
    ticks = [(2 * np.arange(count) + 1) / count - 1 for count in shape]
    return np.stack(np.meshgrid(*ticks, indexing="ij"), -1).reshape(-1, len(shape))


def _photograph(spec: specs.Photograph, coordinates: Floats) -> Made:
    down, right = _CORNERS[spec.of]
    crop = _pixels(spec.of)[down : down + CROP, right : right + CROP] / 255
    tile = CROP // spec.pixels
    image = crop.reshape(spec.pixels, tile, spec.pixels, tile, 3).mean((1, 3))
    return _of_image(image, 2 / spec.pixels)


def _of_image(image: Floats, step: float) -> Made:
    return image.reshape(-1, image.shape[-1]), _slopes(image, step), _curvatures(image, step)


def _slopes(image: Floats, step: float) -> Floats:
    """Gradients of an image [height, width, n] by central differences, one-sided at the edges:
    [height · width, n, 2]. Those of the seen pixels are differences of seen pixels alone."""
    slopes = np.stack([np.gradient(image, step, axis=axis) for axis in (0, 1)], -1)
    seen = image[::2, ::2]
    slopes[::2, ::2] = np.stack([np.gradient(seen, 2 * step, axis=axis) for axis in (0, 1)], -1)
    return slopes.reshape(-1, *slopes.shape[2:])


def _curvatures(image: Floats, step: float) -> Floats:
    """Laplacians of an image by second differences, [height · width, n]; at an edge those of the neighbour
    within. Those of the seen pixels are differences of seen pixels alone; NaN if there are fewer than three a
    side."""

    def laplacian(image: Floats, step: float) -> Floats:
        if min(image.shape[:2]) < 3:
            return np.full(image.shape, np.nan)
        seconds = (np.diff(image, 2, axis=axis) / step**2 for axis in (0, 1))
        pads = ((1, 1), (0, 0), (0, 0)), ((0, 0), (1, 1), (0, 0))
        down, right = (np.pad(second, pad, "edge") for second, pad in zip(seconds, pads, strict=True))
        return down + right

    found = laplacian(image, step)
    found[::2, ::2] = laplacian(image[::2, ::2], 2 * step)
    return found.reshape(-1, image.shape[-1])


def _pixels(name: str) -> NDArray[np.uint8]:
    """A photograph of scikit-learn, [427, 640, 3]. Nothing of scikit-learn is imported."""
    for module, package in (("sklearn", "scikit-learn"), ("PIL", "Pillow")):
        if find_spec(module) is None:
            raise DataError(
                "data.kind = photograph reads an image that comes with scikit-learn, with Pillow; "
                f"{package} is not installed; pip install 'danlu[images]'"
            )
    (folder,) = cast(ModuleSpec, find_spec("sklearn")).submodule_search_locations or [""]
    image: Any = importlib.import_module("PIL.Image")
    with open_file(Path(folder) / "datasets" / "images" / f"{name}.jpg") as file:
        return np.asarray(image.open(file, formats=["JPEG"]).convert("RGB"))


def _picture(spec: specs.Picture, coordinates: Floats) -> Made:
    library, ops = pillow("PIL.Image"), pillow("PIL.ImageOps")
    with open_file(expanded(spec.file)) as file:
        try:
            image = picture(file).convert("RGB")
        except Exception as error:  # Pillow raises whatever a damaged file leads it to
            raise DataError(
                f"data.file = {spec.file} cannot be read as PNG or JPEG ({why(error)}); name another file"
            ) from None
    if min(image.size) < spec.pixels:
        raise DataError(
            f"data.pixels = {spec.pixels} is more than {spec.file} has ({image.width} × {image.height}); "
            f"allowed: 4 to {min(image.size)}"
        )
    small = ops.fit(image, (spec.pixels, spec.pixels), method=library.Resampling.BOX)
    return _of_image(np.asarray(small) / 255, 2 / spec.pixels)


def _chirp(spec: specs.Chirp, coordinates: Floats) -> Made:
    """sin φ, φ' cos φ, and φ'' cos φ − φ'² sin φ: u runs from 0 to 1, and φ' = 2π(low + (high − low)u) by
    u."""
    u = (coordinates + 1) / 2
    phase = 2 * np.pi * (spec.low * u + (spec.high - spec.low) * u**2 / 2)
    slope = np.pi * (spec.low + (spec.high - spec.low) * u)  # by x: du = dx/2
    change = np.pi * (spec.high - spec.low) / 2
    curvature = change * np.cos(phase) - slope**2 * np.sin(phase)
    return np.sin(phase), (slope * np.cos(phase))[:, None], curvature


def _signed_distance(spec: specs.SignedDistance, coordinates: Floats) -> Made:
    """Where the distance has a kink, in the middle of a circle or on the diagonals of a box, the Laplacian is
    that beside it, or 0."""
    values, gradients, laplacians = {"circle": _circle, "box": _box, "ring": _ring}[spec.of](coordinates)
    return values[:, None], gradients[:, None], laplacians[:, None]


def _circle(x: Floats) -> Made:
    r = np.hypot(*x.T)
    return r - 0.5, x / np.maximum(r, np.finfo(float).tiny)[:, None], _one_over(r)


def _ring(x: Floats) -> Made:
    """|r − ½| − ⅙, from ⅓ to ⅔."""
    off, outwards, curvature = _circle(x)
    side = np.sign(off)
    return np.abs(off) - 1 / 6, side[:, None] * outwards, side * curvature


def _box(x: Floats) -> Made:
    """Outside, the distance from the nearest point of the square, round a corner as that of a circle; inside,
    the nearest side."""
    beyond = np.abs(x) - 0.5
    outside = np.maximum(beyond, 0)
    far = np.hypot(*outside.T)
    inside = far == 0
    nearest = np.eye(2)[beyond.argmax(-1)]
    direction = np.where(inside[:, None], nearest, outside / np.where(inside, 1, far)[:, None])
    round_a_corner = (outside > 0).all(-1)
    curvature = np.where(round_a_corner, _one_over(far), 0)
    return far + np.minimum(beyond.max(-1), 0), direction * np.sign(x), curvature


def _one_over(r: Floats) -> Floats:
    """1/r, the Laplacian of r in the plane; 0 at 0."""
    return np.divide(1, r, out=np.zeros_like(r), where=r > 0)


_MADE: dict[type, Callable[[Any, Floats], Made]] = {
    specs.Photograph: _photograph,
    specs.Picture: _picture,
    specs.Chirp: _chirp,
    specs.SignedDistance: _signed_distance,
}
