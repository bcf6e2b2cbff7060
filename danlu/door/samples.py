"""Samples from Python: an array that draws itself in a notebook and writes itself to files."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from danlu.draw import Displayed
from danlu.draw.page import Part

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from danlu.train import samples


class Samples(Displayed):
    """Points or images that a run generated.

    ``data``: float64 [count, …], scaled as the run's data are; NumPy takes the samples themselves as this
    array. ``classes``: int64 [count], of ``names``; None where the network is told none. ``way``: the first
    samples on their way from noise, [frames, some, …], where that was asked for. ``record``: how they were
    made.
    """

    def __init__(self, made: samples.Samples) -> None:
        self._made = made
        self.data: NDArray[np.float64] = made.data
        self.classes: NDArray[np.int64] | None = made.classes
        self.names: Sequence[str] = made.names
        self.way: NDArray[np.float64] | None = made.way
        self.record: dict[str, Any] = made.record()

    def save(self, path: str | os.PathLike[str], *, force: bool = False) -> None:
        """Write them by the ending of ``path``: .npy, .npz, .csv, .svg, .png (images) or .html, a page on
        which they move if there is a ``way``. Raises ``DanluError`` where the file is there already and danlu
        did not write it, unless ``force`` is set."""
        from danlu.train.sample_files import save

        save(self._made, Path(path), force=force)

    def display(self) -> Sequence[Part]:
        from danlu.train.sample_files import parts

        return parts(self._made)

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> NDArray[Any]:
        return self.data.astype(dtype or self.data.dtype, copy=bool(copy))

    def __len__(self) -> int:
        return len(self.data)

    def __repr__(self) -> str:
        made, what = self._made, "images" if self._made.pictures else "points"
        return f"{len(self):,} {what} of {made.run} in {made.steps} steps of {made.solver}, seed {made.seed}"
