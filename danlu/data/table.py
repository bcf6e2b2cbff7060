"""A user's own table: numbers, words and a label in every row."""

from __future__ import annotations

import csv
import hashlib
import io
import math
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from danlu.data.array_files import numpy_arrays, parquet_columns
from danlu.data.errors import DataError
from danlu.data.labelled import CONSTANT, Floats, Labelled, with_constant
from danlu.files.paths import expanded
from danlu.files.read import LARGE, read_bytes
from danlu.spec.data import Table
from danlu.spec.errors import did_you_mean

Columns = Mapping[str, Sequence[Any]]
MOST_VALUES = 1000  # that a column of words may have


def prepare_table(spec: Table) -> Labelled:
    """The table's rows as numbers, a column of ones beside them, split by a hash of each row. Raises
    ``DataError`` or ``FileError``, which name the column and the row, for what is missing or no number."""
    path = expanded(spec.file)
    table = _read(path)
    lengths = {len(values) for values in table.values()}
    if lengths <= {0}:
        raise DataError(f"{path} holds no rows; save one row or more below the names of its columns")
    if len(lengths) != 1:
        raise DataError(f"{path} has columns of {sorted(lengths)} rows; each needs as many")
    labels = [str(value) for value in _column(path, table, spec.label, "label")]
    names = [name for name in table if name != spec.label] if spec.columns is None else list(spec.columns)
    if odd := [name for name in spec.categories if name not in names]:
        raise DataError(
            f"data.categories: {path} has no column {odd[0]!r}{did_you_mean(odd[0], names)}; it has "
            f"{', '.join(table)[:200]}"
        )
    values = {name: _column(path, table, name, "columns") for name in names}
    into, out = _sides(spec, path, [labels, *values.values()])
    blocks, columns = [], []
    for name, column in values.items():
        if name in spec.categories:
            block, words = _one_hot(path, name, [str(value) for value in column], into)
            columns += [f"{name} = {word}" for word in words]
        else:
            block = _numbers(path, name, column)[:, None]
            if spec.scaled:
                low = block[into].min()
                block = (block - low) / (float(block[into].max() - low) or 1.0)
            columns.append(name)
        blocks.append(block)
    x = with_constant(np.hstack([np.empty((len(labels), 0)), *blocks]))
    classes = _sorted(set(labels))
    if len(classes) < 2:
        raise DataError(
            f"{path}: the label {spec.label!r} is {classes[0]!r} in every row; it needs two classes"
        )
    if len(classes) > len(labels) / 2:
        raise DataError(
            f"{path}: the label {spec.label!r} has {len(classes):,} values in {len(labels):,} rows, as a "
            "measured number or a name has; take a column of classes, or sort its values into a few"
        )
    place = {word: i for i, word in enumerate(classes)}
    counts = np.eye(len(classes))[[place[word] for word in labels]]
    record = {
        "corpus": path.name,
        "tokenizer": None,
        "splits": {
            name: {"rows": len(side), "sha256": _hash(x[side], counts[side])}
            for name, side in (("train", into), ("held_out", out))
        },
    }
    sides = (x[into], counts[into]), (x[out], counts[out])
    return Labelled(spec, (*columns, CONSTANT), tuple(classes), *sides, record)


# --- files ------------------------------------------------------------------------------------------------


def _read(path: Path) -> Columns:
    return {".csv": _csv, ".parquet": _parquet, ".npz": _npz}[path.suffix.lower()](path)


def _csv(path: Path) -> Columns:
    try:
        text = read_bytes(path, LARGE).decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise DataError(
            f"{path} is not UTF-8 at byte {error.start}: convert it, for example with iconv"
        ) from None
    try:
        head, *rows = [row for row in csv.reader(io.StringIO(text, newline=""), strict=True) if row] or [[]]
    except csv.Error as error:
        raise DataError(f"{path} cannot be read as CSV: {error}") from None
    if twice := [name for name, count in Counter(head).items() if count > 1]:
        raise DataError(f"{path} has two columns {twice[0]!r}; each needs a name of its own")
    for number, row in enumerate(rows, 1):
        if len(row) != len(head):
            raise DataError(f"{path}: row {number} has {len(row)} values for {len(head)} columns; mend it")
    return dict(zip(head, zip(*rows, strict=True) if rows else [()] * len(head), strict=True))


