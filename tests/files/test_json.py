"""JSON: every float comes back; what is beyond the limits, or of another shape, is one sentence."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from danlu.files.errors import FileError
from danlu.files.json import DEPTH, DIGITS, from_json, misfit, read_json, read_object, to_json

WORDS = {"NaN", "Infinity", "-Infinity"}  # the three texts that stand for numbers
values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text().filter(lambda text: text not in WORDS),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=10,
)


@settings(max_examples=50)
@given(values)
def test_json_keeps_every_float(value: Any) -> None:
    text = to_json(value)
    json.loads(text, parse_constant=lambda name: pytest.fail(f"{name} is not JSON"))
    assert repr(from_json(text)) == repr(value)
    assert repr(from_json(text.encode())) == repr(value)


def test_scalars_of_libraries_and_errors(tmp_path: Path) -> None:
    assert from_json(to_json({"a": np.float32(0.5), "b": np.float32("inf")})) == {"a": 0.5, "b": math.inf}
    with pytest.raises(TypeError, match="set"):
        to_json({"a": {1}})
    with pytest.raises(FileError, match="is missing"):
        read_json(tmp_path / "summary.json")
    (tmp_path / "summary.json").write_text("{")
    with pytest.raises(FileError, match=r"summary\.json cannot be read as JSON"):
        read_json(tmp_path / "summary.json")


def nested(depth: int) -> str:
    return "[" * depth + "]" * depth


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (nested(DEPTH + 1), "nested deeper than 100 brackets"),
        (nested(100_000), "nested deeper than 100 brackets"),
        ('{"a": ' * 5_000 + "1" + "}" * 5_000, "nested deeper than 100 brackets"),
        ("1" * (DIGITS + 1), "an integer of more than 100 digits"),
        (f'{{"a": [-{"1" * (DIGITS + 1)}]}}', "an integer of more than 100 digits"),
        ("1" * 5_000, "digits"),
        ("[" + "1" * 5_000 + "]", "digits"),
        ("[1", "delimiter"),
    ],
)
def test_what_is_beyond_the_limits(text: str, said: str) -> None:
    for given_ in (text, text.encode()):
        with pytest.raises(ValueError, match=said):
            from_json(given_)


def test_the_limits_themselves_are_allowed() -> None:
    assert to_json(from_json(nested(DEPTH))) == nested(DEPTH)
    assert from_json("9" * DIGITS) == 10**DIGITS - 1
    assert float(10**DIGITS) < math.inf
    many = [[number] for number in range(DEPTH + 1)]
    assert from_json(to_json(many)) == many
    text = "0" * (DIGITS + 1)  # in a string digits are text
    assert from_json(to_json(text)) == text


def test_a_file_too_large(tmp_path: Path) -> None:
    (tmp_path / "a.json").write_text("[" + " " * 1000 + "]")
    assert read_json(tmp_path / "a.json", limit=1002) == []
    with pytest.raises(FileError, match="larger than the"):
        read_json(tmp_path / "a.json", limit=1001)


SHAPE = {
    "steps": int,
    "metric": {"name": str, "value": float},
    "rows": [float],
    "stopped": (str, None),
    "seconds": {...: float},
    "ends": ([float, float], None),
}
GOOD = {
    "steps": 3,
    "metric": {"name": "loss", "value": 1, "more": 0},
    "rows": [1, 2.5],
    "stopped": None,
    "seconds": {"train": 2.5},
}


def test_a_shape_that_fits() -> None:
    assert misfit(GOOD, SHAPE) == ""
    assert misfit({key: value for key, value in GOOD.items() if key != "stopped"}, SHAPE) == ""


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"steps": 3.0}, "steps is a number, not a whole number"),
        ({"steps": True}, "steps is true or false, not a whole number"),
        ({"metric": None}, "metric holds null, not a mapping"),
        ({"metric": {"name": "x"}}, "metric has no 'value'"),
        ({"metric": {"name": [], "value": 1}}, "metric.name is a list, not text"),
        ({"rows": [1, "2"]}, "rows[1] is text, not a number"),
        ({"rows": {}}, "rows holds a mapping, not a list"),
        ({"stopped": 3}, "stopped is a whole number, not text"),
        ({"seconds": {"train": 1, "save": "2"}}, "seconds.save is text, not a number"),
        ({"ends": [1.0]}, "ends has 1 items, not 2"),
        ({"ends": [1.0, "2"]}, "ends[1] is text, not a number"),
        ({"seconds": []}, "seconds holds a list, not a mapping"),
    ],
)
def test_a_shape_that_does_not(change: dict[str, Any], said: str) -> None:
    assert misfit(GOOD | change, SHAPE) == said


@pytest.mark.parametrize("text", ["null", "[]", "3", '"x"', "{}"])
def test_a_mapping_is_needed(tmp_path: Path, text: str) -> None:
    (tmp_path / "study.json").write_text(text)
    with pytest.raises(FileError, match=r"study\.json: (it holds .*, not a mapping|it has no 'a')"):
        read_object(tmp_path / "study.json", {"a": int})
    (tmp_path / "study.json").write_text(json.dumps({"a": 1, "b": []}))
    assert read_object(tmp_path / "study.json", {"a": int}) == {"a": 1, "b": []}
