"""Reading PNG and JPEG files with Pillow."""

from __future__ import annotations

import importlib
import warnings
from typing import Any

import numpy as np

from danlu.data.errors import DataError


def picture(file: Any) -> Any:
    """The image in an open file as it is looked at, as one of Pillow: turned as its camera says, on white, in
    8 bits. Raises whatever a damaged file leads Pillow to; ``why`` tells it."""
    library, ops = pillow("PIL.Image"), pillow("PIL.ImageOps")
    with warnings.catch_warnings():
        warnings.simplefilter("error", library.DecompressionBombWarning)
        warnings.simplefilter("ignore", UserWarning)  # about damaged notes that a camera left
        image = library.open(file, formats=["PNG", "JPEG"])
        image.load()
    image = ops.exif_transpose(image)
    if image.mode.startswith("I"):  # 16 bits, which convert would cut off at 255
        image = library.fromarray((np.asarray(image) // 257).clip(0, 255).astype(np.uint8))
    if image.has_transparency_data:
        image = image.convert("RGBA")
        image = library.alpha_composite(library.new("RGBA", image.size, "white"), image)
    return image


def why(error: Exception) -> str:
    """What keeps a file from being read as an image, in a few words."""
    if type(error).__name__ == "UnidentifiedImageError":
        return "no image"
    if type(error).__name__.startswith("DecompressionBomb"):
        return "too many pixels"
    return str(error).splitlines()[0][:80] if str(error) else type(error).__name__


def pillow(module: str) -> Any:
    """A module of Pillow. Raises ``DataError`` where it is missing."""
    try:
        return importlib.import_module(module)
    except ImportError:
        raise DataError(
            "PNG and JPEG files are read with Pillow, which is not installed; pip install 'danlu[images]'"
        ) from None
