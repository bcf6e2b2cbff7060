"""Two sides, seed by seed: SciPy's tests, and one verdict of the same runs wherever they are judged."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from danlu.lab.referee import findings as referee
from danlu.lab.referee.plan import Metric
from danlu.lab.referee.runs import Record
from danlu.lab.statistics import NARROW, UNKNOWN
from danlu.lab.statistics.contrast import Contrast, beaten, stands
from danlu.lab.trial import findings as trial
from danlu.spec.metrics import Metric as Told

VALUE = st.one_of(st.integers(-200, 200).map(lambda whole: whole / 100), st.just(math.nan))


@settings(max_examples=60)
@given(
    st.lists(st.tuples(VALUE, VALUE), min_size=1, max_size=8),
    st.booleans(),
    st.sampled_from(["lower", "higher"]),
)
def test_try_and_the_referee_say_the_same_of_the_same_pairs(
    rows: list[tuple[float, float]], looking: bool, better: str
) -> None:
    """Nan: a run diverged. Where the referee takes pairs, all that it says of them is what a trial says."""
    baseline, variant = zip(*rows, strict=True)
    seeds = tuple(range(len(rows)))
    records = [
        tuple(
            Record("arm", "diverged" if math.isnan(x) else "ended", x, "", "", 0, 1.0, 1.0, 0.0, 1)
            for x in side
        )
        for side in (baseline, variant)
    ]
    sides = referee.Sides("idea", records[0], records[1], seeds, seeded=True)
    metric = Metric(name="loss", better=better, stdout="(.)")  # type: ignore[arg-type]
    (judged,) = referee.find([sides], metric, None, looking)
    pairs = trial.Pairs("idea", "steps", Told("loss", "", better), seeds, baseline, variant)  # type: ignore[arg-type]
    (found,) = trial.find([pairs], looking, {("idea", "steps"): {"steps": (1, 1)}})
    assert (judged.kind == "unpaired") == (not looking and (sides.correlation or 0) <= 0.1)
    if judged.kind == "unpaired":
        assert list(judged.interval) == pytest.approx(
            Contrast(baseline, variant, "unpaired").interval(0.95), nan_ok=True
        )
        return
    assert (judged.verdict, judged.p, judged.more, pairs.e) == (found.verdict, found.p, found.more, judged.e)
    assert list(judged.interval) == pytest.approx(found.interval, rel=0, abs=0, nan_ok=True)


def test_student_and_welch_by_scipy() -> None:
    random = np.random.default_rng(1)
    base, variant = random.normal(size=6), random.normal(0.5, 2.0, size=6)
    lost = [*base, math.nan, 7.0], [*variant, 8.0, math.nan]  # a seed of which one run is lost does not count
    apart = stats.ttest_ind(variant, base, equal_var=False)
    together = stats.ttest_rel(variant, base)
    for kind, test in (("unpaired", apart), ("paired", together)):
        found = Contrast(*lost, kind)  # type: ignore[arg-type]
        assert found.p == pytest.approx(test.pvalue)
        ends = test.confidence_interval(NARROW)
        mean = np.mean(variant) - np.mean(base)
        assert list(found.interval(NARROW)) == pytest.approx([mean, ends.low, ends.high])
    nothing = Contrast([math.nan], [1.0])
    assert (nothing.interval(0.95), nothing.p, nothing.e) == (UNKNOWN, 1.0, 1.0)


def test_runs_that_are_lost() -> None:
    """All of two on one side, or some: who lost them cannot win."""
    assert [beaten(lost, of) for lost, of in (((0, 2), 2), ((2, 0), 2), ((1, 1), 2), ((0, 1), 1))] == [
        "worse", "better", None, None,
    ]  # fmt: skip
    for verdict, bars in (("better", (0, 1)), ("worse", (1, 0))):
        assert not stands(verdict, bars) and stands(verdict, bars[::-1]) and not stands("equivalent", bars)
    assert stands("not shown", (1, 1)) and stands("equivalent", (0, 0))
