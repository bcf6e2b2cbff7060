"""From values to verdicts: how often a false one, tuned arms, rungs, premises."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from danlu.lab import ledger
from danlu.lab.claims.rules import Rule
from danlu.lab.referee import referee
from danlu.lab.referee.findings import Sides, find, premises
from danlu.lab.referee.plan import Metric, Premise, Scale, written
from danlu.lab.referee.regime import in_regime, regime
from danlu.lab.referee.runs import Record
from danlu.lab.referee.scale import across
from danlu.lab.referee.scale import words as scale_words
from danlu.lab.referee.terminal import numbers
from danlu.lab.referee.tuning import words
from danlu.lab.statistics.multiverse import differing
from tests.lab.referee.program import NOISY, answer, make, plan

LOSS = Metric(name="loss", better="lower", stdout="(.)")


def record(value: float, end: str = "ended", **also: float) -> Record:
    return Record("arm", end, value if end == "ended" else math.nan, "", "", 0, 1.0, 1.0, 0.0, 1, also)  # type: ignore[arg-type]


def sides(baseline: list[float], variant: list[float], **about: object) -> Sides:
    both = [tuple(map(record, values)) for values in (baseline, variant)]
    return Sides("idea", both[0], both[1], tuple(range(len(baseline))), bool(about.get("seeded", True)))


@pytest.mark.slow
@pytest.mark.parametrize("common", [0.0, 0.9])
def test_no_difference_is_found_where_there_is_none(common: float) -> None:
    """4,000 studies of five pairs, whether pairing is decided by a correlation of 0 or one of .9: verdicts in
    at most 5 %, within four standard errors; no pairs at all lost to a kind that was not to be taken."""
    random = np.random.default_rng(3)
    shared, own = random.standard_normal((4000, 1, 5)), random.standard_normal((4000, 2, 5))
    values = math.sqrt(common) * shared + math.sqrt(1 - common) * own
    found = [find([sides(*pair.tolist())], LOSS, None, looking=False)[0] for pair in values]
    wrong = sum(one.verdict != "not shown" for one in found) / len(found)
    assert wrong <= 0.05 + 4 * math.sqrt(0.05 * 0.95 / 4000)
    assert (sum(one.kind == "paired" for one in found) / len(found) > 0.95) == (common > 0.5)


def test_pairs_find_what_their_seeds_hide() -> None:
    """A difference of a tenth of what seeds scatter, in every pair; without common seeds it is not seen."""
    base = [0.0, 1.0, -1.0, 0.5, -0.5]
    variant = [value - 0.1 + tiny for value, tiny in zip(base, (0, 0.01, -0.01, 0.005, 0), strict=True)]
    assert find([sides(base, variant)], LOSS, None, looking=False)[0].verdict == "better"
    assert find([sides(base, variant, seeded=False)], LOSS, None, looking=False)[0].verdict == "not shown"
    higher = LOSS.model_copy(update={"better": "higher"})
    assert find([sides(base, variant)], higher, None, looking=False)[0].verdict == "worse"


def test_what_a_verdict_hangs_on_is_told() -> None:
    """A difference that pairs alone show; and one that a single pair hides."""
    base = [0.0, 1.0, -1.0, 0.5, -0.5]
    variant = [value - 0.1 + tiny for value, tiny in zip(base, (0, 0.01, -0.01, 0.005, 0), strict=True)]
    found = find([sides(base, variant)], LOSS, None, looking=False)[0]
    assert differing(found.readings, found.verdict) == "1 of 6 would say otherwise: not shown unpaired"
    found = find([sides(base, [*variant[:4], 0.5])], LOSS, None, looking=False)[0]
    assert found.verdict == "not shown"
    assert "better without pair 5" in differing(found.readings, found.verdict)
    assert len(find([sides(base, variant)], LOSS, None, looking=True)[0].readings) == 5
    six = find([sides([*base, 2.0], [*variant, 1.9])], LOSS, 0.2, looking=False)[0]
    assert six.verdict == "equivalent" and {one.verdict for one in six.readings} == {
        "equivalent",
        "not shown",
    }
    assert six.readings[-1] == ("by sign flips in place of Student's t", "equivalent")


def test_equivalent_within_a_margin() -> None:
    """By two one-sided tests: the 90 % interval of the differences lies within the margin. An effect that is
    sure and smaller is no gain; one that may be smaller is not shown."""
    sure = sides([1.0, 2.0, 3.0, 4.0], [1.01, 2.011, 3.01, 4.009])
    for margin, verdict in ((None, "worse"), (0.02, "equivalent"), (0.0105, "not shown"), (0.005, "worse")):
        assert find([sure], LOSS, margin, looking=False)[0].verdict == verdict
    asked = sides([1.0, 2.0, 3.0, 4.0], [1.01, 1.99, 3.01, 3.99])
    assert find([asked], LOSS, 0.02, looking=False)[0].verdict == "equivalent"
    assert find([asked], LOSS, 0.005, looking=False)[0].verdict == "not shown"
    assert find([asked], LOSS, None, looking=False)[0].verdict == "not shown"


def test_several_ideas_share_the_error() -> None:
    """Holm: what one idea alone would show is not shown beside three that are nothing."""
    base, clear = [0.0, 1.0, 2.0, 3.0, 4.0], [0.25, 1.0, 2.4, 3.1, 4.35]
    alone = find([sides(base, clear)], LOSS, None, looking=False)[0]
    nothing = [sides(base, [x + y for x, y in zip(base, (k, -k, k, -k, 0), strict=True)]) for k in (1, 2, 3)]
    among = find([sides(base, clear), *nothing], LOSS, None, looking=False)[0]
    assert (alone.verdict, among.verdict) == ("worse", "not shown") and among.level == pytest.approx(0.9875)


def test_premises_hold_by_their_bounds() -> None:
    """One-sided at 95 %: of 1, 2, 3 the bound is 2 − 2.92·(1/√3) = 0.314."""
    records = {"base": [record(0, **{"premise sink": x}) for x in (1.0, 2.0, 3.0)]}
    for above, holds in ((0.31, True), (0.32, False)):
        asked = Premise(name="sink", arm="base", stdout="(.)", rule=Rule(above=above))
        (held,) = premises([asked], records, None)
        assert held.holds == holds and held.interval.low == pytest.approx(0.3141, abs=1e-3)


def test_a_premise_needs_two_runs() -> None:
    """A number that is the same in each of two runs is known; of one run nothing is."""
    asked = Premise(name="sink", arm="base", stdout="(.)", rule=Rule(above=0.5))
    for count, holds in ((0, False), (1, False), (2, True)):
        records = {"base": [record(0, **{"premise sink": 1.0})] * count}
        (held,) = premises([asked], records, None)
        assert held.holds == holds and (held.interval.low == 1.0) == holds


def test_what_is_early() -> None:
    told = [record(0, steps=100.0, tokens=1e6, parameters=1e5)]
    assert regime(told, None)["early"] == [
        "10 tokens per parameter (20 are needed)", "100 updates (2,000 are needed)",
    ]  # fmt: skip
    assert regime([record(0, steps=5000.0)], True)["early"] == []
    assert regime([record(0)], None)["updates"] is None


def test_a_regime_that_is_not_known_is_not_fulfilled(tmp_path: Path) -> None:
    """Better, and not in regime: by the words, the exit code, the JSON and the ledger. Told, it is."""
    folder = make(tmp_path / "p", train_py=NOISY + "print('steps', 2000)\n")
    said: dict[str, object] = {"arms": {"base": {}, "idea": {"set": "--worse -9"}}}
    for also, known, told, code in (
        ({}, None, "better (regime not known)", 12),
        ({"steps": {"stdout": r"^steps (\d+)"}}, True, "better", 0),
    ):
        book = tmp_path / f"{known}.yaml"
        found = referee(plan(folder, **said, also=also), tmp_path / f"{known}", book=book)
        assert found.verdict(found.findings[0]) == told and found.exit_verdict == code
        assert found.json()["in_regime"] is known
        (entry,) = ledger.read(book)
        assert entry.said == told and entry.in_regime == bool(known)
        assert ledger.judge([entry]).success[0].worked.of == int(bool(known))
        assert ledger.decide(book, entry.id, "adopt", "so").weak == (not known)
    assert in_regime({"updates": None, "early": ["10 tokens per parameter (20 are needed)"]}) is False


# ---------------------------------------------------------------- rungs


def rungs(gain: float, exponent: float, scatter: float) -> dict[str, Sides]:
    """Losses 1 + C^−.3 at five rungs 4 apart; the idea needs 1/(gain·C^exponent) of the compute."""
    random = np.random.default_rng(1)
    found = {}
    for rung in range(5):
        compute = 4.0**rung * 1e3
        noise = random.normal(0, scatter, (2, 5))
        base = [1 + compute**-0.3 + e for e in noise[0]]
        idea = [1 + (compute * gain * 4.0 ** (exponent * rung)) ** -0.3 + e for e in noise[1]]
        both = [tuple(record(x, flops=compute) for x in values) for values in (base, idea)]
        found[str(rung)] = Sides("idea", both[0], both[1], tuple(range(5)), True)
    return found


@given(
    st.one_of(
        st.integers(-(2**53), 2**53),
        st.floats(allow_nan=False, allow_infinity=False),
        st.sampled_from(["xl", "1"]),
    )
)
def test_a_rung_is_set_to_its_value_and_no_other(value: float | str) -> None:
    asked = Scale(set="--size {value}", values=(value, "other"))
    flag, text = scale_words(asked, value)
    assert (flag, text) == ("--size", written(value)) and (
        text if isinstance(value, str) else float(text)
    ) == value


@pytest.mark.parametrize(
    ("gain", "exponent", "scatter", "verdict"),
    [
        (1.2, 0.0, 1e-5, "better"),
        (0.8, 0.0, 1e-5, "worse"),
        (1.0, 0.0, 1e-5, "equivalent"),
        (1.5, -0.075, 1e-4, "scale-bound"),
    ],
)
def test_gains_over_rungs(gain: float, exponent: float, scatter: float, verdict: str) -> None:
    """Of exact laws the gain comes out within 3 %; one that fades is told from one that lasts."""
    asked = rungs(gain, exponent, scatter)
    finding = find([asked["4"]], LOSS, None, looking=False)[0]
    found = across(finding, asked, 1)
    assert found.verdict == verdict and found.gain is not None
    assert found.gain.value == pytest.approx(gain * 4.0 ** (4 * exponent), rel=0.03)
    assert [one["counted in"] for one in found.gains] == ["FLOPs"] * 5


def test_rungs_that_tell_no_gain() -> None:
    """A baseline that does not fall: the largest rung's own verdict, said to be that."""
    asked = rungs(1.2, 0.0, 1e-5)
    flat = {name: replace(sides, baseline=asked["4"].baseline) for name, sides in asked.items()}
    sized = {
        name: replace(
            sides,
            baseline=tuple(
                replace(b, also=v.also) for b, v in zip(sides.baseline, sides.variant, strict=True)
            ),
        )
        for name, sides in flat.items()
    }
    found = across(find([sized["4"]], LOSS, None, looking=False)[0], sized, 1)
    assert (
        found.verdict == "better" and found.gain is None and "of the largest rung alone: no rung" in found.why
    )


