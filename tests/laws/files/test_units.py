"""Numbers and units: what is written in any usual way is read back; what is none is refused."""

from __future__ import annotations

import math
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from danlu.laws import LawError
from danlu.laws.files.units import OURS, Unit, blank, decimal_mark, number, unit
from danlu.laws.files.units import given as asked

SCALES = {"k": 3, "M": 6, "B": 9, "G": 9, "T": 12, " million": 6, " billion": 9, "bn": 9, " trillion": 12}
whole = st.integers(0, 10**15)
powers = st.integers(-30, 30)


def grouped(value: int, mark: str) -> str:
    return f"{value:,}".replace(",", mark)


@settings(max_examples=50)
@given(whole, st.integers(0, 999_999), st.sampled_from([",", "'", " ", "\u00a0", "\u202f", "_", ""]))
def test_thousands_with_a_decimal_point(value: int, rest: int, mark: str) -> None:
    assert number(f"{grouped(value, mark)}.{rest:06}") == float(f"{value}.{rest:06}")


@settings(max_examples=50)
@given(whole, st.integers(0, 999_999), st.sampled_from([".", "'", " ", "\u00a0", ""]))
def test_thousands_with_a_decimal_comma(value: int, rest: int, mark: str) -> None:
    text = f"{grouped(value, mark)},{rest:06}"
    assert decimal_mark([text]) == ","
    assert number(text, ",") == float(f"{value}.{rest:06}")


@given(st.floats(allow_nan=False, allow_infinity=False))
def test_what_python_writes(value: float) -> None:
    assert number(repr(value)) == value
    assert number(value) == value
    if value == 0 or 1e-5 < abs(value) < 1e15:
        assert number(repr(value).replace(".", ","), ",") == value


@given(
    st.integers(1, 9999), powers, st.sampled_from(["{}e{}", "{}E{}", "{} × 10^{}", "{}x10^{}", "{}*10**{}"])
)
def test_powers_of_ten(value: int, power: int, form: str) -> None:
    mantissa = f"{value / 100:.2f}"
    assert number(form.format(mantissa, power)) == float(f"{mantissa}e{power}")


def test_raised_figures_and_a_bare_power() -> None:
    assert number("5.76×10²³") == 5.76e23 and number("6·10⁻³") == 6e-3
    assert number("10^18") == number("10**18") == 1e18


@settings(max_examples=50)
@given(st.integers(1, 99_999), st.sampled_from(sorted(SCALES)), st.sampled_from(["", "~", "≈"]))
def test_suffixes(value: int, suffix: str, about: str) -> None:
    text = f"{about}{value / 100:.2f}{suffix}"
    assert number(text) == pytest.approx(value / 100 * 10.0 ** SCALES[suffix], rel=1e-15)
    with_comma = text.replace(".", ",")
    assert number(with_comma, ",") == number(text)


@pytest.mark.parametrize(
    ("text", "of", "value"),
    [
        ("1e18 FLOPs", "c", 1e18),
        ("5.5 EFLOP", "c", 5.5e18),
        ("3 ZFLOPs", "c", 3e21),
        ("8.6 PF-days", "c", 8.6e15 * 86400),
        ("1 petaflop/s-day", "c", 1e15 * 86400),
        ("2 TFLOP/s-hours", "c", 2e12 * 3600),
        ("1.4 T tokens", "d", 1.4e12),
        ("1.4T tokens", "d", 1.4e12),
        ("70M params", "n", 7e7),
        ("25 %", "accuracy", 0.25),
        ("2.5 nats", "loss", 2.5),
        ("3 bits", "loss", 3 * math.log(2)),
        ("70M params", "d", None),
        ("1.4T tokens", "n", None),
        ("3 GFLOP/s", "c", None),
        ("25 %", "loss", None),
    ],
)
def test_cells_with_units(text: str, of: str, value: float | None) -> None:
    found = number(text, of=of)
    assert found == (None if value is None else pytest.approx(value, rel=1e-14))


