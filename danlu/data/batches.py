"""From tokens to batches: training windows in random order, held-out windows in order.

A sample is a pure function of (tokens, context, seed, number), and updates read the samples in the order
of their numbers, however many at once. There is no loader whose state could be lost, so a run that resumes
after N samples reads exactly what it would have read.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from danlu.data.errors import DataError
from danlu.data.noise import noised
from danlu.data.tokens import Tokens

Ids = NDArray[np.int64]

_STREAM = 0x64617461  # "data": keeps this random stream apart from others with the same seed


class Batches:
    """Training samples over ``tokens``, numbered through, to be read in batches of any size.

    An epoch cuts the stream into ``windows`` consecutive windows of ``context`` tokens, from an
    offset drawn for that epoch, and visits each exactly once in an order drawn for that epoch; so
    the cuts fall elsewhere every time. A batch may begin in one epoch and end in the next.

    Where the tokens have a ``limit``, the samples are the first ``limit // context`` of those that there
    would be without it, again and again, each time in another order: as far as the limit reaches, a run
    reads what it would read without. Where they have ``noise``, that share of them is others.

    ``separator``: the id that begins a document; needed only by ``document_ids``.

    Raises DataError where the tokens do not fill one window.
    """

    def __init__(self, tokens: Tokens, *, context: int, seed: int, separator: int | None = None) -> None:
        if context < 1:
            raise ValueError(f"context {context} must be positive")
        if len(tokens) <= context:
            raise DataError(
                f"{tokens.path} holds {len(tokens)} tokens, too few for a context of {context}, which takes "
                f"{context + 1}: lower data.context or train on more text"
            )
        self.tokens, self.context, self.seed, self.separator = tokens, context, seed, separator
        # One window less than would fit leaves room for `context` offsets and more, up to the one at
        # which the last window ends with the last token: no token is left out of every epoch.
        self._all = max(1, (len(tokens) - context) // context)
        self._offsets = len(tokens) - self._all * context
        self.windows = self._all if tokens.limit is None else max(1, min(self._all, tokens.limit // context))
        # Only a memo: an order follows from (seed, epoch). A batch may span two, and both repeat the first.
        self._order = lru_cache(maxsize=3)(self._draw_order)

    def rows(self, first: int, count: int) -> tuple[Ids, Ids]:
        """Samples ``first`` (from 0) to ``first + count``: inputs and targets, int64 [count, context] each,
        the targets one token later."""
        if first < 0 or count < 0:
            raise ValueError(f"first {first} and count {count} must not be negative")
        out = np.empty((count, self.context + 1), np.int64)
        places = self.starts(first, count)
        begins = places.tolist()
        for row, begin in enumerate(begins):
            out[row] = self.tokens.ids[begin : begin + self.context + 1]
        # A file too large to be verified when it is opened may be damaged; on an accelerator such an
        # id would end in an error that names nothing.
        if out.size and int(out.max()) >= self.tokens.vocabulary:
            for row, begin in enumerate(begins):
                self.tokens.check(out[row], begin)
        if self.tokens.noise:
            noised(out, places, self.tokens.noise, self.tokens.ids)
        return out[:, :-1].copy(), out[:, 1:].copy()

    def starts(self, first: int, count: int) -> Ids:
        """The position in the token stream at which each of ``count`` samples begins: int64 [count]."""
        starts = np.empty(count, np.int64)
        for row in range(count):
            epoch, place = divmod(first + row, self.windows)
            offset, order = self._order(epoch)
            starts[row] = offset + int(order[place]) * self.context
        return starts

    def epoch(self, samples: int) -> float:
        """How many times the text has been seen after so many samples."""
        return samples / self.windows

    def document_ids(self, inputs: Ids) -> Ids:
        """``document_ids`` with this object's separator."""
        if self.separator is None:
            raise ValueError("Batches was built without a separator")
        return document_ids(inputs, self.separator)

    def _draw_order(self, epoch: int) -> tuple[int, NDArray[Any]]:
        if epoch and self.windows < self._all:  # the windows of the first epoch once more
            offset, order = self._order(0)
            return offset, self._random(epoch).permutation(order)
        random = self._random(epoch)
        offset = int(random.integers(self._offsets))
        return offset, random.permutation(self._all)[: self.windows]

    def _random(self, epoch: int) -> np.random.Generator:
        return np.random.default_rng([_STREAM, self.seed % 2**64, epoch])  # takes no negative numbers


def held_out_windows(
    tokens: Tokens, context: int, limit_tokens: int | None = None
) -> Iterator[tuple[Ids, Ids, NDArray[np.bool_]]]:
    """Consecutive windows in which every token after the first is predicted exactly once.

    Yields inputs and targets, int64 [context], and a mask, bool [context], that is False on the
    padding (id 0) at the end of the last window. ``limit_tokens``: predict only so many tokens, from the
    beginning.

    Raises DataError where there is nothing to predict.
    """
    predicted = len(tokens) - 1 if limit_tokens is None else min(len(tokens) - 1, limit_tokens)
    if context < 1 or predicted < 1:
        raise DataError(
            f"{tokens.path} holds {len(tokens)} tokens: with a context of {context} and a limit of "
            f"{limit_tokens} none is predicted"
        )
    return _windows(tokens, context, predicted)


def _windows(tokens: Tokens, context: int, predicted: int) -> Iterator[tuple[Ids, Ids, NDArray[np.bool_]]]:
    for start in range(0, predicted, context):
        count = min(context, predicted - start)
        span = tokens.ids[start : start + count + 1].astype(np.int64)
        tokens.check(span, start)
        inputs, targets = np.zeros(context, np.int64), np.zeros(context, np.int64)
        inputs[:count], targets[:count] = span[:-1], span[1:]
        yield inputs, targets, np.arange(context) < count


def document_ids(inputs: NDArray[Any], separator: int) -> Ids:
    """Numbers the documents within each row: int64, shaped like ``inputs`` [batch, context].

    A separator begins a document and counts to it. Tokens attend to one another under
    ``documents: separate`` only where their numbers agree.
    """
    return np.cumsum(inputs == separator, axis=-1, dtype=np.int64)
