"""Runs as a notebook shows them."""

from __future__ import annotations

import base64
import re
from pathlib import Path
from xml.dom import minidom

import pytest

from danlu.lab.errors import LabError
from danlu.lab.reading import Run, Runs
from tests.lab.reading.folders import ACCURACY, make_run


@pytest.fixture
def runs(tmp_path: Path) -> Runs:
    for lr in (0.1, 0.2):
        for seed in (0, 1):
            name = f"<b>{lr}&{seed}"
            make_run(
                tmp_path / name, f"nano optimizer.lr={lr} train.seed={seed}", {1: 3.0, 2: 2 + lr + seed / 10}
            )
    return Runs(tmp_path)


def test_a_sequence_that_can_be_cut_down(runs: Runs) -> None:
    assert len(runs) == 4 and isinstance(runs[0], Run) and len(runs[1:]) == 3
    best = runs.where("lr=0.2").sort("best")
    assert [run.seed for run in best] == [0, 1] and [run.seed for run in best.sort("-best")] == [1, 0]
    assert [len(group.runs) for group in runs.groups()] == [2, 2]
    assert runs.table("lr", "best").rows[0] == ("run", "lr", "best")
    assert runs.grouped().rows[0][:2] == ("runs", "n")
    with pytest.raises(LabError, match="is not a folder"):
        Runs("nowhere")


def test_sorted_by_what_they_are_scored_on_first(tmp_path: Path) -> None:
    for name, text, score in (("a", "x", 2.0), ("b", "y", 1.0), ("c", "x", 1.5), ("d", "y", 3.0)):
        make_run(tmp_path / name, "nano", {1: score}, held_out=text)
    for name, score in (("e", 0.5), ("f", 0.75)):
        make_run(tmp_path / name, "nano", {1: score}, metric=ACCURACY, held_out="x")
    best = [run.path.name for run in Runs(tmp_path).sort("best")]
    assert {tuple(best[i : i + 2]) for i in (0, 2, 4)} == {("c", "a"), ("b", "d"), ("f", "e")}
    worst = [run.path.name for run in Runs(tmp_path).sort("-best")]
    assert {tuple(worst[i : i + 2]) for i in (0, 2, 4)} == {("a", "c"), ("d", "b"), ("e", "f")}


def test_html(runs: Runs) -> None:
    for shown in (runs, Runs(runs=[])):
        bundle = shown._repr_mimebundle_()
        html = bundle["text/html"]
        assert "<b>" not in html and html.count("<table>") == 1 and "<style" not in html
        drawings = [base64.b64decode(found) for found in re.findall(r"svg\+xml;base64,([^\"]+)", html)]
        assert len(drawings) == bool(shown)
        for drawing in drawings:
            minidom.parseString(drawing)
            assert drawing.decode() == bundle["image/svg+xml"]
        assert bundle["text/plain"] == repr(shown)
    assert "&lt;b&gt;0.1&amp;0" in runs._repr_mimebundle_()["text/html"] and repr(runs) == "<4 runs>"
    # A line and a band for each group of seeds.
    drawing = minidom.parseString(runs.curves(x="tokens").svg())
    assert len(drawing.getElementsByTagName("polyline")) == len(drawing.getElementsByTagName("polygon")) == 2
