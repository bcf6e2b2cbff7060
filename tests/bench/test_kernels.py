"""The table that the benchmark of kernels writes is one that danlu reads."""

from __future__ import annotations

from pathlib import Path

import pytest

from bench import kernels as bench
from danlu.files.yaml import read_mapping
from danlu.nn import kernels

ROW = {
    "device": "there",
    "dtype": "float32",
    "masked": True,
    "length": 64,
    "sdpa": 2.0,
    "plain": 1.5,
    "eager": 3.0,
}


def test_a_device_replaces_its_own_rows_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    before = read_mapping(bench.TABLE, "the table")["measured"]
    path = tmp_path / "kernels.yaml"
    bench.write(path, "there", "a machine: 2 threads, on a day", [ROW])
    table = read_mapping(path, "the table")
    assert table["machines"]["there"] == "a machine: 2 threads, on a day"
    assert [row for row in table["measured"] if row["device"] != "there"] == before
    assert [row for row in table["measured"] if row["device"] == "there"] == [ROW]
    monkeypatch.setattr(bench, "TABLE", path)
    again = [{**ROW, "length": length, "masked": False} for length in (128, 64)]
    bench.write(path, "there", "another", again)
    table = read_mapping(path, "the table")
    assert [row for row in table["measured"] if row["device"] == "there"] == again[::-1]
    assert table["machines"]["there"] == "another"


def test_what_is_measured_is_what_is_chosen_from(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bench, "TOKENS", 64)
    rows = bench.measure("cpu", (8,), rounds=1, seconds=0.0)
    assert {(row["dtype"], row["masked"]) for row in rows} == {
        (dtype, masked) for dtype in ("float32", "bfloat16") for masked in (False, True)
    }
    for row in rows:
        assert set(row) == set(ROW)
        measured = kernels.Measured(row["length"], row["sdpa"], row["plain"], row["eager"])
        assert min(measured) > 0
