"""A user's own arrays: points or images out of .npy, .npz and Parquet files; nothing is unpickled."""

from __future__ import annotations

import importlib
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from danlu.data.array_files import numpy_arrays, parquet_columns
from danlu.data.errors import DataError
from danlu.data.finite import Finite, by_group, splits
from danlu.files.paths import expanded
from danlu.spec.errors import did_you_mean
from danlu.spec.finite import Arrays

_CHANNELS = (1, 2, 3, 4)  # of an image, by which its channels are told from its height and width


def prepare_arrays(spec: Arrays) -> Finite:
    """The rows of ``spec``. Raises ``DataError`` for a file that cannot be read, an array of objects or of a
    shape that is none of those allowed, numbers that are not finite, labels that are too many or too few."""
    path = expanded(spec.file)
    if path.suffix.lower() == ".parquet":
        numbers, labels = _parquet(spec, path)
    else:
        numbers, labels = _numpy(spec, path)
    rows = _rows(spec, numbers)
    names, classes = _classes(spec, labels, len(rows))
    _, group = np.unique(rows.reshape(len(rows), -1), axis=0, return_inverse=True)
    held_out = by_group(rows, group.reshape(-1), spec.held_out)
    if held_out is None:
        raise DataError(f"{spec.file}: all {len(rows):,} rows are equal, so none can be held out")
    record = {
        "corpus": spec.file,
        "shape": list(rows.shape[1:]),
        "classes": names,
        "tokenizer": None,
        "splits": splits(rows, classes, held_out, "rows"),
    }
    train, out = ((rows[side], classes[side]) for side in (~held_out, held_out))
    return Finite(spec, train, out, record, tuple(names))


def _numpy(spec: Arrays, path: Path) -> tuple[Any, Any]:
    """The numbers and, if there are any, the labels."""
    found = numpy_arrays(path)
    if not isinstance(found, Mapping):
        if spec.array is not None:
            raise DataError(f"data.array = {spec.array}: {spec.file} holds one array; leave data.array out")
        return found, None if spec.labels is None else _label_file(spec)
    inside = spec.labels in found
    if spec.labels is not None and not inside and not spec.labels.endswith(".npy"):
        _named(found, spec.labels, "labels", spec)
    rest = [name for name in found if name != spec.labels]
    if spec.array is None and len(rest) != 1:
        raise DataError(
            f"{spec.file} holds the arrays {', '.join(found) or '(none)'}; data.array names the one to read"
        )
    numbers = _named(found, rest[0] if spec.array is None else spec.array, "array", spec)
    if spec.labels is None:
        return numbers, None
    return numbers, found[spec.labels] if inside else _label_file(spec)


def _named(found: Mapping[str, Any], name: str, field: str, spec: Arrays) -> Any:
    if name not in found:
        hint = did_you_mean(name, found)
        raise DataError(f"data.{field} = {name}: {spec.file} holds {', '.join(found)}{hint}")
    return found[name]


def _label_file(spec: Arrays) -> Any:
    assert spec.labels is not None
    if not spec.labels.endswith(".npy"):
        raise DataError(f"data.labels = {spec.labels}: {spec.file} holds one array; allowed: a .npy file")
    return numpy_arrays(expanded(spec.labels))


def _parquet(spec: Arrays, path: Path) -> tuple[Any, Any]:
    columns = parquet_columns(path)
    labels = None
    if spec.labels is not None:
        labels = np.array(_named(columns, spec.labels, "labels", spec).to_pylist())
    if spec.array is not None:
        lists = _named(columns, spec.array, "array", spec).to_pylist()
        try:
            return np.array(lists, np.float64), labels
        except (ValueError, TypeError):
            raise DataError(
                f"data.array = {spec.array}: the lists in {spec.file} are not of one length, or of no numbers"
            ) from None
    wanted = [name for name in columns if name != spec.labels]
    types = importlib.import_module("pyarrow.types")
    of_numbers = types.is_integer, types.is_floating, types.is_boolean
    for name in wanted:
        kind = columns[name].type
        if not any(one(kind) for one in of_numbers):
            raise DataError(
                f"{spec.file}: column {name} holds {kind}, no numbers; write a file without it, or name it "
                "by data.labels or data.array"
            )
    if not wanted:
        raise DataError(f"{spec.file} has no column of numbers")
    return np.stack([columns[name].to_numpy().astype(np.float64) for name in wanted], 1), labels


def _rows(spec: Arrays, found: Any) -> NDArray[np.float32]:
    """float32 [n, …]."""
    if found.dtype.kind not in "biuf":
        raise DataError(f"{spec.file} holds {found.dtype}, no real numbers; convert them to float32")
    shape: tuple[int, ...] = found.shape[1:] or (1,)
    if found.ndim == 0 or len(found) < 2 or math.prod(shape) == 0:
        raise DataError(f"{spec.file} has shape {list(found.shape)}; allowed: two or more rows of numbers")
    if spec.shape is not None:
        if math.prod(spec.shape) != math.prod(shape):
            raise DataError(
                f"data.shape = {list(spec.shape)} has {math.prod(spec.shape):,} numbers, and a row of "
                f"{spec.file} has {math.prod(shape):,}"
            )
        shape = spec.shape
    if len(shape) == 2:
        shape = 1, *shape
    if len(shape) > 3 or (len(shape) == 3 and shape[0] not in _CHANNELS):
        last = len(shape) == 3 and shape[2] in _CHANNELS
        raise DataError(
            f"{spec.file} has rows of shape {list(shape)}; allowed: [numbers], [height, width], or "
            "[channels, height, width] with 1 to 4 channels"
            + ("; move the channels there, array.transpose(0, 3, 1, 2)" if last else "")
        )
    with np.errstate(over="ignore"):
        rows = found.reshape(len(found), *shape).astype(np.float32)
    if found.dtype == np.uint8 and len(shape) == 3:
        rows /= 255
    finite = np.isfinite(rows.reshape(len(rows), -1)).all(1)
    if not finite.all():
        first = int(np.argmin(finite))
        raise DataError(
            f"{spec.file}, row {first} (the first is 0): a number is missing, not finite or beyond float32 "
            f"(in {int((~finite).sum()):,} of {len(rows):,} rows); leave such rows out"
        )
    return rows


def _classes(spec: Arrays, labels: Any, rows: int) -> tuple[list[str], NDArray[np.int64]]:
    """The names of the classes, and the class of each row."""
    if labels is None:
        return [], np.zeros(rows, np.int64)
    labels = labels.reshape(-1) if labels.ndim == 2 and 1 in labels.shape else labels
    if labels.dtype.kind not in "biuU":
        raise DataError(
            f"data.labels = {spec.labels} holds {labels.dtype}, no classes; allowed: whole numbers or text"
        )
    if labels.shape != (rows,):
        raise DataError(
            f"data.labels = {spec.labels} has shape {list(labels.shape)}, and {spec.file} has {rows:,} rows; "
            "allowed: one label for each row"
        )
    known, classes = np.unique(labels, return_inverse=True)
    return [str(name) for name in known], classes.reshape(-1).astype(np.int64)