@pytest.mark.parametrize(
    "text", ["4.2X", "1.2.3", "1,23", "12,34,567", "1e", "e9", "M", "2 4", "0x10", "--1", "1-2"]
)
def test_no_numbers(text: str) -> None:
    assert number(text) is None


@given(st.text(max_size=12))
def test_any_text_is_a_number_or_none(text: str) -> None:
    for mark in ".,":
        found = number(text, mark)
        assert found is None or isinstance(found, float)


@pytest.mark.parametrize(
    "value", [None, "", " ", "-", "—", "NA", "n/a", "#N/A", "NaN", "None", "null", math.nan]
)
def test_blanks(value: Any) -> None:
    assert blank(value)


@pytest.mark.parametrize("value", [0, False, "0", "nano", "inf", math.inf])
def test_no_blanks(value: Any) -> None:
    assert not blank(value)


@pytest.mark.parametrize(
    ("name", "kind", "factor"),
    [
        ("M", "", 1e6), ("billions", "", 1e9), ("1E21", "", 1e21), ("10^9", "", 1e9), ("GFLOPs", "c", 1e9),
        ("1e18 FLOP", "c", 1e18), ("PF-days", "c", 8.64e19), ("petaflop/s-days", "c", 8.64e19),
        ("pflops-days", "c", 8.64e19), ("B tokens", "d", 1e9), ("bits", "loss", math.log(2)),
        ("nats", "loss", 1.0),
        ("perplexity", "loss", None), ("log10", "", None),
    ],
)  # fmt: skip
def test_units(name: str, kind: str, factor: float | None) -> None:
    found = unit(name)
    assert found is not None and (found.kind, found.factor) == (kind, factor)


@pytest.mark.parametrize("name", ["", "FLOP/s", "GFLOPS/s", "val", "seconds", "C4", "bits/byte"])
def test_no_units(name: str) -> None:
    assert unit(name) is None


@given(st.floats(0.01, 100))
def test_logarithms(value: float) -> None:
    assert Unit("log10", "", None).ours(math.log10(value)) == pytest.approx(value, rel=1e-12)
    assert Unit("ln", "", None).ours(math.log(value)) == pytest.approx(value, rel=1e-12)
    assert Unit("ppl", "loss", None).ours(math.exp(value)) == pytest.approx(value, rel=1e-12)
    assert Unit("log10", "", None).ours(1e9) == math.inf


def test_a_cell_with_its_own_unit_is_not_in_that_of_its_column() -> None:
    billions = Unit("B", "", 1e9)
    assert (number("7", of="n", scale=billions), number("7M", of="n", scale=billions)) == (7e9, 7e6)
    assert number("7", scale=OURS) == 7.0


@pytest.mark.parametrize(
    ("ours", "text", "said"),
    [
        ("c", "parsec", "no such unit; there are M, billion, 1e18, GFLOP, PF-days"),
        ("c", "-1", "no such unit"),
        ("n", "GFLOP", "GFLOP is no unit of n"),
        ("n", "perplexity", "no unit of n"),
    ],
)
def test_units_that_are_asked_for(ours: str, text: str, said: str) -> None:
    with pytest.raises(LawError, match=said):
        asked(ours, text)


@pytest.mark.parametrize(
    ("cells", "separator", "mark"),
    [
        (["1,234"], ",", "."),
        (["1,234"], ";", ","),
        (["1,234", "3.25"], ";", "."),
        (["1.234", "3,2"], ";", ","),
        (["1.234.567"], ";", ","),
        (["1,234,567", "0.5"], ",", "."),
        (["0,125"], "\t", ","),
        (["text", None, 3.5], ";", "."),
    ],
)
def test_the_mark_before_fractions(cells: list[Any], separator: str, mark: str) -> None:
    assert decimal_mark(cells, separator) == mark
