"""Filters, order and names."""

from __future__ import annotations

import json
import math
import operator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from danlu.files.filters import Filter, FilterError, parse_filter
from danlu.lab.errors import LabError
from danlu.lab.reading.groups import short_names
from danlu.lab.reading.run import Run
from danlu.lab.reading.selection import full_name, order, select

names = st.from_regex(r"[a-z_][a-z0-9_./@:-]{0,12}", fullmatch=True)
numbers = st.floats(allow_nan=False, allow_infinity=False)
spaces = st.text(" ", max_size=2)
MEANING = {
    "<": operator.lt, "<=": operator.le, ">": operator.gt, ">=": operator.ge, "=": operator.eq,
    "!=": operator.ne,
}  # fmt: skip


def run(name: str = "r", fields: dict[str, Any] | None = None, **about: Any) -> Run:
    return Run(Path(name), 0.0, json.dumps(fields or {}), **about)


@given(names, st.sampled_from(list(MEANING)), numbers, numbers, spaces, spaces)
def test_a_filter_means_what_it_says(
    name: str, sign: str, wanted: float, found: float, before: str, after: str
) -> None:
    one = parse_filter(f"{before}{name}{after}{sign}{before}{wanted!r}{after}")
    assert one == Filter(name, sign, wanted)
    assert one.holds(found) == MEANING[sign](found, wanted)
    assert not one.holds(math.nan) or sign == "!="
    assert not one.holds("text") or sign == "!="
    assert not one.holds(None) or sign == "!="


@given(names, st.text(st.characters(exclude_categories=("Cs",)), min_size=1))
def test_text_is_only_compared(name: str, written: str) -> None:
    try:
        one = parse_filter(f"{name}~{written}")
    except FilterError:
        assert not written.strip()
        return
    assert one == Filter(name, "~", written.strip())
    assert one.holds(f"before{written.strip().upper()}after") == (
        written.strip().lower() in f"before{written.strip().upper()}after".lower()
    )


@given(st.text(st.characters(exclude_categories=("Cs",)), max_size=20))
def test_anything_else_is_refused_in_one_sentence(text: str) -> None:
    try:
        parse_filter(text)
    except FilterError as error:
        assert "--where" in str(error)


@pytest.mark.parametrize(
    ("written", "value"),
    [("1e-3", 1e-3), ("2M", 2e6), ("10k", 1e4), ("true", True), ("None", None), ("adamw", "adamw"),
     ("'1'", "1"),
     ("__import__('os').system('true')", "__import__('os').system('true')"), ("nan", math.nan)],
)  # fmt: skip
def test_values(written: str, value: Any) -> None:
    found = parse_filter(f"a={written}").value
    assert found == value or (found != found and value != value)


def test_values_keep_their_types() -> None:
    assert parse_filter("a=true").holds(True) and not parse_filter("a=1").holds(True)
    assert parse_filter("a=none").holds(None) and not parse_filter("a=none").holds("none")
    assert parse_filter("a='1'").holds("1") and not parse_filter("a=1").holds("1")
    assert parse_filter("a=nan").holds(math.nan) and parse_filter("a=2").holds(2)


@pytest.mark.parametrize("text", ["", "lr", "lr>", ">1", "lr>high", "lr<='1'", " >1"])
def test_refused(text: str) -> None:
    with pytest.raises(FilterError, match="--where"):
        parse_filter(text)


def test_a_name_may_hold_spaces() -> None:
    assert parse_filter(" Model Family = Llama-2 ") == Filter("Model Family", "=", "Llama-2")


def test_select_by_facts_measures_fields() -> None:
    runs = [
        run(f"r{k}", fields={"optimizer.lr": 10.0**-k, "optimizer.kind": "adamw", "model.kind": "decoder"},
            steps=k, metric_name="bits_per_byte", metric=float(k), ended="finished" if k else "failed",
            measures={"kurtosis": 3.0 + k})
        for k in range(4)
    ]  # fmt: skip

    def names(*filters: str) -> list[str]:
        return [one.name for one in select(runs, filters)]

    assert names("lr<0.05") == names("optimizer.lr <= 1e-2") == ["r2", "r3"]
    assert names("steps>=1", "steps!=2") == ["r1", "r3"]
    assert names("kurtosis>5.5") == names("bits_per_byte=3") == names("name~R3") == ["r3"]
    assert names("state=failed") == ["r0"] and names() == ["r0", "r1", "r2", "r3"]
    with pytest.raises(LabError, match=r"optimizer\.kind or model\.kind"):
        names("kind=adamw")
    with pytest.raises(LabError, match="did you mean kurtosis"):
        names("kurtossis>1")
    assert select([], ["whatever>1"]) == []


@given(st.lists(st.none() | st.floats(), max_size=10))
def test_order_puts_what_is_missing_last(values: list[float | None]) -> None:
    runs = [run(metric=value) for value in values]
    known = sorted(value for value in values if value is not None and not math.isnan(value))
    for by, expected in (("metric", known), ("-metric", known[::-1])):
        found = [one.metric for one in order(runs, by)]
        assert found[: len(known)] == expected and len(found) == len(values)


@given(st.lists(st.floats(0, 1), min_size=1, max_size=10))
def test_the_best_comes_first_whichever_direction_is_better(values: list[float]) -> None:
    for better in ("lower", "higher"):
        runs = [run(metric_name="accuracy", better=better, metric=x, best=x, steps=1) for x in values]
        for by in ("metric", "best", "accuracy"):
            found = [one.metric for one in order(runs, by)]
            assert found == sorted(values, reverse=better == "higher")
            assert [one.metric for one in order(runs, f"-{by}")] == sorted(values, reverse=better == "lower")


@settings(max_examples=40, deadline=None)
@given(st.lists(st.from_regex(r"[ab](\.[abc]){0,3}", fullmatch=True), unique=True, min_size=1))
def test_a_short_name_means_its_field(fields: list[str]) -> None:
    runs = [run(fields=dict.fromkeys(fields, 1))]
    assert {name: full_name(short, runs) for name, short in short_names(fields, fields).items()} == {
        name: name for name in fields
    }
    assert short_names(["train.steps"], []) == {"train.steps": "train.steps"}  # steps is a fact