def test_a_rung_at_which_the_baseline_rises() -> None:
    """The others' gains are told, and of those that are not known why."""
    asked = rungs(1.2, 0.0, 1e-5)
    top = asked["4"]
    lifted = [
        tuple(replace(one, value=one.value + 1) for one in side) for side in (top.baseline, top.variant)
    ]
    asked["4"] = replace(top, baseline=lifted[0], variant=lifted[1])
    found = across(find([asked["4"]], LOSS, None, looking=False)[0], asked, 1)
    assert found.verdict == "better" and found.gain is not None
    assert [one["gain"] for one in found.gains[:3]] == pytest.approx([1.2] * 3, rel=0.03)
    lines = [line for line in numbers(found) if line.startswith(("  3: ", "  4: "))]
    said = "no gain is known, as the baseline does not fall from rung 4 to rung 5"
    assert lines == [f"  {rung}: {said}; difference {one['difference']:+.4g}, 5 pairs"
                     for rung, one in ((3, found.gains[3]), (4, found.gains[4]))]  # fmt: skip


def test_a_failed_run_or_a_look_before_the_end() -> None:
    """Neither wins by gains; whoever looked must see it at the largest rung, by an interval for that."""
    asked = rungs(1.2, 0.0, 1e-5)
    lost = replace(asked["1"], variant=(record(0, "failed", flops=4e3), *asked["1"].variant[1:]))
    finding = find([asked["4"]], LOSS, None, looking=False)[0]
    found = across(finding, {**asked, "1": lost}, 1)
    assert found.verdict == "not shown" and found.why.startswith("a run of idea failed, so it cannot win")
    noisy = rungs(1.2, 0.0, 5e-4)
    looked = find([noisy["4"]], LOSS, None, looking=True)[0]
    found = across(looked, noisy, 1)
    assert (looked.verdict, found.verdict) == ("not shown", "not shown") and "after a look" in found.why
    assert across(find([noisy["4"]], LOSS, None, looking=False)[0], noisy, 1).verdict == "better"


