"""What goes wrong with data: one sentence that names the file and the place in it."""

from __future__ import annotations

from danlu.spec.errors import DanluError


class DataError(DanluError):
    """A corpus, tokenizer or token file that cannot be used as it is.

    The message is one sentence; it names the file and the place in it (a line, a row, a byte
    offset or a position) wherever there is one.
    """
