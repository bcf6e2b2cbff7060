"""Curves met at one x, and sides compared."""

from __future__ import annotations

import json
import math
import re
from pathlib import Path
from statistics import fmean
from urllib.parse import unquote
from xml.dom import minidom

import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from danlu.lab.errors import LabError
from danlu.lab.reading import report
from danlu.lab.reading.comparison import compare, find_side
from danlu.lab.reading.curves import at, average, common_end, read_curve
from tests.lab.reading.folders import ACCURACY, FLOPS_PER_TOKEN, make_run

steps = st.lists(st.integers(1, 10**6), min_size=2, max_size=8, unique=True).map(sorted)


@given(steps, st.floats(-5, 5), st.floats(-5, 5), st.floats(0, 1))
def test_between_evaluations_a_curve_is_linear_in_log_x(
    xs: list[int], a: float, b: float, share: float
) -> None:
    curve = [(float(x), a + b * math.log(x)) for x in xs]
    x = math.exp((1 - share) * math.log(xs[0]) + share * math.log(xs[-1]))
    x = min(max(x, xs[0]), xs[-1])
    assert at(curve, x) == pytest.approx(a + b * math.log(x), abs=1e-6)
    assert [at(curve, point) for point, _ in curve] == [y for _, y in curve]
    assert math.isnan(at(curve, xs[0] * 0.9)) and math.isnan(at(curve, xs[-1] * 1.1))


def test_average() -> None:
    one, two = [(1.0, 1.0), (2.0, 3.0)], [(3.0, 5.0), (4.0, 7.0)]
    assert average([one, two]) == [(2.0, 3.0, 1.0, 5.0), (3.0, 5.0, 3.0, 7.0)]  # as many points: one by one
    assert average([one, [(2.0, 5.0)]]) == [(2.0, 4.0, 3.0, 5.0)]  # else where both are known
    assert average([]) == [] and math.isnan(common_end([])) and common_end([one, two]) == 2.0


def test_curves_are_read_over_every_axis(tmp_path: Path) -> None:
    run = make_run(tmp_path / "a", scores={10: 3.0, 20: 2.0}, seconds_per_step=0.25)
    bits = "bits_per_byte"
    assert read_curve(run, bits) == [(10, 3.0), (20, 2.0)]
    assert read_curve(run, bits, "time") == [(2.5, 3.0), (5.0, 2.0)]
    assert read_curve(run, bits, "tokens") == [(640, 3.0), (1280, 2.0)]
    assert read_curve(run, bits, "flops") == [(640 * FLOPS_PER_TOKEN, 3.0), (1280 * FLOPS_PER_TOKEN, 2.0)]
    assert read_curve(run, "loss") == [(10, 1.5), (20, 1.0)] and read_curve(run, "nothing") == []


@pytest.fixture
def sides(tmp_path: Path) -> tuple[str, str]:
    """Three seeds each: the second lower, twice as slow, and trained for half as many steps."""
    slow = [2.1, 1.7, 2.4]
    for seed, shift in enumerate([0.0, 0.05, -0.02]):
        scores = {k: 3 + shift - 0.1 * k for k in (1, 2, 4, 8)}
        make_run(tmp_path / "a" / str(seed), f"nano train.seed={seed}", scores)
        lower = {k: scores[k] - 0.1 * slow[seed] for k in (1, 2, 4)}
        make_run(tmp_path / "b" / str(seed), f"nano train.seed={seed} optimizer.lr=0.1", lower,
                 seconds_per_step=1.0)  # fmt: skip
    return str(tmp_path / "a"), str(tmp_path / "b")


def test_pairs_by_seed_at_equal_steps(sides: tuple[str, str]) -> None:
    found = compare(sides)
    assert [(name, values[1]) for name, values in found.differs] == [("optimizer.lr", [0.1])]
    meetings = {meeting.axis: meeting for meeting in found.meetings}
    assert meetings["steps"].x == 4 and meetings["time"].x == 4.0 and meetings["tokens"].x == 256
    differences = [-0.21, -0.17, -0.24]
    expected = stats.ttest_1samp(differences, 0).confidence_interval(0.95)
    (steps,) = meetings["steps"].differences
    assert (meetings["steps"].pairs, steps) == ([3], pytest.approx((fmean(differences), *expected)))
    # At equal time the first side has made eight steps, the second four.
    (time,) = meetings["time"].differences
    assert time.value == pytest.approx(fmean(differences) + 0.4)
    (end,) = meetings["end"].differences
    assert end.value == pytest.approx(fmean(differences) + 0.4)


def test_what_a_run_measured_since_is_in_the_next_comparison(sides: tuple[str, str]) -> None:
    before = compare(sides)
    for seed in range(3):
        path = Path(sides[1]) / str(seed) / "metrics.jsonl"
        more = {"step": 8, "tokens": 512, "seconds": 8.0, "bits_per_byte": 1.5}
        path.write_text(path.read_text() + json.dumps(more) + "\n")
    ends = {one.axis: one.x for one in compare(sides).meetings}
    assert {one.axis: one.x for one in before.meetings}["steps"] == 4 and ends["steps"] == 8