RUNG = """
import argparse, random
words = argparse.ArgumentParser()
for name in ("steps", "seed"): words.add_argument(f"--{name}", type=int)
words.add_argument("--fast", action="store_true")
given = words.parse_args()
loss = 1 + given.steps ** -0.5 + random.Random(given.seed).gauss(0, 1e-5)
print("loss", loss - given.fast * 20 * given.steps ** -1.5)
print("steps", given.steps)
"""


@pytest.mark.slow
def test_a_change_that_pays_at_the_start_alone(tmp_path: Path) -> None:
    """Better at few steps; told as bound to the scale where more are asked."""
    folder = make(tmp_path / "p", train_py=RUNG)
    said = {
        "arms": {"base": {}, "fast": {"set": "--fast"}},
        "also": {"steps": {"stdout": r"^steps (\d+)"}, "flops": {"stdout": r"^steps (\d+)"}},
    }
    arms = {"base": {"set": "--steps 100"}, "fast": {"set": "--steps 100 --fast"}}
    short = answer(folder, **said | {"arms": arms})
    assert short.findings[0].verdict == "better" and short.verdict(short.findings[0]) == "better (early)"
    values = [100, 400, 1600, 6400, 25600]
    long = answer(folder, **said, scale={"set": "--steps {value}", "values": values})
    assert long.findings[0].verdict == "scale-bound" and long.early == []
    pairs = [one["pairs"] for one in long.findings[0].gains]
    assert pairs == [3, 3, 3, 3, 3]


