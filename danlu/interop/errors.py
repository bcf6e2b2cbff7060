"""The error of what cannot be taken over."""

from __future__ import annotations

from danlu.spec.errors import DanluError


class InteropError(DanluError):
    """A checkpoint with something that danlu has no part for, or a model that no family has."""
