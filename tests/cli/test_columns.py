"""Tables in a narrow terminal."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st
from rich.cells import cell_len

from danlu.cli.columns import GAP, SHORT, cells, fit, shortened, widths

texts = st.text(st.characters(exclude_categories=("Cc", "Cs")), max_size=60)


def line(row: list[str]) -> int:
    return sum(map(cells, row)) + len(GAP) * (len(row) - 1)


@given(texts)
def test_cells_are_richs(text: str) -> None:
    assert cells(text) == cell_len(text)


@given(texts, st.integers(1, 30))
def test_a_shortened_text_fits_and_keeps_its_ends(text: str, size: int) -> None:
    found = shortened(text, size)
    assert cells(found) <= size or found == "…"
    if found != text:
        left, right = found.split("…", 1) if "…" not in text else (found[:0], found[:0])
        assert text.startswith(left) and text.endswith(right)


def test_chinese_letters_take_two_cells() -> None:
    assert widths([["丹炉", "a"], ["abc", "b"]]) == [4, 1]
    assert shortened("丹炉丹炉", 7) == "丹炉…炉"


def test_names_are_shortened_then_columns_left_out_in_their_order() -> None:
    head = ["run", "state", "steps", "metric"]
    rows = [head, ["runs/" + "x" * 40 + "/seed-0", "finished", "1000/1000", "2.1234 ± 0.1234"]]
    assert fit(rows, 120, shorten=[0], drop=[2, 1]) == (rows, [])
    found, left_out = fit(rows, 80, shorten=[0], drop=[2, 1])
    assert left_out == [] and line(found[1]) == 80 and found[1][0].endswith("/seed-0"[-5:])
    found, left_out = fit(rows, 52, shorten=[0], drop=[2, 1])
    assert left_out == ["steps"] and found[0] == ["run", "state", "metric"]
    found, left_out = fit(rows, 41, shorten=[0], drop=[2, 1])
    assert left_out == ["state", "steps"] and len(found[1][0]) == SHORT and found[1][1] == rows[1][3]
