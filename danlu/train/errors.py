"""What can go wrong in a run's folder, said in one sentence."""

from __future__ import annotations

from danlu.files.errors import DanluError


class RunError(DanluError):
    """Names the file or the field, what was found there, and what to do next."""


class Diverged(RunError):
    """A loss, a gradient or a weight is no longer finite: what a run came to, where nothing was broken.
    ``step``: the update of which it is told, counted from 1."""

    def __init__(self, said: str, step: int | None = None) -> None:
        super().__init__(said)
        self.step = step
