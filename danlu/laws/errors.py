"""What goes wrong with laws and their points: one sentence that says what to mend."""

from __future__ import annotations

from danlu.spec.errors import DanluError


class LawError(DanluError):
    """Points that a law cannot be fitted to, or a question that a law cannot answer."""
