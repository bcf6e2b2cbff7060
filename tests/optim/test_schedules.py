"""The rate over a run: exact at both ends, continuous, never rising once it has fallen."""

from __future__ import annotations

import math
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from danlu import spec
from danlu.optim import factor

STEPS = 1000
kinds = st.sampled_from(["constant", "linear", "cosine"])
fractions = st.integers(0, 20).map(lambda n: n / 20)
schedules = st.builds(
    spec.Schedule,
    kind=kinds,
    warmup=st.integers(0, 10).map(lambda n: n / 20),
    floor=fractions,
    decay=st.integers(1, 20).map(lambda n: n / 20),
)
in_steps = st.builds(
    spec.Schedule,
    kind=kinds,
    warmup_steps=st.integers(1, STEPS // 2),
    floor=fractions,
    decay=schedules.map(lambda s: s.decay),
)


def run(s, steps=STEPS):
    """The factor of every update of a run bounded by steps, and that of the run's end."""
    return [factor(s, step / steps, step) for step in range(steps + 1)]


@settings(max_examples=100, deadline=None)
@given(schedules | in_steps)
def test_ends_at_the_floor(s):
    assert run(s)[-1] == (1.0 if s.kind == "constant" else s.floor)


@settings(max_examples=100, deadline=None)
@given(schedules | in_steps)
def test_stays_between_nothing_and_the_peak(s):
    rates = run(s)
    assert all(0 <= rate <= 1 for rate in rates)
    assert max(rates) == 1.0
    assert rates[0] > 0


@settings(max_examples=100, deadline=None)
@given(schedules | in_steps)
def test_rises_and_then_falls(s):
    rates = run(s)
    top = rates.index(1.0)
    assert all(a <= b for a, b in pairwise(rates[: top + 1]))
    assert all(a >= b - 1e-12 for a, b in pairwise(rates[top:]))


@settings(max_examples=100, deadline=None)
@given(schedules | in_steps)
def test_has_no_jumps(s):
    """The steepest part is the warm-up, the straight fall, or the cosine (π/2 as steep as straight)."""
    rise = 1 / (s.warmup_steps or s.warmup * STEPS or math.inf)
    share = min(
        1 - (s.warmup_steps / STEPS if s.warmup_steps else s.warmup), 1 if s.kind == "cosine" else s.decay
    )
    fall = (1 - s.floor) * math.pi / 2 / (share * STEPS)
    rates = run(s)
    assert all(-fall - 1e-9 <= b - a <= rise + 1e-9 for a, b in pairwise(rates))


@pytest.mark.parametrize("kind", ["constant", "linear", "cosine"])
@pytest.mark.parametrize("count", [1, 4, 100])
def test_warmup_in_steps(kind, count):
    s = spec.Schedule(kind=kind, warmup_steps=count)
    rates = run(s)[: count + 1]
    assert rates == [(i + 1) / count for i in range(count)] + [1.0]


def test_warmup_as_a_share():
    s = spec.Schedule(kind="constant", warmup=0.1)
    rates = run(s)
    assert rates[0] == 0.01  # not zero, which would waste the first update
    for i in range(1, STEPS + 1):
        assert rates[i] == pytest.approx(max(0.01, min(1, i / 100)), rel=1e-12)


@settings(max_examples=100, deadline=None)
@given(st.integers(1, STEPS - 1), fractions, st.integers(0, STEPS))
def test_cosine_after_warmup_steps_is_the_usual_one(warmup, floor, step):
    """From the peak at the end of the warm-up to the floor at the end of the run (GPT-3's, nanoGPT's)."""
    s = spec.Schedule(kind="cosine", warmup_steps=warmup, floor=floor)
    if step < warmup:
        expected = (step + 1) / warmup
    else:
        along = (step - warmup) / (STEPS - warmup)
        expected = floor + (1 - floor) * (1 + math.cos(math.pi * along)) / 2
    assert factor(s, step / STEPS, step) == pytest.approx(expected, abs=1e-12)


@settings(max_examples=100, deadline=None)
@given(st.integers(0, 19).map(lambda n: n / 20), fractions, st.floats(0, 1))
def test_linear_falls_in_the_last_share(decay_start, floor, progress):
    """Warm-up, stable, decay: with decay = d, flat until 1 − d, then straight to the floor."""
    s = spec.Schedule(kind="linear", warmup=0.0, floor=floor, decay=1 - decay_start)
    along = max(0.0, (progress - decay_start) / (1 - decay_start))
    assert factor(s, progress) == pytest.approx(1 - (1 - floor) * along, abs=1e-9)


@settings(max_examples=50, deadline=None)
@given(in_steps, st.integers(1, 30), st.lists(st.floats(0.1, 10), min_size=20, max_size=200))
def test_rises_and_then_falls_when_time_bounds_the_run(s, warmup, seconds):
    """Steps take uneven time, so progress isn't proportional to steps."""
    s = s.model_copy(update={"warmup_steps": warmup})
    total, done, rates = sum(seconds), 0.0, []
    for step, second in enumerate(seconds):
        rates.append(factor(s, done / total, step))
        done += second
    rates.append(factor(s, 1.0, len(seconds)))
    top = min(s.warmup_steps - 1, len(rates) - 1)
    assert all(a < b for a, b in pairwise(rates[: top + 1]))
    assert all(a >= b - 1e-12 for a, b in pairwise(rates[top:]))
