"""A user's own table: three kinds of file, one content; a sentence for what is missing or no number."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from danlu import spec
from danlu.data import prepare
from danlu.files.errors import DanluError
from danlu.spec import Table

HEAD = "size,colour,shape,kind"
ROWS = [(i / 4, "red" if i % 3 else "blue", "round", "yes" if i % 2 else "no") for i in range(20)]


def written(folder: Path, rows: list[tuple[object, ...]] = ROWS, head: str = HEAD) -> Path:
    lines = [head, *(",".join(map(str, row)) for row in rows)]
    (folder / "table.csv").write_text("\n".join(lines) + "\n")
    return folder / "table.csv"


def of(path: Path, **more: object) -> Table:
    settings = {"label": "kind", "categories": ("colour", "shape"), "held_out": 0.25}
    return Table(file=str(path), **{**settings, **more})  # type: ignore[arg-type]


def test_columns_have_names_and_words_a_column_each(tmp_path: Path) -> None:
    found = prepare(of(written(tmp_path), scaled=False))
    assert found.columns == ("size", "colour = blue", "colour = red", "shape = round", "constant")
    assert found.classes == ("no", "yes")
    (x, counts), (y, more) = found.train, found.held_out
    assert (len(x), len(y)) == (15, 5) and (found.train[1].sum(axis=1) == 1).all()
    rows = np.concatenate([np.column_stack([x, counts]), np.column_stack([y, more])])
    expected = [[a, b == "blue", b == "red", 1, 1, k == "no", k == "yes"] for a, b, _, k in ROWS]
    assert sorted(map(tuple, rows)) == sorted(map(tuple, np.array(expected, float)))


def test_numbers_go_from_0_to_1_over_the_training_rows(tmp_path: Path) -> None:
    plain, scaled = (prepare(of(written(tmp_path), scaled=s)) for s in (False, True))
    size = plain.train[0][:, 0]
    for side in ("train", "held_out"):
        (x, _), (y, _) = getattr(plain, side), getattr(scaled, side)
        np.testing.assert_allclose(y[:, 0], (x[:, 0] - size.min()) / np.ptp(size), rtol=1e-15)


def test_every_kind_of_file_says_the_same(tmp_path: Path) -> None:
    parquet = pytest.importorskip("pyarrow.parquet")
    arrow = pytest.importorskip("pyarrow")
    names = HEAD.split(",")
    columns = dict(zip(names, (list(column) for column in zip(*ROWS, strict=True)), strict=True))
    parquet.write_table(arrow.table(columns), tmp_path / "table.parquet")
    np.savez(tmp_path / "table.npz", **{name: np.array(column) for name, column in columns.items()})
    one = prepare(of(written(tmp_path)))
    for ending in ("parquet", "npz"):
        other = prepare(of(tmp_path / f"table.{ending}"))
        assert (other.columns, other.classes) == (one.columns, one.classes)
        assert other.record["splits"] == one.record["splits"]


def test_the_split_does_not_depend_on_the_order_of_rows(tmp_path: Path) -> None:
    rows = [*ROWS, *ROWS]  # equal rows, too
    one = prepare(of(written(tmp_path, rows)))
    other = prepare(of(written(tmp_path, rows[::-1])))
    for side in ("train", "held_out"):
        assert sorted(map(tuple, getattr(one, side)[0])) == sorted(map(tuple, getattr(other, side)[0]))


def test_an_array_of_columns_has_numbered_names(tmp_path: Path) -> None:
    np.savez(tmp_path / "t.npz", x=np.arange(12.0).reshape(6, 2), y=[1, 10, 2, 1, 10, 2])
    found = prepare(Table(file=str(tmp_path / "t.npz"), label="y"))
    assert found.columns == ("x.0", "x.1", "constant") and found.classes == ("1", "2", "10")


@pytest.mark.parametrize(
    ("rows", "more", "said"),
    [
        ([(1, "red", "round", ""), *ROWS], {}, "the label 'kind' is missing in row 1; fill it in, or take"),
        ([*ROWS, ("", "red", "round", "no")], {}, "the column 'size' is missing in row 21"),
        (ROWS, {"categories": ("shape",)}, "the column 'colour' holds 'blue' in row 1, which is no"),
        ([("inf", "red", "round", "no"), *ROWS], {}, "'size' holds 'inf' in row 1, which is no number"),
        (ROWS, {"label": "kinds"}, "data.label = kinds: .* has no such column.*did you mean kind"),
        (ROWS, {"columns": ("size", "colour", "shape", "width")}, "data.columns = width: .* has no such"),
        (ROWS, {"categories": ("colours",)}, "data.categories: .* has no column 'colours'"),
        ([row for row in ROWS if row[3] == "no"], {}, "the label 'kind' is 'no' in every row; it needs two"),
        ([*ROWS, (1, "red")], {}, "row 21 has 2 values for 4 columns"),
        ([], {}, "holds no rows; save one row or more"),
        (
            ROWS,
            {"label": "size", "columns": ("colour",), "categories": ("colour",)},
            "the label 'size' has 20 values in 20 rows, as a measured number",
        ),
        (ROWS[:2], {"held_out": 0.1}, "data.held_out = 0.1 of the 2 rows of .* leaves a side without rows"),
    ],
)  # fmt: skip
def test_bad_tables_get_a_sentence(tmp_path: Path, rows: list, more: dict, said: str) -> None:
    with pytest.raises(DanluError, match=said):
        prepare(of(written(tmp_path, rows), **more))


def test_bad_files_get_a_sentence(tmp_path: Path) -> None:
    with pytest.raises(DanluError, match=r"none\.csv is missing"):
        prepare(of(tmp_path / "none.csv"))
    for name, content, said in [
        ("t.csv", b"a,b\n\xff,1\n", "is not UTF-8 at byte 4"),
        ("t.csv", b"a,a\n1,2\n", "has two columns 'a'"),
        ("t.csv", b"", "holds no rows"),
        ("t.npz", b"PK\x03\x04 no zip", "cannot be read as .npz"),
        ("t.npz", b"nothing", "cannot be read as .npz"),
        ("t.parquet", b"nothing", "cannot be read as Parquet"),
    ]:
        (tmp_path / name).write_bytes(content)
        with pytest.raises(DanluError, match=said):
            prepare(of(tmp_path / name))
    with (tmp_path / "plain.npz").open("wb") as file:
        np.save(file, np.zeros((3, 2)))
    with pytest.raises(DanluError, match=r"plain\.npz holds one array without a name"):
        prepare(of(tmp_path / "plain.npz"))
    np.savez(tmp_path / "o.npz", x=np.array([object()]), allow_pickle=True)
    with pytest.raises(DanluError, match=r"cannot be read as \.npz"):
        prepare(of(tmp_path / "o.npz"))
    np.savez(tmp_path / "d.npz", x=np.zeros((2, 2, 2)))
    with pytest.raises(DanluError, match=r"'x' has the shape \(2, 2, 2\)"):
        prepare(of(tmp_path / "d.npz"))


def test_large_vocabularies_make_no_table_of_pairs(tmp_path: Path) -> None:
    from danlu.data import labelled

    (tmp_path / "t.txt").write_text("ab\n" * 50)
    few, labelled.MOST_TOKENS = labelled.MOST_TOKENS, 100
    try:
        with pytest.raises(DanluError, match=r"data\.tokenizer = bytes has 257 ids"):
            prepare(spec.Bigrams(corpus=str(tmp_path / "t.txt")))
    finally:
        labelled.MOST_TOKENS = few
