"""A share of the run, steps or tokens: one way of writing each."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from danlu.spec import Cosine, Length, length


def canonical(written: object) -> object:
    return Cosine(warmup=written).warmup


@pytest.mark.parametrize(
    ("written", "means", "shown"),
    [
        (0, Length(0.0, "run"), 0.0), (1, Length(1.0, "run"), 1.0), (0.02, Length(0.02, "run"), 0.02),
        ("2000 steps", Length(2000, "steps"), "2000 steps"),
        ("2k steps", Length(2000, "steps"), "2000 steps"),
        ("50000 steps", Length(50_000, "steps"), "50k steps"), ("1 steps", Length(1, "steps"), "1 steps"),
        ("375M tokens", Length(375_000_000, "tokens"), "375M tokens"),
        ("0.375B tokens", Length(375_000_000, "tokens"), "375M tokens"),
        ("1.4T tokens", Length(1_400_000_000_000, "tokens"), "1400B tokens"),
        ("4b tokens", Length(4_000_000_000, "tokens"), "4B tokens"),
    ],
)  # fmt: skip
def test_written_and_shown(written: float | str, means: Length, shown: float | str) -> None:
    assert length(written) == means and canonical(written) == shown


@given(st.integers(0, 10**15), st.sampled_from(["steps", "tokens"]))
def test_what_is_shown_means_the_same_and_is_shown_the_same(count: int, unit: str) -> None:
    shown = canonical(f"{count} {unit}")
    assert length(shown) == (count, unit) and canonical(shown) == shown


@pytest.mark.parametrize(
    "written",
    ["", "2000", "steps", "1.5 steps", "-1 steps", "2000steps", "2 weeks", "1e3 steps", -0.1, 1.5, 2],
)
def test_anything_else_is_refused(written: float | str) -> None:
    with pytest.raises(ValueError, match="is not a share of the run from 0 to 1, nor a number of steps"):
        length(written)
