"""The fast reading of experiments agrees with the reader of specifications."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from danlu.files.errors import FileError
from danlu.files.yaml import dump, parse
from danlu.lab.reading import fields
from danlu.lab.reading.fields import read_fields
from danlu.spec import catalog, flatten, to_yaml
from danlu.spec.overrides import leaves
from danlu.spec.words import resolve

scalars = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(max_size=12)
    | st.text(alphabet="aBnulTtre 01.-_e+:#/", max_size=8)
)
values = st.recursive(
    scalars | st.lists(scalars, max_size=3),
    lambda inner: st.dictionaries(st.from_regex(r"[a-z_]{1,4}", fullmatch=True), inner, max_size=3),
    max_leaves=12,
)


@pytest.mark.parametrize("recipe", catalog.names("recipes"))
def test_every_recipe(recipe: str, monkeypatch: pytest.MonkeyPatch) -> None:
    experiment = resolve([recipe])
    text = to_yaml(experiment)
    # JSON has no tuples: the index brings lists back.
    expected = {name: list(v) if isinstance(v, tuple) else v for name, v in flatten(experiment).items()}
    assert read_fields(text) == leaves(parse(text))
    assert read_fields(text).keys() == expected.keys()


def test_a_usual_experiment_is_read_the_fast_way(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(text: str) -> None:
        raise AssertionError(f"not fast: {text}")

    monkeypatch.setattr(fields, "_yaml", refuse)
    experiment = resolve("nano optimizer.lr=1e-5")
    assert read_fields(to_yaml(experiment))["optimizer.lr"] == 1e-5


@settings(max_examples=80, deadline=None)
@given(st.dictionaries(st.from_regex(r"[a-z_]{1,4}", fullmatch=True), values, min_size=1, max_size=4))
def test_whatever_is_dumped_is_read_back(value: dict[str, object]) -> None:
    read, expected = read_fields(dump(value)), leaves(value)
    assert read == expected
    assert [type(read[name]) for name in expected] == [type(v) for v in expected.values()]


@pytest.mark.parametrize(
    "text",
    [
        "a: {b: 1, c: [1, 2]}",
        "a: 'x: y'",
        "# said\na: 1",
        "a:\n    b: 1",
        "a: ~",
        "a:",
        "a: Null",
        "a: x\n  y",
    ],
)
def test_what_a_person_may_write(text: str) -> None:
    assert read_fields(text) == leaves(parse(text))


@pytest.mark.parametrize("text", ["a: 1\na: 2", "a: [1", "a: 1\n  b: 2"])
def test_what_is_no_yaml_is_refused(text: str) -> None:
    with pytest.raises(FileError):
        read_fields(text)
