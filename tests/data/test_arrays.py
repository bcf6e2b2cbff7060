"""Own arrays: what files and shapes are taken, what is held out, and the sentence of each mistake."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from danlu.data import DataError, Finite, prepare
from danlu.files.errors import FileError
from danlu.spec import Arrays

RANDOM = np.random.default_rng(0)
POINTS = RANDOM.normal(size=(40, 3))
LABELS = np.arange(40) % 4


def read(file: Path, **settings: Any) -> Finite:
    found: Finite = prepare(Arrays(file=str(file), **settings))
    return found


def whole(data: Finite) -> Any:
    """Rows and classes, sorted by the rows."""
    rows = np.concatenate([data.train[0], data.held_out[0]])
    classes = np.concatenate([data.train[1], data.held_out[1]])
    order = np.lexsort(rows.reshape(len(rows), -1).T)
    return rows[order], classes[order]


def as_npy(path: Path) -> dict[str, Any]:
    np.save(path / "x.npy", POINTS)
    np.save(path / "y.npy", LABELS)
    return {"file": path / "x.npy", "labels": str(path / "y.npy")}


def as_npz(path: Path) -> dict[str, Any]:
    np.savez(path / "both.npz", x=POINTS, y=LABELS)
    return {"file": path / "both.npz", "labels": "y"}


def as_columns(path: Path) -> dict[str, Any]:
    arrow, parquet = pytest.importorskip("pyarrow"), pytest.importorskip("pyarrow.parquet")
    table = arrow.table({"a": POINTS[:, 0], "b": POINTS[:, 1], "y": LABELS, "c": POINTS[:, 2]})
    parquet.write_table(table, path / "x.parquet")
    return {"file": path / "x.parquet", "labels": "y"}


def as_lists(path: Path) -> dict[str, Any]:
    arrow, parquet = pytest.importorskip("pyarrow"), pytest.importorskip("pyarrow.parquet")
    table = arrow.table({"x": POINTS.tolist(), "y": LABELS.astype(str), "other": LABELS})
    parquet.write_table(table, path / "x.parquet")
    return {"file": path / "x.parquet", "labels": "y", "array": "x"}


@pytest.mark.parametrize("made", [as_npy, as_npz, as_columns, as_lists])
def test_every_kind_of_file_gives_the_same(tmp_path: Path, made: Any) -> None:
    data = read(**made(tmp_path))
    rows, classes = whole(data)
    order = np.lexsort(POINTS.astype(np.float32).T)
    assert np.array_equal(rows, POINTS.astype(np.float32)[order])
    assert np.array_equal(classes, LABELS[order])
    assert (data.shape, data.classes, data.names) == ((3,), 4, ("0", "1", "2", "3"))
    assert len(data.held_out[0]) == data.record["splits"]["held_out"]["rows"] == 4


@pytest.mark.parametrize(
    ("array", "settings", "shape", "largest"),
    [
        (RANDOM.integers(0, 256, (20, 6, 5)).astype(np.uint8), {}, (1, 6, 5), 1.0),
        (RANDOM.integers(0, 256, (20, 3, 4, 4)).astype(np.uint8), {}, (3, 4, 4), 1.0),
        (RANDOM.integers(0, 256, (20, 16)).astype(np.uint8), {"shape": (4, 4)}, (1, 4, 4), 1.0),
        (RANDOM.integers(0, 256, (20, 16)).astype(np.uint8), {}, (16,), 255.0),
        (RANDOM.uniform(0, 7, (20, 4, 4)), {"shape": (16,)}, (16,), 7.0),
        (RANDOM.uniform(0, 7, 20), {}, (1,), 7.0),
        (RANDOM.uniform(size=20) < 0.5, {}, (1,), 1.0),
    ],
)
def test_shapes(tmp_path: Path, array: Any, settings: dict[str, Any], shape: Any, largest: float) -> None:
    """Images are in [0, 1] where they are bytes; other numbers stay."""
    np.save(tmp_path / "x.npy", array)
    data = read(tmp_path / "x.npy", **settings)
    rows, _ = whole(data)
    assert data.shape == shape and rows.dtype == np.float32
    assert 0.9 * largest <= rows.max() <= largest and rows.min() >= 0


def test_equal_rows_are_on_one_side(tmp_path: Path) -> None:
    np.save(tmp_path / "x.npy", np.repeat(POINTS, 3, 0))
    data = read(tmp_path / "x.npy", held_out=0.3)
    held = {row.tobytes() for row in data.held_out[0]}
    assert len(data.held_out[0]) == 36 and not held & {row.tobytes() for row in data.train[0]}


def test_an_epoch_has_every_row_once(tmp_path: Path) -> None:
    np.save(tmp_path / "x.npy", POINTS)
    data = read(tmp_path / "x.npy")
    count = len(data.train[0])
    read_rows = np.concatenate([data.rows(1, step, 9 * step, 0, 9)[0] for step in range(2 * count // 9)])
    for epoch in range(2):
        part = read_rows[epoch * count : (epoch + 1) * count]
        assert sorted(map(tuple, part)) == sorted(map(tuple, data.train[0]))


def changed(row: int, value: float) -> Any:
    made = POINTS.copy()
    made[row, 1] = value
    return made


@pytest.mark.parametrize(
    ("array", "settings", "said"),
    [
        (changed(7, np.nan), {}, r"row 7 \(the first is 0\): a number is missing, .* \(in 1 of 40 rows\)"),
        (changed(3, 1e300), {}, r"row 3 \(the first is 0\): .* not finite or beyond float32"),
        (np.array([{}, None] * 4), {}, "it holds objects, which are not unpickled"),
        (POINTS.astype(complex), {}, "holds complex128, no real numbers"),
        (np.array(["a", "b"] * 4), {}, "holds <U1, no real numbers"),
        (np.float64(3.0), {}, r"has shape \[\]; allowed: two or more rows"),
        (POINTS[:1], {}, r"has shape \[1, 3\]; allowed: two or more rows"),
        (POINTS[:, :0], {}, r"has shape \[40, 0\]"),
        (np.zeros((9, 8, 8, 3)), {}, r"rows of shape \[8, 8, 3\]; .*; move the channels there"),
        (np.zeros((9, 2, 2, 2, 2)), {}, r"rows of shape \[2, 2, 2, 2\]; allowed"),
        (np.ones((9, 3)), {}, "all 9 rows are equal"),
        (POINTS, {"shape": (2, 2)}, r"data.shape = \[2, 2\] has 4 numbers, and a row .* has 3"),
        (POINTS, {"array": "x"}, "data.array = x: .* holds one array"),
        (POINTS, {"labels": "y"}, "data.labels = y: .* allowed: a .npy file"),
        (POINTS, {"labels": "{}/short.npy"}, r"has shape \[3\], and .* has 40 rows"),
        (POINTS, {"labels": "{}/real.npy"}, "holds float64, no classes"),
    ],
)  # fmt: skip
def test_a_mistake_is_one_sentence(tmp_path: Path, array: Any, settings: dict[str, Any], said: str) -> None:
    np.save(tmp_path / "x.npy", array, allow_pickle=True)
    np.save(tmp_path / "short.npy", np.arange(3))
    np.save(tmp_path / "real.npy", POINTS[:, 0])
    settings = {k: v.format(tmp_path) if isinstance(v, str) else v for k, v in settings.items()}
    with pytest.raises(DataError, match=said) as told:
        read(tmp_path / "x.npy", **settings)
    assert "\n" not in str(told.value)


def test_names_within_a_file(tmp_path: Path) -> None:
    np.savez(tmp_path / "two.npz", points=POINTS, more=POINTS)
    with pytest.raises(DataError, match=r"holds the arrays points, more; data.array names the one to read"):
        read(tmp_path / "two.npz")
    with pytest.raises(DataError, match=r"data.labels = mare: .* holds points, more; did you mean more\?"):
        read(tmp_path / "two.npz", labels="mare")
    with pytest.raises(FileError, match=r"none\.npy is missing; restore it, or name another$"):
        read(tmp_path / "none.npy")
    with pytest.raises(DataError, match=r"data.array = pints: .* did you mean points\?"):
        read(tmp_path / "two.npz", array="pints")
    assert read(tmp_path / "two.npz", array="points").shape == (3,)


def test_columns_that_hold_no_numbers(tmp_path: Path) -> None:
    arrow, parquet = pytest.importorskip("pyarrow"), pytest.importorskip("pyarrow.parquet")
    file = tmp_path / "x.parquet"
    parquet.write_table(arrow.table({"a": [1.0, None, 3.0], "b": [1, 2, 3]}), file)
    with pytest.raises(DataError, match=r"row 1 \(the first is 0\): a number is missing"):
        read(file)
    parquet.write_table(arrow.table({"a": [1.0, 2.0], "name": ["x", "y"]}), file)
    with pytest.raises(DataError, match="column name holds string, no numbers"):
        read(file)
    parquet.write_table(arrow.table({"a": [[1.0], [2.0, 3.0]]}), file)
    with pytest.raises(DataError, match=r"the lists in .* are not of one length"):
        read(file, array="a")


@pytest.mark.parametrize("ending", ["npy", "npz", "parquet"])
@pytest.mark.parametrize("damage", ["empty", "text", "half", "one part"])
def test_a_damaged_file_is_a_sentence(tmp_path: Path, ending: str, damage: str) -> None:
    (tmp_path / "made").mkdir()
    made = {"npy": as_npy, "npz": as_npz, "parquet": as_columns}[ending](tmp_path / "made")
    whole = made["file"].read_bytes()
    place = {"npy": 8, "npz": 300, "parquet": len(whole) - 12}[ending]  # header, data, footer
    content = {
        "empty": b"",
        "text": b"words\n",
        "half": whole[: len(whole) // 2],
        "one part": whole[:place] + bytes(8) + whole[place + 8 :],
    }
    file = tmp_path / f"x.{ending}"
    file.write_bytes(content[damage])
    with pytest.raises(DataError, match="cannot be read") as told:
        read(file, labels="y" if ending == "npz" else None)
    assert "\n" not in str(told.value)