# ---------------------------------------------------------------- tuning

CURVE = """
import argparse, math, random
words = argparse.ArgumentParser()
words.add_argument("--seed", type=int)
words.add_argument("--best", type=float, default=-10)
words.add_argument("--lr", type=float)
given = words.parse_args()
x = math.log2(given.lr) - given.best
print("loss", 1 + 0.03 * x * x + random.Random(given.seed).gauss(0, 1e-4))
"""


@pytest.mark.slow
def test_each_arm_at_its_own_best_rate(tmp_path: Path) -> None:
    """Two octaves outside of the first grid on one side: found, by as many runs as the other side makes; at
    equal rates the idea would look better by .48."""
    folder = make(tmp_path / "p", train_py=CURVE)
    arms = {"base": {}, "idea": {"set": "--best -6"}}
    found = answer(folder, arms=arms, tune={"flag": "--lr", "start": 2.0**-10}, margin=0.01)
    curves = found.tuned[""]
    for arm, best in (("base", -10), ("idea", -6)):
        assert math.log2(curves[arm]["rate"]) == pytest.approx(best, abs=0.05)
    assert curves["base"]["runs"] == curves["idea"]["runs"] >= 14 and found.cost["tuning_runs"] >= 28
    assert found.findings[0].verdict == "equivalent" and found.regime["tuned"]


@pytest.mark.slow
def test_an_arm_without_a_best_rate_is_void(tmp_path: Path) -> None:
    folder = make(tmp_path / "p", train_py=CURVE.replace("0.03 * x * x", "0.03 * x"))
    found = answer(
        folder, arms={"base": {}, "idea": {"set": "--best -6"}}, tune={"flag": "--lr", "start": 1e-3}
    )
    assert found.outcome == "void" and found.why.startswith("base is untuned: the lowest loss is at the low")


def test_the_words_of_a_rate() -> None:
    from danlu.lab.referee.plan import Tune

    assert words(Tune(flag="--lr", start=1.0), -1) == ["--lr", "0.5"]
    assert words(Tune(flag="--lr={value}", start=1.0), -1) == ["--lr=0.5"]
