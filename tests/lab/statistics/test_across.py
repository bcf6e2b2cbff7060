"""Verdicts at a size beyond: each word's rule, false ones of studies without an effect, published runs."""

from __future__ import annotations

import csv
import math
import os
from collections import Counter
from dataclasses import replace
from pathlib import Path
from statistics import fmean

import numpy as np
import pytest

from bench.across import losses
from bench.noise import TRACK3_SPREAD, track3
from danlu.lab.errors import LabError
from danlu.lab.statistics.across import DELTA, judge
from danlu.lab.statistics.gain import AtCost, Gain, gains

ROOT = Path(__file__).resolve().parents[3]
STEP = math.log(4)
AT = 6 * STEP  # two rungs beyond five


def measured(values: list[float], error: float = 0.002, **about: object) -> list[Gain]:
    """Gains at rungs a factor of four apart, with this standard error each."""
    common = {
        "variance": error**2,
        "df": 20.0,
        "difference": -0.1,
        "elasticity": 0.1,
        "pairs": 5,
        "paired": True,
    }
    return [Gain(x=r * STEP, value=value, **(common | about)) for r, value in enumerate(values)]  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("values", "verdict"),
    [
        ([0.1] * 5, "better"),
        ([-0.1] * 5, "worse"),
        ([0.001, -0.001, 0.0, 0.001, -0.001], "equivalent"),
        ([0.2, 0.15, 0.1, 0.05, 0.0], "scale-bound"),
        ([0.1, 0.05, 0.0, -0.05, -0.1], "worse"),  # the largest rung shows it
        ([0.18, 0.15, 0.12, 0.09, 0.06], "scale-bound"),  # nothing is left at C*
        ([0.019, 0.015, 0.012, 0.009, 0.006], "equivalent"),  # too little to begin with
        ([0.2, -0.15, 0.1, -0.05, 0.12], "not shown"),
        ([0.018] * 5, "not shown"),  # an effect, and less than 2 %
        ([0.0, 0.05, 0.1, 0.15, 0.2], "better"),  # at C*, though not at the first rung
    ],
)
def test_the_words(values: list[float], verdict: str) -> None:
    found = judge(measured(values), AT)
    assert found.verdict == verdict, found
    assert found.why and found.model is not None and not found.model.assumes
    mirrored = {"better": "worse", "worse": "better"}
    assert judge(measured([-y for y in values]), AT).verdict == mirrored.get(verdict, verdict)


def test_three_rungs_know_no_slope_and_say_so() -> None:
    found = judge(measured([0.1, 0.08, 0.06]), 4 * STEP)
    assert found.slope is None and found.model is not None
    assert found.model.assumes.startswith("the gain is taken to be the same at every size")
    assert found.gain.value == pytest.approx(0.08, abs=1e-3)
    infinite = judge(measured([0.1]), 0.0)
    assert infinite.verdict == "not shown" and infinite.gain.high == math.inf


def test_a_verdict_is_given_two_rungs_beyond_at_most() -> None:
    assert judge(measured([0.1] * 5), 6 * STEP).verdict == "better"
    with pytest.raises(LabError, match=r"64 times the compute of the largest rung is too far.* 16 times"):
        judge(measured([0.1] * 5), 7 * STEP)
    with pytest.raises(LabError, match="no rung has a gain"):
        judge(measured([math.nan] * 5), AT)


def test_largest_rungs_without_a_gain_carry_no_verdict_beyond() -> None:
    """Two rungs beyond five are three beyond the four that have a gain; at the fifth it is predicted."""
    said = "the baseline does not fall from rung 4 to rung 5"
    known = measured([0.1] * 5)
    top = replace(known[-1], value=math.nan, variance=math.inf, why=said)
    with pytest.raises(
        LabError,
        match=f"^the gain is not known at the largest rung: {said}; a verdict lies at most two rungs",
    ):
        judge([*known[:-1], top], AT)
    assert judge([*known[:-1], top], top.x).verdict == "better"
    with pytest.raises(LabError, match=f"^no rung has a gain: {said}"):
        judge([replace(top, x=one.x) for one in known], AT)


