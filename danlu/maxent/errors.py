"""What goes wrong with a maximum-entropy problem: one sentence that says what to mend."""

from __future__ import annotations

from danlu.files.errors import DanluError


class MaxentError(DanluError):
    """Features, counts or a model that do not fit together, or a question that they cannot answer."""
