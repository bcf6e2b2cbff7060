"""The same points in every kind of file are the same points."""

from __future__ import annotations

import gzip
import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from danlu.laws import LawError, read
from danlu.laws.files.separated import separated

ROWS = [(1_250_000, 25_000_000, 4.125), (2_500_000, 50_000_000, 3.5), (5_000_000, 100_000_000, 3.25)]
NAMES = ("params", "tokens", "val_loss")


def same(path: Path, **options: Any) -> None:
    found = read(path, **options)
    for name, column in zip(("n", "d", "loss"), zip(*ROWS, strict=True), strict=True):
        assert found.points[name].tolist() == pytest.approx(list(column), rel=1e-12)


def lines(separator: str, heading: tuple[str, ...] = NAMES) -> str:
    return "\n".join(separator.join(map(str, row)) for row in (heading, *ROWS)) + "\n"


@pytest.mark.parametrize("separator", [",", ";", "\t", "|", " ", "   ", " | ", ", "])
@pytest.mark.parametrize("name", ["points.csv", "points.txt", "points.dat"])
def test_separators(tmp_path: Path, separator: str, name: str) -> None:
    (tmp_path / name).write_text(lines(separator))
    same(tmp_path / name)


@pytest.mark.parametrize(
    "text",
    [
        "\ufeff" + lines(","),
        lines(",").replace("\n", "\r\n"),
        "# runs of spring\n#\n" + lines(","),
        "# params,tokens,val_loss\n" + lines(",").split("\n", 1)[1],
        "#" + lines(","),
        "Results of spring\n\n" + lines(","),
        "sep=;\n" + lines(";"),
        lines(",").replace("\n2500000", "\n# a comment\n2500000"),
        ",params,tokens,val_loss\n" + "".join(f"{i},{n},{d},{x}\n" for i, (n, d, x) in enumerate(ROWS)),
        lines(",").replace("\n", ",\n"),
        '"params","tokens","val_loss"\n' + "".join(f'"{n:,}","{d:,}","{x}"\n' for n, d, x in ROWS),
        "params;tokens;val_loss\n" + "".join(f"{n:,};{d:,};{x}\n".replace(",", "'") for n, d, x in ROWS),
        lines(";").replace(".", ","),
        "params;tokens;val_loss\n"
        + "".join(f"{n:,};{d:,}".replace(",", ".") + f";{x}\n".replace(".", ",") for n, d, x in ROWS),
        "| params | tokens | val_loss |\n|---|---:|:--|\n"
        + "".join(f"| {n} | {d} | {x} |\n" for n, d, x in ROWS),
        "Model Size (M);Tokens (B);loss (nats)\n" + "".join(f"{n / 1e6};{d / 1e9};{x}\n" for n, d, x in ROWS),
        "params,tokens,val_loss\n" + "".join(f"{n / 1e6}M,{d / 1e9} B,{x}\n" for n, d, x in ROWS),
    ],
)
def test_habits(tmp_path: Path, text: str) -> None:
    (tmp_path / "points.csv").write_text(text, encoding="utf-8", newline="")
    same(tmp_path / "points.csv")


def test_encodings_and_packing(tmp_path: Path) -> None:
    (tmp_path / "points.csv").write_bytes(lines("\t").encode("utf-16"))
    same(tmp_path / "points.csv")
    (tmp_path / "points.csv.gz").write_bytes(gzip.compress(lines(",").encode()))
    same(tmp_path / "points.csv.gz")


def test_what_unpacks_without_end_is_refused(tmp_path: Path) -> None:
    (tmp_path / "points.csv.gz").write_bytes(gzip.compress(bytes(65 << 20)))
    with pytest.raises(Exception, match="unpacks to more than the 64 MiB allowed"):
        read(tmp_path / "points.csv.gz")


OBJECTS = [dict(zip(NAMES, row, strict=True)) for row in ROWS]
LISTS = {name: list(column) for name, column in zip(NAMES, zip(*ROWS, strict=True), strict=True)}


@pytest.mark.parametrize(
    "value",
    [
        OBJECTS,
        LISTS,
        {"runs": OBJECTS, "version": 1},
        {"schema": {"fields": []}, "data": OBJECTS},
        {"columns": NAMES, "index": [0, 1, 2], "data": ROWS},
        {name: {str(i): x for i, x in enumerate(column)} for name, column in LISTS.items()},
        {f"run {i}": row for i, row in enumerate(OBJECTS)},
        [NAMES, *ROWS],
        {"rows": [{"row_idx": i, "row": row} for i, row in enumerate(OBJECTS)]},
        [{"config": {"n_params": n}, "summary": {"tokens": d, "eval/loss": x}} for n, d, x in ROWS],
        [{name: str(x) for name, x in row.items()} for row in OBJECTS],
    ],
)
def test_json(tmp_path: Path, value: Any) -> None:
    (tmp_path / "points.json").write_text(json.dumps(value))
    same(tmp_path / "points.json")


@pytest.mark.parametrize("orient", ["records", "columns", "index", "split", "table", "values"])
def test_what_pandas_writes(tmp_path: Path, orient: str) -> None:
    pandas = pytest.importorskip("pandas")
    path = tmp_path / "points.json"
    pandas.DataFrame(OBJECTS).to_json(path, orient=orient)
    if orient != "values":
        return same(path)
    with pytest.raises(LawError, match="holds no table"):  # there are no names in it
        read(path)


def test_json_lines_by_another_name(tmp_path: Path) -> None:
    (tmp_path / "points.json").write_text("\n".join(map(json.dumps, OBJECTS)))
    same(tmp_path / "points.json")


def test_a_chart_of_weights_and_biases(tmp_path: Path) -> None:
    """Steps in rows, three columns for each run; the last value of each counts."""
    header, rows = ["Step"], [["1"], ["2"], ["3"]]
    for i, (_, _, loss) in enumerate(ROWS):
        name = f"run - {i} - eval/loss"
        header += [name, f"{name}__MIN", f"{name}__MAX"]
        for place, row in enumerate(rows):
            cell = str(loss + 2 - place) if place < 2 or i else ""  # the first run ended at step 2
            row += [cell, "0", "9"]
    path = tmp_path / "chart.csv"
    path.write_text("\n".join(",".join(f'"{cell}"' for cell in row) for row in [header, *rows]))
    found = read(path, wanted=("loss", "s"))
    assert found.points["loss"].tolist() == [ROWS[0][2] + 1, ROWS[1][2], ROWS[2][2]]
    assert found.points["s"].tolist() == [2, 3, 3]
    assert found.texts("run") == ["run - 0", "run - 1", "run - 2"]
    assert any("the last value of each of 3 runs" in note for note in found.notes)
    with pytest.raises(
        LawError, match="such as gpt-70M; or export the table of the runs, with columns of param"
    ):
        read(path)


cells = st.text(st.characters(exclude_categories=("Cs", "Cc")), max_size=6).map(str.strip)


@settings(max_examples=50)
@given(st.sampled_from(",;\t|"), st.lists(st.tuples(cells, cells, cells), min_size=2, max_size=6))
def test_quoted_cells_are_kept_whatever_they_hold(separator: str, rows: list[tuple[str, ...]]) -> None:
    quoted = [separator.join('"' + cell.replace('"', '""') + '"' for cell in row) for row in rows]
    table = separated(Path("x.csv"), separator.join(("one", "two", "three")) + "\n" + "\n".join(quoted))
    kept = [row for row in rows if any(row) and not row[0].startswith("#")]
    assert list(zip(*table.columns.values(), strict=True)) == kept
