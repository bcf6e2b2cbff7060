"""What goes wrong in the lab."""

from __future__ import annotations

from danlu.files.errors import DanluError


class LabError(DanluError):
    """A study that cannot be done, or not gone on with; its text is one sentence, or one a line."""
