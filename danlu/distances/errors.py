"""What goes wrong with two samples: one sentence that says what to mend."""

from __future__ import annotations

from danlu.files.errors import DanluError


class DistanceError(DanluError):
    """Samples that cannot be compared."""