def _parquet(path: Path) -> Columns:
    return {name: column.to_pylist() for name, column in parquet_columns(path).items()}


def _npz(path: Path) -> Columns:
    arrays = numpy_arrays(path)
    if not isinstance(arrays, dict):
        raise DataError(f"{path} holds one array without a name; save its columns by numpy.savez")
    found: dict[str, Sequence[Any]] = {}
    for name, array in arrays.items():
        if array.ndim == 1:
            found[name] = array.tolist()
        elif array.ndim == 2:
            found |= {f"{name}.{j}": column.tolist() for j, column in enumerate(array.T)}
        else:
            raise DataError(
                f"{path}: {name!r} has the shape {array.shape}; allowed: (rows,) or (rows, columns)"
            )
    return found


# --- columns ----------------------------------------------------------------------------------------------


def _column(path: Path, table: Columns, name: str, field: str) -> Sequence[Any]:
    """A column that has a value in every row."""
    if name not in table:
        raise DataError(
            f"data.{field} = {name}: {path} has no such column{did_you_mean(name, list(table))}; it has "
            f"{', '.join(table)[:200]}"
        )
    for row, value in enumerate(table[name], 1):
        if _missing(value):
            what, more = "column", ", or leave the column out of data.columns"
            if field == "label":
                what, more = "label", ""
            raise DataError(
                f"{path}: the {what} {name!r} is missing in row {row}; fill it in, or take the row out{more}"
            )
    return table[name]


def _missing(value: Any) -> bool:
    return value is None or (isinstance(value, str) and not value.strip()) or value != value


def _numbers(path: Path, name: str, column: Sequence[Any]) -> Floats:
    found = np.empty(len(column))
    for row, value in enumerate(column):
        try:
            found[row] = float(value)
        except (TypeError, ValueError, OverflowError):
            found[row] = math.nan
        if not math.isfinite(found[row]):
            raise DataError(
                f"{path}: the column {name!r} holds {str(value)[:40]!r} in row {row + 1}, which is no "
                "number; name it in data.categories if it holds words, or leave it out of data.columns"
            )
    return found


def _one_hot(path: Path, name: str, words: list[str], into: NDArray[np.int64]) -> tuple[Floats, list[str]]:
    """A column of zeros and ones for each word of the training rows; others have none."""
    known = _sorted({words[row] for row in into})
    if len(known) > MOST_VALUES:
        raise DataError(
            f"{path}: the column {name!r} has {len(known):,} values in the training rows; allowed in "
            f"data.categories: {MOST_VALUES:,}"
        )
    return np.array([[word == one for one in known] for word in words], np.float64), known


def _sorted(words: set[str]) -> list[str]:
    """Whole numbers by size, then words."""
    return sorted(words, key=lambda w: (not w.isdecimal(), int(w) if w.isdecimal() else 0, w))


def _sides(
    spec: Table, path: Path, columns: list[Sequence[Any]]
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Training and held-out rows, which depend on no order: equal rows are numbered among themselves."""
    seen: Counter[str] = Counter()
    digests = []
    for row in zip(*columns, strict=True):
        text = repr(tuple(map(str, row)))
        seen[text] += 1
        digests.append(hashlib.sha256(f"{seen[text]} {text}".encode()).digest())
    order = np.array(sorted(range(len(digests)), key=digests.__getitem__), np.int64)
    held_out = round(spec.held_out * len(order))
    if not 0 < held_out < len(order):
        raise DataError(
            f"data.held_out = {spec.held_out} of the {len(order)} rows of {path} leaves a side without rows; "
            "allowed: a share that leaves each at least one"
        )
    return np.sort(order[held_out:]), np.sort(order[:held_out])


def _hash(*arrays: Floats) -> str:
    return hashlib.sha256(b"".join(np.ascontiguousarray(array).tobytes() for array in arrays)).hexdigest()
