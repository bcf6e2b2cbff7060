"""Reading a claim: what it may say, and what is told of one that cannot be read."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import pytest

from danlu.files.yaml import dump
from danlu.lab.claims import book
from danlu.lab.errors import LabError
from danlu.spec.errors import DanluError
from tests.lab.claims.small import OVER, WRITTEN, claim


def test_a_file_is_a_claim(tmp_path: Path) -> None:
    path = tmp_path / "mine.yaml"
    path.write_text(dump(WRITTEN))
    assert book.claim(str(path)) == claim()
    assert list(book.claims([str(path)])) == ["mine"]


def test_the_book_is_in_the_order_of_the_rows() -> None:
    rows = [(claim.rows[0][0], int(claim.rows[0][1:])) for claim in book.claims().values()]
    assert rows == sorted(rows) and len(rows) == len(book.names())


def test_arms_may_be_measured_differently() -> None:
    one = claim(measure={"less": "loss", "more": "gap"})
    assert (one.measure_of("less"), one.measure_of("more")) == ("loss", "gap")
    assert claim().measure_of("less") == "bits_per_byte"


@pytest.mark.parametrize(
    ("holds", "bounds", "words"),
    [
        ({"above": 0}, (0, math.inf), "above 0"),
        ({"below": -0.5}, (-math.inf, -0.5), "below -0.5"),
        ({"within": [-1, 2]}, (-1, 2), "within -1 and 2"),
    ],
)
def test_rules(holds: dict[str, Any], bounds: tuple[float, float], words: str) -> None:
    rule = claim(holds=holds).holds
    assert (rule.bounds, str(rule)) == (bounds, words)


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"source": None}, "source is missing"),
        ({"rows": []}, "rows"),
        ({"rows": ["B1"]}, "'B1' is not a row"),
        ({"arm": {}}, "did you mean arms"),
        ({"seeds": 1}, "at least 2"),
        ({"holds": {"above": 0, "below": 1}}, "one of above"),
        ({"holds": {"within": [1, 0]}}, "is empty"),
        ({"holds": {"within": [0]}}, "holds.within"),
        ({"contrast": {"less": 1, "more": 1}}, "sum to 2"),
        ({"contrast": {"less": 1}}, "must name the arms, less, more"),
        ({"measure": {"less": "loss"}}, "must name the arms, less, more"),
        ({"contrast": {"less": math.inf, "more": 1}}, "contrast = "),
        (OVER | {"of": None}, "belong together"),
        ({"of": "best"}, "belong together"),
        (OVER | {"of": "bets"}, "did you mean best"),
        (OVER | {"of": "range"}, "range needs it"),
        (OVER | {"margin": 0.1}, "margin belongs to of = range"),
        (OVER | {"over": {"a": "1", "b": "2"}}, "one field with its points"),
    ],
)
def test_what_is_refused(changes: dict[str, Any], said: str) -> None:
    with pytest.raises(LabError, match=r"^claim small: ") as error:
        claim(**changes)
    assert said in str(error.value)


def test_names_that_are_none() -> None:
    near = book.names()[0]
    with pytest.raises(LabError, match=f"did you mean {near}"):
        book.claim(near.replace("-", "_"))
    with pytest.raises(DanluError, match=r"nothing\.yaml"):
        book.claim("nothing.yaml")
