"""Which statistics moved: against ratios put in by hand."""

from __future__ import annotations

import json
import math
from pathlib import Path

import numpy as np
import pytest

from danlu.inspection.table import in_words
from danlu.lab.why.courses import left_at
from danlu.lab.why.moved import moves, why


def run(folder: Path, rows: list[dict[str, object]]) -> Path:
    folder.mkdir()
    (folder / "metrics.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    return folder


def test_the_ratio_of_each_statistic_at_equal_steps() -> None:
    before = {"a": {1: 1.0, 2: 4.0, 3: 9.0}, "b": {1: 1.0}, "c": {1: 0.0}, "d": {1: math.nan}}
    after = {"a": {1: 2.0, 2: 8.0, 4: 1.0}, "b": {2: 1.0}, "c": {1: 1.0}, "d": {1: 1.0}}
    (found,) = moves(before, after).values()  # b shares no step, c is zero, d is no number
    assert found == (1.0, 1.0)  # of 1 and 4, whose log₂ are 0 and 2; twice as much


def test_what_moved_most_in_units_of_its_noise_comes_first(tmp_path: Path) -> None:
    draw = np.random.default_rng(3)
    sides = []
    for seed in range(4):
        both = []
        for side, (norm, logits) in {"baseline": (1.0, 10.0), "variant": (0.9, 5.0)}.items():
            wild = 2.0 ** draw.normal(0, 3)  # moves, but by chance
            rows = [
                {"step": 1, "grad_norm": norm * 1.01**seed, "loss": 2.0},
                {"step": 2, "inside": {"logits/blocks.0": logits, "update/readout": wild}},
                {"step": 3, "inside": {"logits/blocks.0": 2 * logits, "update/readout": wild}},
                {"step": 4, "inside": {"kurtosis/blocks.1": -1.0}},
            ]
            both.append(run(tmp_path / f"{side}-{seed}", rows))
        sides.append((both[0], both[1]))
    found = why(sides).moved
    assert [one["name"] for one in found] == ["logits/blocks.0", "gradient norm", "update/readout"]
    logits, norm, _ = found  # kurtosis did not move: it is not told
    assert logits["ratio"] == pytest.approx(0.5) and logits["baseline"] == pytest.approx(200**0.5)
    assert norm["ratio"] == pytest.approx(0.9) and norm["variant"] == pytest.approx(0.9 * 1.01**1.5)
    assert logits["words"] == "largest attention score in blocks.0 falls to 0.50× (14.1 → 7.07)"
    assert len(why(sides, top=1).moved) == 1


def test_words() -> None:
    assert in_words("update/blocks.0.mixer") == "update-to-weight ratio of blocks.0.mixer"
    assert in_words("logits/out") == "RMS output logit" and in_words("gradient norm") == "gradient norm"
    assert in_words("new/one") == "new/one"


def test_the_step_at_which_the_band_is_left_for_good() -> None:
    """Three baselines 0, 1, 2 at every step: mean 1, s = 1, and t(2) √(4/3) = 4.97 reaches far."""
    steps = range(10)
    baselines = [{step: float(level) for step in steps} for level in range(3)]
    within = 1 + 4.302652729749464 * math.sqrt(4 / 3)
    jump = [{step: within + (0.01 if step >= 6 or step == 2 else -0.01) for step in steps}] * 3
    assert left_at(baselines, jump) == 6  # step 2 is out, and comes back
    assert left_at(baselines, [{step: 1.0 for step in steps}]) is None
    assert left_at(baselines[:1], jump) is None  # one run has no band


def world(tmp_path: Path, first: int, *, rate: float = 1.0) -> list[tuple[Path, Path]]:
    """Pairs in which the sink rate rises from step ``first`` on, and the loss falls from step 60 on."""
    draw, sides = np.random.default_rng(5), []
    for seed in range(4):
        both = []
        for side in (0, 1):
            rows: list[dict[str, object]] = []
            for step in range(10, 110, 10):
                noise = 1 + 0.01 * draw.normal(size=4)
                rows.append({"step": step, "loss": 2.0 * noise[0] * (0.8 if side and step >= 60 else 1)})
                inside = {
                    "sink-rate/blocks.0": 0.5 if side and step >= first else 0.0,
                    "update/blocks.0.mixer": 1e-3 * noise[1] * (rate if side else 1),
                    "kurtosis/blocks.0": 9.0 * noise[2] * (3 if side and step >= first else 1),
                    "kurtosis-rest/blocks.0": 0.1 * noise[3],
                }
                rows.append({"step": step, "inside": inside})
            both.append(run(tmp_path / f"{rate}-{first}-{seed}-{side}", rows))
        sides.append((both[0], both[1]))
    return sides


def test_what_left_first_what_did_not_move_and_what_would_test_it(tmp_path: Path) -> None:
    found = why(world(tmp_path, 30))
    moved = {one["name"]: one for one in found.moved}
    sinks = moved["sink-rate/blocks.0"]
    assert found.loss_left == 60 and sinks["left"] == 30
    assert sinks["when"] == "leaves the baseline's band at step 30, 30 steps before the loss"
    assert len(sinks["seeds"]) == 4 and sinks["test"]["words"] == "+sinks"
    assert moved["kurtosis/blocks.0"]["without_first"] == pytest.approx(1, abs=0.02)
    assert moved["kurtosis/blocks.0"]["ratio"] > 2
    still = {one["group"]: one for one in found.still}
    assert "not a larger or smaller rate" in still["update"]["words"]
    later = why(world(tmp_path, 80)).moved[0]
    assert later["when"].endswith("20 steps after the loss")


def test_a_larger_rate_is_not_ruled_out(tmp_path: Path) -> None:
    found = why(world(tmp_path, 30, rate=1.5))
    assert "update" not in {one["group"] for one in found.still}
    update = next(one for one in found.moved if one["name"].startswith("update/"))
    assert update["ratio"] == pytest.approx(1.5, rel=0.02) and update["test"]["arm"] == "baseline"


@pytest.mark.parametrize(
    ("baseline", "variant", "test"),
    [
        ((4.0, 1.0), (2.0, 0.5), {"train.clip=0.25"}),  # half of the smallest: it clips every update
        ((4e-11, 1e-11), (2.0, 0.5), {None}),  # nothing comes through the baseline
    ],
)
def test_gradients_that_moved_are_tested_by_one_clip(tmp_path: Path, baseline, variant, test) -> None:
    pairs = []
    for seed in range(3):
        sides = []
        for side, norms in enumerate((baseline, variant)):
            inside = {f"gradient/blocks.{i}": norm * (1 + 0.01 * seed) for i, norm in enumerate(norms)}
            rows = [{"step": 10, "loss": 2.0}, {"step": 10, "inside": inside}]
            sides.append(run(tmp_path / f"{seed}-{side}", rows))
        pairs.append((sides[0], sides[1]))
    moved = [one for one in why(pairs).moved if one["name"].startswith("gradient/")]
    assert len(moved) == 2 and {one["test"] and one["test"]["words"] for one in moved} == test
    assert ("to 5e+10×" in moved[0]["words"]) == (None in test)
