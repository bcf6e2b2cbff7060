"""Numbers and times as people write them."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from danlu.files.filters import value_of
from danlu.files.numbers import SCALES, SUFFIXES, in_words, power, rounded, scientific
from danlu.lab.budget import Budget


@given(st.floats(allow_nan=False, allow_infinity=False))
def test_a_power_of_ten_loses_no_digit(value: float) -> None:
    assert float(scientific(value)) == value


@given(st.floats(allow_nan=False, allow_infinity=False), st.integers(1, 17))
def test_a_power_of_ten_is_as_it_is_typed(value: float, digits: int) -> None:
    text = f"{value:.{digits}g}"
    said = power(text)
    assert float(said) == float(text)
    assert "e+" not in said and "e0" not in said and "e-0" not in said and len(said) <= len(text)


@pytest.mark.parametrize(("suffix", "scale"), SCALES)
def test_what_is_written_is_read_by_all(suffix: str, scale: int) -> None:
    assert SUFFIXES[suffix.lower()] == scale and rounded(12 * scale) == f"12{suffix}"
    for written in (f"12{suffix}", f"12{suffix.lower()}"):
        assert value_of(written) == 12 * scale
    assert Budget.parse(f"12{suffix}").amount == 12 * scale


@pytest.mark.parametrize(
    ("seconds", "said"),
    [
        (42, "42 seconds"),
        (119, "119 seconds"),
        (120, "2 minutes"),
        (7199, "120 minutes"),
        (7200, "2.0 hours"),
    ],
)
def test_times_in_words(seconds: float, said: str) -> None:
    assert in_words(seconds) == said
