"""Lines that occur on both sides of the split are removed from the training text.

Licences, boilerplate and copied functions repeat across documents. A model that has seen such a
line in training is praised for remembering it, so long lines of the held-out text, and lines that
differ from them only in case, spacing or digits, do not take part in training.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable, Iterator
from itertools import compress

import numpy as np
from numpy.typing import NDArray

LONG = 32  # characters; shorter lines (`else:`, `return None`) are the language itself

_ASCII = str.maketrans({**{c: c.lower() for c in map(chr, range(128))}, **dict.fromkeys("0123456789", "0")})
_DIGIT = re.compile(r"\d")


def normalised_lines(text: str) -> list[str]:
    """The lines of ``text`` without the differences that do not count: case, spacing, digits."""
    # The two ways agree on ASCII, where the first is several times as fast.
    folded = text.translate(_ASCII) if text.isascii() else _DIGIT.sub("0", text.casefold())
    return [" ".join(line.split()) if len(line) >= LONG else "" for line in folded.splitlines()]


def _digests(lines: list[str]) -> bytes:
    """64-bit hashes, the same in every process (unlike ``hash``). A chance collision, one in
    10^11 per line for a million held-out lines, would remove a line too many."""
    return b"".join([hashlib.blake2b(line.encode(), digest_size=8).digest() for line in lines])


class HeldOutLines:
    """The long lines of the held-out documents, as 8 bytes each."""

    def __init__(self, documents: Iterable[Iterable[str]]) -> None:
        digests = bytearray()
        for pieces in documents:
            for piece in pieces:
                digests += _digests([line for line in normalised_lines(piece) if len(line) >= LONG])
        self._known = np.unique(np.frombuffer(digests, "<u8"))
        self.removed_lines = 0
        self.removed_bytes = 0

    def remove_from(self, pieces: Iterable[str]) -> Iterator[str]:
        """The pieces without the lines that are held out; counts them in ``removed_lines``."""
        for piece in pieces:
            lines = normalised_lines(piece)
            long = [place for place, line in enumerate(lines) if len(line) >= LONG]
            leaked = self._contains(_digests([lines[place] for place in long]))
            if leaked.any():
                kept = piece.splitlines(keepends=True)
                self.removed_lines += int(leaked.sum())
                for place in compress(long, leaked.tolist()):
                    self.removed_bytes += len(kept[place].encode())
                    kept[place] = ""
                piece = "".join(kept)
            if piece:
                yield piece

    def _contains(self, digests: bytes) -> NDArray[np.bool_]:
        keys = np.frombuffer(digests, "<u8")
        if not len(self._known):
            return np.zeros(len(keys), bool)
        place = np.searchsorted(self._known, keys)
        return self._known[np.minimum(place, len(self._known) - 1)] == keys