def test_who_diverges_has_not_won() -> None:
    lucky = judge(measured([0.1] * 5, lost=(0, 1)), AT)
    assert lucky.verdict == "not shown" and "diverged" in lucky.why
    assert judge(measured([0.1] * 5, lost=(1, 1)), AT).verdict == "better"  # of both sides, as often
    assert judge(measured([-0.1] * 5, lost=(1, 0)), AT).verdict == "not shown"
    nothing = measured([math.nan], variance=math.inf, pairs=0, lost=(0, 3))[0]
    lost = judge([*measured([0.1] * 4), nothing], 6 * STEP)
    assert lost.verdict == "worse" and "every run of the variant diverged" in lost.why


def test_the_p_value_is_that_of_the_interval() -> None:
    found = judge(measured([0.05, 0.04, 0.03, 0.05, 0.02], 0.01), AT)
    assert found.model is not None
    p = found.model.p(AT)
    edge = found.model.predict(AT, 1 - p)
    assert 0 < p < 1 and edge.low == pytest.approx(0, abs=1e-6)


@pytest.mark.slow
@pytest.mark.parametrize("shared", [0.0, 0.6])
def test_false_verdicts_and_power_with_the_noise_of_track_3(shared: float) -> None:
    noise = track3()
    if noise is None:
        pytest.skip("DANLU_SHARED names no folder with verdicts/track3.csv")
    assert np.std(noise.residuals) == pytest.approx(TRACK3_SPREAD, rel=0.1)
    random = np.random.default_rng(1)
    studies = 600
    at = 6 * STEP
    found = {
        gain: Counter(
            judge(gains(losses((math.log(gain), 0.0), noise, shared, random)), at).verdict
            for _ in range(studies)
        )
        for gain in (1.0, 1.05)
    }
    assert found[1.0]["better"] + found[1.0]["worse"] <= 0.05 * studies
    assert found[1.05]["better"] >= 0.8 * studies and not found[1.05]["worse"]


def test_an_effect_that_fades_in_published_runs() -> None:
    """Gemstones (McLeish et al. 2025): half the rate in the constant phase, twenty shapes at 10 to 90 B
    tokens. Shapes are the pairs, tokens the compute."""
    path = Path(os.environ.get("DANLU_SHARED", ROOT.parent / "shared" / "data")) / "verdicts"
    path /= "gemstones_half_rate.csv"
    if not path.is_file():
        pytest.skip(f"{path} is absent; DANLU_SHARED names the folder that holds verdicts/{path.name}")
    losses: dict[int, list[tuple[float, float]]] = {}
    with path.open(encoding="utf-8") as file:
        for row in csv.DictReader(file):
            tokens = round(float(row["tokens"]) / 1e10)
            losses.setdefault(tokens, []).append((float(row["loss"]), float(row["loss_half_rate"])))
    # What a shape's loss has in common at all tokens is no error of the curve.
    level = [
        fmean(b for b, _ in of_shape) for of_shape in zip(*(losses[t] for t in sorted(losses)), strict=True)
    ]
    rungs = []
    for tokens in sorted(losses):
        rows = [(b - base, v - base) for (b, v), base in zip(losses[tokens], level, strict=True)]
        rungs.append(AtCost(tokens * 1e10, *zip(*rows, strict=True)))
    found = gains(rungs)
    assert all(one.paired and one.pairs == 20 for one in found)
    for one in found[:3]:  # worse at 10, 20 and 30 B
        assert one.interval().high < 0 and one.value <= -DELTA
    for k in range(2, 10):
        for one in found[k - 1 : k + 2]:
            assert judge(found[:k], one.x).verdict in ("worse", "not shown", "scale-bound")
    assert judge(found[:3], found[2].x).verdict == "worse"
    slope = judge(found, found[-1].x).slope
    assert slope is not None and slope.low > 0  # it fades,
    assert found[-1].value > 0.5 * fmean(one.value for one in found[:3])  # to less than half
