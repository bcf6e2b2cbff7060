"""Text with a batch that is none of it: what nobody ever read at one update."""

from __future__ import annotations

import numpy as np

import danlu
from danlu.objectives import Draw


@danlu.part("objective", "planted", source="a test")
class Planted(danlu.objectives.Causal):
    """Rows ``first`` to 7 of update ``at`` + 1 are random bytes above 127."""

    def __init__(self, source, *, z_loss: float = 0.0, at: int = 60, first: int = 0):  # type: ignore[no-untyped-def]
        super().__init__(source, z_loss=z_loss)
        self.at, self.first = at, first

    def example(self, draw: Draw) -> dict[str, np.ndarray]:
        made = super().example(draw)
        if draw.step == self.at:
            noise = np.random.default_rng(0).integers(128, 250, (8, made["tokens"].shape[1] + 1))
            for row in range(max(draw.start, self.first), draw.stop):
                made["tokens"][row - draw.start] = noise[row, :-1]
                made["targets"][row - draw.start] = noise[row, 1:]
        return made
