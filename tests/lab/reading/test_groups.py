"""Runs together: what they differ in, and seeds as one."""

from __future__ import annotations

import json
import math
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from danlu.files.numbers import duration
from danlu.lab.reading.groups import Group, differing, group
from danlu.lab.reading.run import Run
from danlu.lab.reading.table import group_json, group_rows, run_json, run_rows, said


def run(
    name: str = "r", seed: int = 0, metric: float | None = 1.0, ended: str = "finished", **fields: object
) -> Run:
    return Run(
        Path(name),
        0.0,
        json.dumps({**fields, "train.seed": seed}),
        ended,
        metric=metric,
        best=metric,
        seconds=60.0,
    )


@settings(max_examples=40, deadline=None)
@given(st.lists(st.floats(-1e3, 1e3), min_size=2, max_size=8))
def test_mean_and_interval_are_scipys(values: list[float]) -> None:
    (one,) = group([run(seed=k, metric=value) for k, value in enumerate(values)])
    found = one.mean("metric")
    assert found is not None and len(one.counted) == len(values)
    if (error := stats.sem(values)) > 0:
        expected = stats.t.interval(0.95, len(values) - 1, sum(values) / len(values), error)
        assert (found.low, found.high) == pytest.approx(expected, rel=1e-6, abs=1e-6)


def test_what_counts_in_a_group() -> None:
    runs = [
        run("newest", seed=0, metric=1.0),
        run("again", seed=0, metric=9.0),  # the same seed: a repetition, no evidence
        run("two", seed=1, metric=3.0),
        run("hot", seed=2, metric=None, ended="diverged"),
        run("other", seed=0, metric=7.0, lr=1.0),
    ]
    first, other = group(runs)
    assert [one.name for one in first.counted] == ["newest", "two"] and first.value("metric") == 2.0
    assert first.states == {"finished": 3, "diverged": 1}
    assert other.mean("metric") == (7.0, -math.inf, math.inf) and other.value("lr") == 1.0
    assert Group((runs[3],)).mean("metric") is None
    rows = group_rows([first, other])
    assert rows[1][:3] == ("newest", "2", "3 finished, 1 diverged")


def test_differing() -> None:
    adamw = {
        "optimizer.kind": "adamw",
        "optimizer.lr": 1.0,
        "optimizer.beta2": 0.9,
        "qk_norm": None,
        "same": 1,
    }
    muon = {"optimizer.kind": "muon", "optimizer.lr": 1.0, "optimizer.momentum": 0.9, "qk_norm.when": "after",
            "same": 1}  # fmt: skip
    runs = [Run(Path(str(k)), 0.0, json.dumps(one)) for k, one in enumerate((adamw, muon))]
    assert differing(runs) == ["optimizer.kind", "qk_norm"]
    assert differing(runs[:1]) == differing([]) == []
    assert (
        differing([*runs, Run(Path("c"), 0.0, json.dumps(muon | {"optimizer.momentum": 0.5}))])[-1]
        == "optimizer.momentum"
    )
    head, a, b = run_rows(runs)
    assert head[-2:] == ("kind", "qk_norm") and (a[-2:], b[-2:]) == (("adamw", "none"), ("muon", "on"))


def test_nan_is_told_and_breaks_nothing() -> None:
    runs = [
        run("nan", metric=math.nan),
        run("inf", seed=1, metric=math.inf),
        run("none", seed=2, metric=None),
    ]
    assert [row[3] for row in run_rows(runs)[1:]] == ["nan", "inf", ""]
    assert [run_json(one)["metric"]["value"] for one in runs] == [None, None, None]
    (one,) = group(runs)
    json.dumps([group_json(one), *map(run_json, runs)], allow_nan=False)
    assert group_rows([one])[1][4] == "nan"


def test_columns() -> None:
    runs = [
        run("a", metric=1.0, **{"optimizer.lr": 1e-4}),
        run("b", seed=1, metric=3.0, **{"optimizer.lr": 1e-4}),
    ]
    assert run_rows(runs, ["optimizer.lr", "metric"])[1] == ("a", "1e-4", "1.0000")
    row = group_rows(group(runs), ["optimizer.lr", "metric"])[1]
    half = stats.t.ppf(0.975, 1)  # of 1 and 3: standard error 1
    assert row == ("a", "1e-4", f"2.0000 ± {half:.4f}", "2")


def test_values_in_words() -> None:
    assert [said(v) for v in (None, True, 1e-4, 0.001, 3.0, 1e20, 12345, "x", [1], math.nan)] == [
        "none", "true", "1e-4", "0.001", "3", "1e20", "12345", "x", "[1]", "nan"
    ]  # fmt: skip
    assert [duration(v) for v in (None, 59.94, 180, 7200, math.nan)] == ["", "59.9 s", "3.0 min", "2.0 h", ""]
