"""Specifications of a user's own images and arrays; read by ``danlu.data``."""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal

from pydantic import AfterValidator, Field

from danlu.spec.base import PositiveInt, Spec

Share = Annotated[float, Field(gt=0, lt=1)]
Shift = Annotated[int, Field(ge=0, le=4)]


def _channels(channels: int) -> int:
    if channels not in (1, 3):
        raise ValueError(f"{channels} is no number of channels of a picture; allowed: 1 (grey) or 3 (colour)")
    return channels


class ImageFolder(Spec):
    """The PNG and JPEG files in a ``folder`` and its subfolders (Pillow: ``pip install 'danlu[images]'``).

    An image is cropped to its middle square and resized to ``pixels`` × ``pixels``, grey (``channels`` 1) or
    in colour (3), from 0 to 1. Where each is in a subfolder, the subfolders of the folder are the classes.
    ``held_out``: the share kept for evaluation; near-identical images are on one side. ``shift``: move every
    training image by up to so many pixels each way, drawn anew for each update.
    """

    unit: ClassVar[str] = "image"
    size: ClassVar[int] = 1
    classed: ClassVar[str] = "put the images of each class in a subfolder of its own"
    kind: Literal["images"] = "images"
    folder: str
    pixels: Annotated[int, Field(ge=4, le=1024)] = 32
    channels: Annotated[int, AfterValidator(_channels)] = 3
    held_out: Share = 0.1
    shift: Shift = 0

    @property
    def shape(self) -> tuple[int, int, int]:
        """Channels, height, width."""
        return self.channels, self.pixels, self.pixels

    @property
    def name(self) -> str:
        """What it is called in a sentence."""
        return f"the folder {self.folder}"


def _readable(file: str) -> str:
    if not file.lower().endswith((".npy", ".npz", ".parquet")):
        raise ValueError(f"{file!r} is no array that can be read; allowed: a .npy, .npz or .parquet file")
    return file


class Arrays(Spec):
    """The rows of an array in a ``file``: .npy, .npz or .parquet.

    [n, d] are n points of d numbers; [n, height, width] and [n, channels, height, width] are images, which
    are divided by 255 where they are bytes (uint8). Of a .parquet file all columns are the numbers of a row.
    ``array``: which array of a .npz, or the column of lists of a .parquet (left out: the only one, or all
    columns). ``labels``: the classes, whole numbers or text: another array of the .npz, a column of the
    .parquet, or a .npy file. ``shape``: that rows are given, such as [1, 28, 28] (left out: as they are).
    ``held_out``: the share kept for evaluation; equal rows are on one side.
    """

    unit: ClassVar[str] = "row"
    size: ClassVar[int] = 1
    classed: ClassVar[str] = "name them by data.labels"
    kind: Literal["arrays"] = "arrays"
    file: Annotated[str, AfterValidator(_readable)]
    array: str | None = None
    labels: str | None = None
    shape: Annotated[tuple[PositiveInt, ...], Field(min_length=1, max_length=3)] | None = None
    held_out: Share = 0.1

    @property
    def name(self) -> str:
        """What it is called in a sentence."""
        return f"the file {self.file}"
