"""The split: which documents are held out, and the two sides as streams of text.

Documents are never cut, except where a corpus has only one. A document's side follows from its
content and that of the others, not from names or order, so identical documents never face each
other across the split.
"""

from __future__ import annotations

import hashlib
from array import array
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from itertools import islice, zip_longest

import numpy as np
from numpy.typing import NDArray

from danlu.data.errors import DataError
from danlu.data.sources import Document

TRAIN, HELD_OUT, EMPTY = 0, 1, 2

_NEAR = 1 << 16  # bytes: how far before the wanted place a line may end at which to cut


@dataclass(frozen=True)
class Split:
    """``sides``: uint8 [documents], TRAIN, HELD_OUT or EMPTY for each document in corpus order.

    ``cut``: where all documents are the same one, the byte at which it is divided: training text
    before, held-out text after. ``held_out``: the share of the bytes that is held out.
    """

    sides: NDArray[np.uint8]
    cut: int | None
    held_out: float

    @property
    def empty(self) -> int:
        """How many documents have no text."""
        return int(np.count_nonzero(self.sides == EMPTY))

    def take(self, documents: Iterable[Document], side: int) -> Iterator[Iterable[str]]:
        """The text of each document of one side, in pieces. The other side is not read."""
        for document, its_side in zip_longest(documents, self.sides.tolist()):
            if document is None or its_side is None:
                raise DataError(f"the corpus changed while it was read: it had {len(self.sides)} documents")
            if its_side == EMPTY:
                continue
            if self.cut is not None:
                yield _part(document.pieces, self.cut, side)
            elif its_side == side:
                yield document.pieces


def split_documents(documents: Callable[[], Iterable[Document]], share: float, what: str) -> Split:
    """Reads all documents once and decides which ones to hold out.

    In the order of their hashes, documents are held out until they make up ``share`` of the bytes.
    One that would carry the held-out text beyond twice its share is passed over; where that leaves
    none (few, large documents), the smallest is held out. A corpus of one document, however often
    it is repeated, is cut instead, at the last line end before its last ``share``.

    ``what`` names the corpus in errors. Raises DataError where there is too little text.
    """
    hashes, sizes = array("Q"), array("Q")
    for document in documents():
        digest, size = hashlib.blake2b(digest_size=8), 0
        for piece in document.pieces:
            data = piece.encode()
            digest.update(data)
            size += len(data)
        hashes.append(int.from_bytes(digest.digest(), "little"))
        sizes.append(size)
    keys, lengths = np.array(hashes, np.uint64), np.array(sizes, np.int64)
    sides = np.where(lengths == 0, EMPTY, TRAIN).astype(np.uint8)
    full = sides != EMPTY
    if not full.any():
        raise DataError(
            f"{what} is empty" if len(sides) < 2 else f"{what}: all {len(sides)} documents are empty"
        )
    distinct, group = np.unique(keys[full], return_inverse=True)
    if len(distinct) == 1:
        size, first = int(lengths[full][0]), int(np.argmax(full))
        cut = _place_to_cut(next(islice(documents(), first, None)), size, share)
        return Split(sides, cut, (size - cut) / size)
    bytes_of = np.bincount(group, lengths[full]).astype(np.int64)
    chosen = choose(bytes_of, share)
    sides[full] = np.where(chosen[group], HELD_OUT, TRAIN)
    return Split(sides, None, float(bytes_of[chosen].sum() / bytes_of.sum()))


def choose(sizes: NDArray[np.int64], share: float) -> NDArray[np.bool_]:
    """Which of several groups, in hash order, to hold out until they make up ``share`` of the ``sizes``;
    never all of two or more."""
    total = int(sizes.sum())
    target, most = share * total, min(2 * share * total, total - 1)
    chosen, held = np.zeros(len(sizes), bool), 0
    for place, size in enumerate(sizes.tolist()):
        if held >= target:
            break
        if held + size <= most:
            chosen[place] = True
            held += size
    if not held:
        chosen[int(np.argmin(sizes))] = True
    return chosen


def _place_to_cut(document: Document, size: int, share: float) -> int:
    """The byte at which to divide a document of ``size`` bytes so that ``share`` is held out: the
    end of a line where one ends within as much again before, or else the end of a character."""
    held_out = max(1, round(share * size))
    wanted, near, start, cut = size - held_out, min(held_out, _NEAR), 0, 0
    for piece in document.pieces:
        data = piece.encode()
        if start + len(data) > wanted:
            place = wanted - start
            if line := data.rfind(b"\n", max(0, place - near), place) + 1:
                place = line
            elif start and place < near:
                place = 0  # pieces begin where lines do
            while data[place] & 0xC0 == 0x80:
                place -= 1
            cut = start + place
            break
        start += len(data)
    if not 0 < cut < size:
        raise DataError(f"{document.name} is too short ({size} bytes) to hold out a part of it")
    return cut


def _part(pieces: Iterable[str], cut: int, side: int) -> Iterator[str]:
    start = 0
    for piece in pieces:
        data = piece.encode()
        place = min(max(cut - start, 0), len(data))
        if part := data[:place] if side == TRAIN else data[place:]:
            yield part.decode()
        start += len(data)
