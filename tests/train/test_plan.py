"""The course of a run before it begins: the ramp of its batch, and durations as shares of it."""

from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from danlu import spec
from danlu.optim import Progress, factor
from danlu.spec import Stage, Train
from danlu.train.errors import RunError
from danlu.train.plan import Plan

CONTEXT = 8
many = settings(max_examples=60, deadline=None)


def course(plan: Plan) -> list[Progress]:
    """Every moment of a run bounded by steps or tokens, as the trainer comes to it."""
    moments: list[Progress] = []
    tokens = 0
    while (progress := plan.progress(len(moments), tokens)) < 1:
        moments.append(plan.at(len(moments), tokens, progress))
        tokens += moments[-1].batch
    return moments


def batches(plan: Plan) -> list[int]:
    return [now.batch // CONTEXT for now in course(plan)]


@st.composite
def ramps(draw: st.DrawFn) -> Train:
    """A run bounded by steps, tokens or both, with a ramp in any unit."""
    unit, scale = draw(st.sampled_from([("steps", 10), ("tokens", 400), ("run", 0.2)]))
    ends = [scale * (i + draw(st.integers(1, 9)) / 10) for i in range(draw(st.integers(0, 3)))]
    sizes = [4, 8, 12, 16][: len(ends) + 1]
    stages = tuple(
        Stage(
            batch=size,
            until=end if unit == "run" else f"{int(end)} {unit}",
            by=draw(st.sampled_from([None, 1, 2, 4])),
        )
        for size, end in zip(sizes, ends, strict=False)
    )
    steps, tokens = draw(st.sampled_from([(60, None), (None, 5000), (60, 5000), (40, 9000)]))
    return Train(steps=steps, tokens=tokens, batch=sizes[len(ends)], ramp=stages)


@many
@given(ramps())
def test_batches_only_grow_and_end_at_the_whole(train: Train) -> None:
    found = batches(Plan(train, CONTEXT))
    assert all(a <= b for a, b in pairwise(found))
    assert set(found) <= set(range(4, 17)) and found[-1] == train.batch


@many
@given(ramps())
def test_what_is_told_beforehand_is_what_happens(train: Train) -> None:
    """Tokens after so many steps, steps after so many tokens, and both as shares of the run."""
    plan = Plan(train, CONTEXT)
    for step, now in enumerate(course(plan)):
        assert plan.tokens_at(step) == now.tokens
        assert plan.steps_at(now.tokens) == pytest.approx(step)
        assert plan.tokens_at(step + 0.5) == pytest.approx(now.tokens + now.batch / 2)
        assert now.share(f"{step} steps") == now.progress
        assert now.share(f"{now.tokens} tokens") == pytest.approx(now.progress)


@many
@given(ramps(), st.integers(0, 15))
def test_the_last_steps_begin_when_so_many_are_left(train: Train, count: int) -> None:
    plan = Plan(train, CONTEXT)
    moments = course(plan)
    full = [now for now in moments if now.batch == train.batch * CONTEXT]
    count = min(count, len(full) - 1)
    begin = plan.last(f"{count} steps")
    before, after = moments[len(moments) - count - 1], moments[len(moments) - count :]
    if train.tokens is None or train.steps == len(moments):  # else the last update goes beyond the bound
        assert before.progress < begin or train.tokens is not None
        assert all(now.progress >= begin - 1e-12 for now in after)
    assert plan.last(f"{count * train.batch * CONTEXT} tokens") == pytest.approx(begin)


def test_stairs_are_palms() -> None:
    """Chowdhery et al. 2022, section 5: 512 sequences until step 50k, 1024 until 115k, then 2048; small."""
    ramp = (Stage(batch=2, until="5 steps"), Stage(batch=4, until="11 steps"))
    assert batches(Plan(Train(steps=15, batch=8, ramp=ramp), CONTEXT)) == [2] * 5 + [4] * 6 + [8] * 4


def test_a_straight_ramp_grows_in_equal_parts_of_the_tokens() -> None:
    """Brown et al. 2020, appendix B: linearly from a small batch over the first tokens."""
    train = Train(tokens=20_000, batch=16, ramp=(Stage(batch=4, until="6k tokens", by=4),))
    found = course(Plan(train, CONTEXT))
    for now in found:
        part = min(now.tokens // 2000, 3)  # three steps up, each after a third of the 6000 tokens
        assert now.batch // CONTEXT == 4 + 4 * part
    assert {now.batch // CONTEXT for now in found} == {4, 8, 12, 16}


def test_a_ramp_in_shares() -> None:
    train = Train(steps=100, batch=8, ramp=(Stage(batch=4, until=0.5),))
    assert batches(Plan(train, CONTEXT)) == [4] * 50 + [8] * 50


def test_seconds_bound_a_run_with_a_ramp() -> None:
    plan = Plan(Train(seconds=10.0, batch=8, ramp=(Stage(batch=4, until=0.5),)), CONTEXT)
    assert plan.progress(3, 999, 2.5) == 0.25
    now = plan.at(5, 160, 0.25)
    assert now.batch == 4 * CONTEXT and now.share("10 steps") == 0.5  # as fast as so far
    assert plan.at(15, 480, 0.5).batch == 8 * CONTEXT


def test_a_schedule_over_a_ramp_is_exact_in_its_own_unit() -> None:
    """A warm-up in steps under a ramp in tokens in a run of tokens: the cosine begins where it ends."""
    train = Train(tokens=20_000, batch=16, ramp=(Stage(batch=4, until="6k tokens", by=4),))
    moments = course(Plan(train, CONTEXT))
    s = spec.Cosine(warmup="20 steps", floor=0.0)
    rates = [factor(s, now) for now in moments]
    assert rates[:20] == [(i + 1) / 20 for i in range(20)] and rates[20] == 1.0
    begin = moments[20].tokens / 20_000
    for now, rate in zip(moments[20:], rates[20:], strict=True):
        along = (now.tokens / 20_000 - begin) / (1 - begin)
        assert rate == pytest.approx(factor(spec.Cosine(warmup=0.0, floor=0.0), Progress(along)), abs=1e-12)


@pytest.mark.parametrize(
    ("train", "processes", "said"),
    [
        (Train(steps=1, batch=3), 2, r"train\.batch = 3 cannot be shared among 2 processes"),
        (
            Train(steps=1, batch=8, ramp=(Stage(batch=3, until=0.5),)),
            2,
            r"train\.ramp\.0\.batch = 3 cannot be shared among 2 processes",
        ),
        (
            Train(steps=1, batch=8, ramp=(Stage(batch=4, until=0.5, by=1),)),
            2,
            r"train\.ramp\.0\.by = 1 cannot be shared among 2 processes",
        ),
        (
            Train(steps=1, batch=8, microbatch=4, ramp=(Stage(batch=4, until=0.5),)),
            2,
            r"train\.microbatch = 4 does not divide the 2 sequences of a process "
            r"\(train\.ramp\.0\.batch = 4 over 2\)",
        ),
    ],
)
def test_batches_that_processes_cannot_share(train: Train, processes: int, said: str) -> None:
    with pytest.raises(RunError, match=said):
        Plan(train, CONTEXT, processes)
    Plan(train, CONTEXT)
