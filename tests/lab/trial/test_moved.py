"""Which statistics moved: against ratios put in by hand."""

from __future__ import annotations

import json
import math
from pathlib import Path

import numpy as np
import pytest

from danlu.lab.trial.moved import in_words, most_moved, moves


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
    found = most_moved(sides)
    assert [one["name"] for one in found] == ["logits/blocks.0", "gradient norm", "update/readout"]
    logits, norm, _ = found  # kurtosis did not move: it is not told
    assert logits["ratio"] == pytest.approx(0.5) and logits["baseline"] == pytest.approx(200**0.5)
    assert norm["ratio"] == pytest.approx(0.9) and norm["variant"] == pytest.approx(0.9 * 1.01**1.5)
    assert logits["words"] == "largest attention score in blocks.0 falls to 0.50× (14.1 → 7.07)"
    assert len(most_moved(sides, top=1)) == 1


def test_words() -> None:
    assert in_words("update/blocks.0.mixer") == "update-to-weight ratio of blocks.0.mixer"
    assert in_words("logits/out") == "RMS output logit" and in_words("gradient norm") == "gradient norm"
    assert in_words("new/one") == "new/one"
