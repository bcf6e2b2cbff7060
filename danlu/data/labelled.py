"""Rows with a class, as columns of numbers with names: of images, of a table, of the pairs of a text."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from danlu.data.dataset import prepare_text
from danlu.data.errors import DataError
from danlu.data.finite import Finite, Part
from danlu.data.tokenizers import Tokenizer
from danlu.spec.data import Bigrams, Text

Floats = NDArray[np.float64]
Side = tuple[Floats, Floats]
CONSTANT = "constant"
MOST_TOKENS = 2048  # of a vocabulary: the table of pairs has as many rows and columns


@dataclass(frozen=True, eq=False)
class Labelled:
    """``train`` and ``held_out``: x (rows, columns), and how often each class was seen with each row (rows,
    classes). ``columns`` and ``classes`` are their names; ``record``: as of every source."""

    spec: Any
    columns: tuple[str, ...]
    classes: tuple[str, ...]
    train: Side
    held_out: Side
    record: dict[str, Any]


def of_finite(source: Finite) -> Labelled:
    """Each number is a column, and there is a column of ones. ``pixel 3.5`` is in row 3 and column 5 of an
    image, from 1 on, ``pixel 3.5.2`` in its second channel of several; ``number 2`` is one of a point."""
    shape, classes = source.shape, source.classes
    if len(shape) == 3:
        shape = (*shape[1:], shape[0]) if shape[0] > 1 else shape[1:]
    name = "number" if len(shape) == 1 else "pixel"
    columns = [f"{name} {'.'.join(str(i + 1) for i in place)}" for place in np.ndindex(shape)]

    def side(part: Part) -> Side:
        arrays, labels = part
        if len(source.shape) == 3:
            arrays = arrays.transpose(0, 2, 3, 1)
        return with_constant(arrays.reshape(len(arrays), -1).astype(np.float64)), np.eye(classes)[labels]

    train, held_out = side(source.train), side(source.held_out)
    return Labelled(source.spec, (*columns, CONSTANT), source.names, train, held_out, source.record)


def prepare_bigrams(
    spec: Bigrams, *, cache: Path | None = None, progress: Callable[[str], None] | None = None
) -> Labelled:
    """The pairs of tokens of a corpus: a row for each token that occurs, which has a 1 in its own column.
    Raises as ``prepare_text``, and ``DataError`` for a large vocabulary."""
    text = Text(
        corpus=spec.corpus, tokenizer=spec.tokenizer, held_out=spec.held_out, text=spec.text, context=1
    )
    data = prepare_text(text, cache=cache, progress=progress)
    symbols = data.tokenizer.vocabulary
    if symbols > MOST_TOKENS:
        raise DataError(
            f"data.tokenizer = {spec.tokenizer} has {symbols:,} ids, whose pairs are too many for a table; "
            f"allowed: {MOST_TOKENS:,}, such as bytes or bpe:1024"
        )
    names = tuple(_name(data.tokenizer, i) for i in range(symbols))

    def side(ids: NDArray[Any]) -> Side:
        pairs = ids[:-1].astype(np.int64) * symbols + ids[1:]
        counts = np.bincount(pairs, minlength=symbols**2).reshape(symbols, symbols).astype(np.float64)
        there = np.flatnonzero(counts.sum(axis=1))
        return np.eye(symbols)[there], counts[there]

    sides = side(data.train.ids), side(data.held_out.ids)
    return Labelled(spec, tuple(f"after {name}" for name in names), names, *sides, data.record)


def with_constant(x: Floats) -> Floats:
    """``x`` and a column of ones."""
    return np.column_stack([x, np.ones(len(x))])


def _name(tokenizer: Tokenizer, token: int) -> str:
    return f"{token} {tokenizer.decode([token])!r}"