def test_as_json_rows_and_page(sides: tuple[str, str], tmp_path: Path) -> None:
    found = compare(sides)
    told = json.loads(json.dumps(report.to_json(found), allow_nan=False))
    assert told["meetings"][1]["differences"][0]["pairs"] == 3
    assert told["meetings"][0]["x"] is None and "interpolated" in told
    assert [row[0] for row in report.rows(found)][:3] == ["", "optimizer.lr", "runs"]
    assert {row[-1] for row in report.difference_rows(found)[1:]} == {"3"}
    page = report.html(found, "flops")
    drawings = re.findall(r"<svg.*?</svg>", page, flags=re.DOTALL)
    assert len(drawings) == 5 and "FLOPs" in drawings[0] and "FLOPs" in drawings[1]
    for drawing in drawings[1:]:
        assert len(minidom.parseString(drawing).getElementsByTagName("polyline")) == 2
    html = report.html(found, "steps", tmp_path / "pages" / "page.html")
    links = [unquote(link) for link in re.findall(r'href="(\./[^"]+)"', html)]
    assert len(links) == 6 and all(
        (tmp_path / "pages" / link / "metrics.jsonl").resolve().is_file() for link in links
    )
    assert "FLOPs" in report.curves_text(found, "flops", 80, False)


def test_the_metric_is_that_of_the_first_side(tmp_path: Path) -> None:
    for name, shift in (("a", 0.0), ("b", 0.25)):
        for seed in (0, 1):
            words = f"nano train.seed={seed} optimizer.lr={0.1 + shift}"
            scores = {1: 0.25 + shift, 4: 0.5 + shift}
            make_run(tmp_path / name / str(seed), words, scores, metric=ACCURACY, held_out="images")
    found = compare([str(tmp_path / "a"), str(tmp_path / "b")])
    assert found.metric == "accuracy" and found.warnings == []
    assert {meeting.differences[0].value for meeting in found.meetings} == {0.25}
    assert report.differences_of(found).endswith("higher is better")
    rows = {row[0]: row[1:] for row in report.rows(found)}
    assert rows["accuracy, best"] == ("0.5000 ± 0.0000", "0.7500 ± 0.0000")


def test_sides_scored_on_different_things_are_warned_of(tmp_path: Path) -> None:
    make_run(tmp_path / "a", "nano", {4: 2.0}, held_out="one text")
    make_run(tmp_path / "b", "nano data.corpus=other.txt", {4: 2.5}, held_out="another text")
    make_run(tmp_path / "same", "nano data.corpus=copy.txt", {4: 2.5}, held_out="one text")
    make_run(tmp_path / "some", "nano train.evaluate_tokens=1000", {4: 2.5}, held_out="one text")
    (warning,) = compare([str(tmp_path / "a"), str(tmp_path / "b")]).warnings
    assert warning.startswith("the sides are scored on different things") and "held-out examples" in warning
    assert compare([str(tmp_path / "a"), str(tmp_path / "same")]).warnings == []  # the hash decides
    found = compare([str(tmp_path / "a"), str(tmp_path / "some")])
    assert "train.evaluate_tokens 1000" in found.warnings[0]
    assert report.warned(found.warnings[0]) in report.html(found, "steps").replace("&#x27;", "'")
    assert report.to_json(found)["warnings"] == found.warnings


def test_what_is_not_paired_is_said(tmp_path: Path, sides: tuple[str, str]) -> None:
    make_run(tmp_path / "c" / "x", "nano train.seed=77", {1: 2.0, 4: 1.0})
    make_run(tmp_path / "d" / "x", "nano optimizer.lr=0.2", {4: 1.0})
    make_run(tmp_path / "d" / "y", "nano optimizer.lr=0.3", {4: 1.0})
    make_run(tmp_path / "d" / "z", "nano optimizer.lr=0.3", {2: 1.0}, finished=False)
    found = compare([sides[0], str(tmp_path / "c"), str(tmp_path / "d")])
    steps = next(meeting for meeting in found.meetings if meeting.axis == "steps")
    assert steps.pairs == [0, 0] and math.isinf(steps.differences[0].high)
    assert any("differ in optimizer.lr: nothing is paired" in note for note in found.notes)
    assert [note for note in found.notes if "no interval" in note] == [
        f"{tmp_path / 'c'}: no seed in common with {sides[0]}: no interval; give both the same seeds"
    ]


def test_where_nothing_meets_it_is_said(tmp_path: Path) -> None:
    make_run(tmp_path / "a", scores={4: 2.0})
    make_run(tmp_path / "b", scores={8: 1.5}, words="nano optimizer.lr=0.1")
    make_run(tmp_path / "n", scores={4: math.nan}, words="nano optimizer.lr=0.2")
    found = compare([str(tmp_path / "a"), str(tmp_path / "b"), str(tmp_path / "n")])
    assert [meeting.axis for meeting in found.meetings] == ["end"]
    assert any("train.evaluate_every" in note for note in found.notes)
    json.dumps(report.to_json(found), allow_nan=False)
    assert "left out" in report.html(found, "steps")
    assert report.difference_rows(found)[1][2] == "-0.5000"


def test_patterns_and_mistakes(tmp_path: Path, sides: tuple[str, str]) -> None:
    assert len(find_side(f"{sides[0]}/*").runs) == 3
    make_run(tmp_path / "empty", scores={1: 2.0}, finished=False)
    (tmp_path / "empty" / "metrics.jsonl").write_text("")
    for words, metric, sentence in [
        ([sides[0]], "bits_per_byte", "two sides or more, not 1"),
        ([sides[0], "nowhere"], "bits_per_byte", "nowhere is not a folder"),
        ([sides[0], str(tmp_path / "empty")], "bits_per_byte", "holds no run that was evaluated"),
        (list(sides), "los", "did you mean loss"),
    ]:
        with pytest.raises(LabError, match=sentence):
            compare(words, metric)
