"""What is read off a specification's types: lists of parts, optional parts, required fields."""

from __future__ import annotations

from typing import Annotated, Any, Literal

import pytest
from pydantic import Field, ValidationError

from danlu.spec import resolve
from danlu.spec.base import ByKind, PositiveInt, Shorthand, Spec
from danlu.spec.errors import SpecError
from danlu.spec.explain import explain
from danlu.spec.overrides import merge, nested
from danlu.spec.schema import accepts, defaults


class Red(Spec):
    kind: Literal["red"] = "red"
    size: PositiveInt | None = None


class Blue(Spec):
    kind: Literal["blue"] = "blue"
    depth: float = 1.0


Colour = Annotated[Red | Blue, ByKind, Shorthand]


class Box(Spec):
    pattern: Colour | tuple[Colour, ...] = Red()
    lining: Colour | None = None
    rates: tuple[Annotated[float, Field(gt=0)], ...] = (0.1,)
    label: str


class House(Spec):
    box: Box = Box(label="first")


def read(patch: dict[str, Any]) -> House:
    return House.model_validate(merge(defaults(House), nested(patch), House))


@pytest.mark.parametrize(
    ("patch", "field", "value"),
    [
        ({"box.pattern": "blue"}, "pattern", Blue()),
        ({"box.pattern": ["red", {"kind": "blue", "depth": 2}]}, "pattern", (Red(), Blue(depth=2.0))),
        ({"box.pattern.size": "2k"}, "pattern", Red(size=2000)),
        ({"box.lining": "red"}, "lining", Red()),
        ({"box.lining": "none"}, "lining", None),
        ({"box.rates": [1, 2]}, "rates", (1.0, 2.0)),
    ],
)
def test_parts_lists_and_none(patch: dict[str, Any], field: str, value: object) -> None:
    assert getattr(read(patch).box, field) == value


@pytest.mark.parametrize(
    ("patch", "sentence"),
    [
        ({"box.pattern": ["red", "bleu"]}, "box.pattern.1.kind = 'bleu' is not red or blue; did"),
        ({"box.pattern.size": 0}, "box.pattern.size = 0 is not a whole number greater than 0, or none"),
        ({"box.pattern.depth": 2}, "box.pattern.depth is not a field of box.pattern (kind red), but"),
        ({"box.lining.depth": 2}, "box.lining needs a kind: red or blue"),
        ({"box.rates": [1, "x"]}, "box.rates.1 = 'x' is not a number greater than 0"),
        ({"box.rates": 3}, "box.rates = 3 is not a list, each a number greater than 0"),
    ],
)  # fmt: skip
def test_the_deepest_refusal_is_told(patch: dict[str, Any], sentence: str) -> None:
    values = merge(defaults(House), nested(patch), House)
    with pytest.raises(ValidationError) as caught:
        House.model_validate(values)
    (said,) = explain(caught.value, values, House).values()
    assert said.startswith(sentence)


def test_a_missing_field_is_named() -> None:
    with pytest.raises(ValidationError) as caught:
        House.model_validate({"box": {}})
    assert explain(caught.value, {"box": {}}, House) == {
        "box.label": "box.label is missing; write box.label=… (text)"
    }


@pytest.mark.parametrize(
    ("words", "field", "said"),
    [
        ("nano data=table data.file=a.csv", "data.label", "the column that says the class"),
        (
            "nano data=images",
            "data.folder",
            "the PNG and JPEG files in a folder and its subfolders (Pillow: ",
        ),
        ("flow-digits data=arrays", "data.file", ".npy, .npz or .parquet"),
        ("flow-digits coupling=reflow", "objective.coupling.run", "the folder of a finished run on the same"),
    ],
)
def test_what_to_write_for_a_missing_field_is_what_its_specification_says(
    words: str, field: str, said: str
) -> None:
    with pytest.raises(SpecError) as caught:
        resolve(words)
    assert str(caught.value).startswith(f"{field} is missing; write {field}=… (text): {said}")


def test_what_a_field_accepts_in_words() -> None:
    said = {name: to.describe() for name, to in accepts(Box).items()}
    assert said == {
        "pattern": "red, blue, or a list, each red or blue",
        "lining": "red, blue or none",
        "rates": "a list, each a number greater than 0",
        "label": "text",
    }
